// Which agent and task an assign command brings together, and what a decision knows of each such pair: what
// python/claude_flow/environments/pairs.py does, at minute 0. An agent has {place, speed, cost, tasks, readyAt}, a task
// {column, work, priority, weight, deadline}; `table` says how well they fit, a row per agent, a column per type of task.

const [LEAST, SHORTEST, EARLIEST, MATCHING, CHEAPEST] = [0, 1, 2, 3, 4];
const ASSIGNS = 5;
const OF_A_PAIR = 6;
const [CAPABLE, OWN] = [0.5, 0.9]; // fits from which on an agent can do a task, and does it at full speed
const MOST_MINUTES = 90;

export const halfHours = (minutes) => Math.min(Math.max(minutes, -MOST_MINUTES), MOST_MINUTES) / 30;

// The place of the first smallest, by what `of` says of each.
function least(list, of) {
  let [place, smallest] = [0, of(list[0], 0)];
  for (let i = 1; i < list.length; ++i) {
    const value = of(list[i], i);
    if (value < smallest) [place, smallest] = [i, value];
  }
  return place;
}

// Minutes that each agent is expected to take for each task.
const timesOf = (free, tasks, table) =>
  free.map(({ place, speed }) => tasks.map(({ column, work }) => work / (speed * table[place][column])));

/**
 * The columns of the assignment of rows to columns that costs least in all, one per row of `costs`, which has at least as
 * many columns: by shortest augmenting paths (Crouse 2016, doi 10.1109/TAES.2016.140952), with ties as SciPy breaks them.
 */
export function assignment(costs) {
  const [rows, columns] = [costs.length, costs[0].length];
  const [ofRow, ofColumn] = [new Float64Array(rows), new Float64Array(columns)]; // dual prices
  const [columnOf, rowOf] = [new Int32Array(rows).fill(-1), new Int32Array(columns).fill(-1)];
  for (let start = 0; start < rows; ++start) {
    const left = Array.from({ length: columns }, (_, i) => columns - 1 - i);
    const distance = new Float64Array(columns).fill(Infinity);
    const from = new Int32Array(columns);
    const [seenRows, seenColumns] = [[], []];
    let [row, reached, sink] = [start, 0, -1];
    while (sink < 0) {
      let [nearest, next] = [Infinity, -1];
      seenRows.push(row);
      for (let i = 0; i < left.length; ++i) {
        const column = left[i];
        const way = reached + costs[row][column] - ofRow[row] - ofColumn[column];
        if (way < distance[column]) [distance[column], from[column]] = [way, row];
        if (distance[column] < nearest || (distance[column] === nearest && rowOf[column] < 0)) {
          [nearest, next] = [distance[column], i];
        }
      }
      reached = nearest;
      const column = left[next];
      if (rowOf[column] < 0) sink = column;
      else row = rowOf[column];
      seenColumns.push(column);
      left[next] = left.at(-1);
      left.pop();
    }
    for (const seen of seenRows) ofRow[seen] += seen === start ? reached : reached - distance[columnOf[seen]];
    for (const column of seenColumns) ofColumn[column] -= reached - distance[column];
    for (let column = sink, on = -1; on !== start; ) {
      on = from[column];
      rowOf[column] = on;
      [columnOf[on], column] = [column, columnOf[on]];
    }
  }
  return [...columnOf];
}

// The pair of the least total of minutes per weight that is done first by that measure.
function matching(tasks, times) {
  const costs = times.map((row) => row.map((time, j) => time / tasks[j].weight));
  if (costs.length === 1 || tasks.length === 1) {
    const i = least(costs, (row) => Math.min(...row));
    return [i, costs[i].indexOf(Math.min(...costs[i]))];
  }
  const wide = costs.length <= tasks.length;
  const columns = assignment(wide ? costs : tasks.map((_, j) => costs.map((row) => row[j])));
  const pairs = columns.map((column, row) => (wide ? [row, column] : [column, row])).sort(([a], [b]) => a - b);
  return pairs[least(pairs, ([i, j]) => costs[i][j])];
}

function choose(command, free, tasks, times, table) {
  if (command === LEAST) {
    const j = least(tasks, ({ priority }) => -priority);
    const unable = ({ place }) => table[place][tasks[j].column] < CAPABLE;
    const able = free.some((agent) => !unable(agent));
    return [least(free, (agent) => (able && unable(agent) ? Infinity : agent.tasks)), j];
  }
  if (command === SHORTEST) {
    const i = least(times, (row) => Math.min(...row));
    return [i, times[i].indexOf(Math.min(...times[i]))];
  }
  if (command === EARLIEST) {
    const j = least(tasks, ({ deadline }) => deadline);
    return [least(free, (_, i) => times[i][j]), j];
  }
  if (command === CHEAPEST) return [least(free, ({ cost }, i) => cost * times[i][0]), 0];
  return matching(tasks, times);
}

/** The places in `free` and `tasks` of the assignment that an assign command makes. */
export function pair(command, free, tasks, table) {
  return choose(command, free, tasks, timesOf(free, tasks, table), table);
}

/** Numbers of each pair that could be assigned, and of whom could be spawned or retired. */
export function offers({ agents, free, tasks, table }) {
  const busy = agents.filter((agent) => !free.includes(agent));
  const found = [];
  if (free.length > 0 && tasks.length > 0) {
    const times = timesOf(free, tasks, table);
    for (const command of [LEAST, SHORTEST, EARLIEST, MATCHING, CHEAPEST]) {
      const [i, j] = choose(command, free, tasks, times, table);
      const [agent, task, time] = [free[i], tasks[j], times[i][j]];
      const sooner = busy.map(({ place, readyAt, speed }) => time - readyAt - task.work / (speed * table[place][task.column]));
      found.push(table[agent.place][task.column], Math.min(time, MOST_MINUTES) / 30, halfHours(task.deadline - time),
        task.priority / 3, Math.min((agent.cost * time) / 10, 40) / 10, halfHours(Math.max(-MOST_MINUTES, ...sooner)));
    }
  } else {
    found.push(...Array(ASSIGNS * OF_A_PAIR).fill(0));
  }
  found.push(...scaling({ agents, free, tasks, table }));
  return [...found, Math.min(MOST_MINUTES, ...busy.map(({ readyAt }) => readyAt)) / 30];
}

function scaling({ agents, free, tasks, table }) {
  const wanted = new Map();
  const count = new Map();
  for (const { column, work } of tasks) {
    wanted.set(column, (wanted.get(column) ?? 0) + work);
    count.set(column, (count.get(column) ?? 0) + 1);
  }
  let [most, there] = [0, 0];
  for (const [column, work] of wanted) {
    const speed = agents.reduce((sum, agent) => sum + (table[agent.place][column] > OWN ? agent.speed : 0), 0.5);
    if (work / speed > most) [most, there] = [work / speed, speed];
  }
  let [own, cost, whole] = [Infinity, 0, 0];
  for (const agent of free) {
    const tasksOfIts = [...count].reduce((sum, [column, n]) => sum + (table[agent.place][column] > OWN ? n : 0), 0);
    if (tasksOfIts < own || (tasksOfIts === own && agent.cost > cost)) [own, cost] = [tasksOfIts, agent.cost];
    whole += agent.cost;
  }
  if (free.length === 0) own = 0;
  return [Math.min(most, MOST_MINUTES) / 30, Math.min(there, 8) / 4, own / 8, Math.min(cost, 16) / 4, Math.min(whole, 32) / 8];
}
