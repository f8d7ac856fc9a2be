/**
 * What the resharding benchmark tells: how much was moved, how fast, what clients felt of it, and the page that is kept.
 */

/** @typedef {import('./reshard.mjs').Move} Move */
/** @typedef {import('./reshard-load.mjs').Window} Window */
/** @typedef {import('./reshard-rings.mjs').Spread} Spread */

const method = [
  'Three shards, one supervisor with a file store, one proxy with one worker, all with their defaults, and the load, all on one machine. Each client sends a command as soon as the one before was answered: nine reads and one write of random keys. A value names its key and a version that only grows: every answer is checked against what was acknowledged before, and every key when the move is over. Nodes are asked how many keys they hold, so that a key on two shards shows.',
  '“During” is from the order (`ringside apply`) until the move is over, the forming of the new shard included. The ideal share is 1/4 of all keys; what the two rings say is counted key by key.',
];

/** @param {Window} window */
const perSecond = window => (window.commands * 1_000) / window.ms;

/** @param {Move} of  @returns {{ text: string, met: boolean }[]} */
function goalsOf({ exact, ideal, arrived, before, during, lost, wrong, doubled }) {
  return [
    { text: 'exactly the keys whose owner changes', met: arrived === exact },
    { text: 'within 5 % of the ideal share', met: Math.abs(arrived / ideal - 1) <= 0.05 },
    { text: 'nothing lost, doubled or stale', met: lost === 0 && wrong === 0 && doubled === 0 },
    { text: 'throughput at least 0.8 × before', met: perSecond(during) >= 0.8 * perSecond(before) },
    { text: 'p99 at most 3 × before', met: during.p99Ms <= 3 * before.p99Ms },
  ];
}

/** @param {any} result  as `reshard.mjs` puts it together */
export function markdownOf({ machine, load, moves, spreads }) {
  const { keys, connections, valueBytes, copies } = load;
  const rate = load.rate > 0 ? `, at most ${load.rate} keys a second` : '';
  const lines = [
    `# Moving keys between shards: ${keys} keys of ${valueBytes} bytes, ${copies} copies, ${connections} connections${rate}`,
    '',
    `${machine.date.slice(0, 10)}, commit ${machine.commit}${machine.changedSinceCommit ? ' with changes' : ''}; ${machine.cpu}; ${machine.system}; Node ${machine.node}; ${machine.redis}`,
    '',
    ...method.flatMap(text => [text, '']),
    ...moves.flatMap(moveLines),
    '| shards of 256 vnodes | standard deviation of load | least, most loaded | a shard more takes | 1/N |',
    '|---|---|---|---|---|',
    ...spreads.map(spreadRow),
  ];
  return `${lines.join('\n')}\n`;
}

/** @param {Move} of */
function moveLines(of) {
  const { title, keys, exact, ideal, arrived, seconds, keysPerSecond, mostAddedLatencyMs, before, during, after } = of;
  const share = (/** @type {number} */ count) => `${count} (${((100 * count) / keys).toFixed(2)} %)`;
  const ratio = (perSecond(during) / perSecond(before)).toFixed(2);
  const p99 = (during.p99Ms / before.p99Ms).toFixed(2);
  const problem = of.firstProblem === null ? '' : `; the first: ${of.firstProblem}`;
  return [
    `## ${title[0]?.toUpperCase()}${title.slice(1)}`,
    '',
    `Moved ${share(arrived)}; by the two rings ${share(exact)}; ideal ${share(ideal)}. ${seconds.toFixed(1)} s in all, ${Math.round(keysPerSecond)} keys a second; added latency of the giver by the supervisor's measure at most ${mostAddedLatencyMs === null ? 'not measured' : `${mostAddedLatencyMs.toFixed(1)} ms`}. Lost ${of.lost}, wrong or stale ${of.wrong}, on two shards ${of.doubled}${problem}.`,
    '',
    '| | commands a second | p50 | p99 | worst | errors |',
    '|---|---|---|---|---|---|',
    windowRow('before', before),
    windowRow('during', during),
    windowRow('after', after),
    `| during ÷ before | ${ratio} | | ${p99} | | |`,
    '',
    ...goalsOf(of).map(({ text, met }) => `- ${met ? 'met' : '**missed**'}: ${text}`),
    '',
  ];
}

/** @param {string} name  @param {Window} window */
function windowRow(name, window) {
  const errors = Object.entries(window.errors).map(([kind, count]) => `${kind}: ${count}`);
  const times = [window.p50Ms, window.p99Ms, window.worstMs].map(ms => `${ms.toFixed(2)} ms`);
  return `| ${[name, Math.round(perSecond(window)), ...times, errors.join(', ') || 'none'].join(' | ')} |`;
}

/** @param {Spread} of */
function spreadRow({ shards, deviation, least, most, moved, ideal }) {
  const percent = (/** @type {number} */ part) => `${(100 * part).toFixed(2)} %`;
  return `| ${shards} | ${percent(deviation)} | ${percent(least)}, ${percent(most)} | ${percent(moved)} | ${percent(ideal)} |`;
}
