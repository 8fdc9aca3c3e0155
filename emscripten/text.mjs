// Text to vectors by signed feature hashing: what python/claude_flow/networks/text.py does.

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; ++bit) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});
const UTF8 = new TextEncoder();
const MAX_CHARACTERS = 4096;
// Python's \w beside ASCII: letters and numbers of every script; \d: decimal digits.
const WORD = /[A-Z]+(?![a-z])|[A-Z]?[a-z]+|(?:(?![A-Za-z])[\p{L}\p{Nl}\p{No}])+|\p{Nd}+/gu;

/** CRC-32 of a text's UTF-8, as an unsigned integer. */
export function crc32(text) {
  let code = 0xffffffff;
  for (const byte of UTF8.encode(text)) code = CRC[(code ^ byte) & 255] ^ (code >>> 8);
  return ~code >>> 0;
}

/** Lower-case words of a text; case changes, digits and punctuation separate them. */
export function words(text) {
  const start = Array.from(text).slice(0, MAX_CHARACTERS).join("");
  return Array.from(start.matchAll(WORD), ([word]) => word.toLowerCase());
}

const KEPT = 4096; // texts: a page that changes one field asks for the same ones at every change
const hashed = new Map();

/** Words and their character trigrams, hashed into `width` slots and scaled to length 1; to be read, not written to. */
export function hashText(text, width) {
  const key = `${width} ${text}`;
  if (!hashed.has(key)) {
    if (hashed.size >= KEPT) hashed.clear();
    hashed.set(key, hashOf(text, width));
  }
  return hashed.get(key);
}

function hashOf(text, width) {
  const vector = new Float32Array(width);
  const add = (gram, weight) => {
    const code = crc32(gram);
    vector[code % width] += Math.fround(code & 0x80000000 ? weight : -weight);
  };
  for (const word of words(text)) {
    add(`w:${word}`, 1);
    const padded = ["<", ...word, ">"];
    const count = padded.length - 2;
    if (count < 2) continue;
    for (let i = 0; i < count; ++i) add(`c:${padded.slice(i, i + 3).join("")}`, 0.5 / Math.sqrt(count));
  }
  const norm = Math.fround(Math.sqrt(vector.reduce((sum, v) => sum + v * v, 0)));
  return norm > 0 ? vector.map((v) => v / norm) : vector;
}
