// Attention as a table of coloured cells: a row is a token, its cells the shares of its attention to the token on top.

const LEGIBLE = 12; // tokens whose shares are printed; more are colours only

const percent = (share) => `${(100 * share).toFixed(0)}%`;

function cell(text, tag = "td", scope = "col") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (tag === "th") made.scope = scope;
  return made;
}

/** Offer `names` in a list of choices; what was chosen stays so, if it is still there. */
export function offer(select, names) {
  if (select.options.length === names.length && names.every((name, i) => select.options[i].text === String(name))) return;
  const chosen = Math.min(Math.max(select.selectedIndex, 0), names.length - 1);
  select.replaceChildren(...names.map((name) => new Option(name)));
  select.selectedIndex = chosen;
}

export const headsOf = (heads) => ["mean of all", ...Array.from({ length: heads }, (_, head) => head + 1)];

/** Fill `table` (with a thead and a tbody): `weights` are [heads, tokens, tokens], `head` 0 is their mean. */
export function showAttention(table, tokens, { heads, weights }, head) {
  const size = tokens.length;
  const of = head === 0 ? Array.from({ length: heads }, (_, i) => i) : [head - 1];
  const share = (from, to) => of.reduce((sum, i) => sum + weights[(i * size + from) * size + to], 0) / of.length;
  const shares = tokens.map((_, from) => tokens.map((_, to) => share(from, to)));
  const largest = Math.max(...shares.flat());
  table.classList.toggle("dense", size > LEGIBLE);
  const names = tokens.join();
  if (table.dataset.tokens !== names) {
    table.dataset.tokens = names;
    const top = document.createElement("tr");
    top.append(cell("from ↓ to →"), ...tokens.map((token) => cell(token, "th")));
    table.tHead.replaceChildren(top);
    table.tBodies[0].replaceChildren(...tokens.map((token) => {
      const line = document.createElement("tr");
      line.append(cell(token, "th", "row"), ...tokens.map(() => cell("")));
      return line;
    }));
  }
  tokens.forEach((token, from) => tokens.forEach((other, to) => {
    const made = table.tBodies[0].rows[from].cells[1 + to];
    const text = percent(shares[from][to]);
    const strength = (shares[from][to] / largest).toFixed(2);
    if (made.dataset.p !== strength) made.style.setProperty("--p", (made.dataset.p = strength));
    if (made.textContent === text) return;
    made.textContent = text;
    made.title = `${token} → ${other}: ${text}`;
  }));
}
