/**
 * What the failover benchmark tells: medians, worst cases and goals of each fault, and the page that is kept.
 */
import { median } from './load.mjs';

const method = [
  'One shard of three Redis nodes, one supervisor with a file store and the default detection (probes every 100 ms, `crashed` 200 ms, `hung` 1500 ms), one proxy, all on one machine. A client sends a write with a key of its own every 2 ms, whether or not the earlier ones were answered.',
  '“To the first acknowledged write” is the time from the signal until the first acknowledgement of a write that was sent after it. After each fault the killed nodes are started again, empty; “whole” is the time from then until all copies are in sync. Then every acknowledged write is looked for.',
  'Rebuild: a replica is killed, dropped, and started again empty; from its start to being in sync. Plain: an empty Redis with the same settings is told REPLICAOF a Redis with the same data, until its link is up; both in turn, without a load. p99 is that of the writes of a client as above, before and during the rebuild.',
];

/**
 * @typedef {import('./failover-cases.mjs').FaultCase} FaultCase
 * @typedef {import('./failover-cases.mjs').Fault} Fault
 * @typedef {{ id: string, title: string, faults: number, medianMs: number, worstMs: number, wholeMedianMs: number,
 *   wholeWorstMs: number, lost: number, errors: Record<string, number>, goals: { text: string, met: boolean }[],
 *   valuesMs: number[] }} FaultSummary
 */

/** @param {FaultCase} of  @param {Fault[]} runs  @param {Record<string, number>} errors  @returns {FaultSummary} */
export function summarise(of, runs, errors) {
  const values = runs.map(({ valueMs }) => Math.round(valueMs));
  const whole = runs.map(({ wholeMs }) => Math.round(wholeMs));
  const lost = runs.reduce((sum, run) => sum + run.lost, 0);
  const [medianMs, worstMs] = [median(values), Math.max(...values)];
  const goals = [{ text: 'no acknowledged write lost', met: lost === 0 }];
  if (of.medianMs !== null) goals.push({ text: `median under ${of.medianMs} ms`, met: medianMs < of.medianMs });
  if (of.worstMs !== null) goals.push({ text: `worst under ${of.worstMs} ms`, met: worstMs < of.worstMs });
  if (of.noErrors) goals.push({ text: 'no errors', met: Object.keys(errors).length === 0 });
  return {
    id: of.id,
    title: of.title,
    faults: runs.length,
    medianMs,
    worstMs,
    wholeMedianMs: median(whole),
    wholeWorstMs: Math.max(...whole),
    lost,
    errors,
    goals,
    valuesMs: values,
  };
}

/** @param {any} result  as `failover.mjs` puts it together */
export function markdownOf({ machine, faultsPerCase, faults, rebuild, healed }) {
  const lines = [
    `# Failover: what clients feel of ${faultsPerCase} faults of each kind`,
    '',
    `${machine.date.slice(0, 10)}, commit ${machine.commit}${machine.changedSinceCommit ? ' with changes' : ''}; ${machine.cpu}; ${machine.system}; Node ${machine.node}; ${machine.redis}`,
    '',
    ...method.flatMap(text => [text, '']),
    '| fault | median | worst | whole again: median, worst | errors seen | lost | goals |',
    '|---|---|---|---|---|---|---|',
    ...faults.map(rowOf),
  ];
  if (rebuild !== null) lines.push('', ...rebuildLines(rebuild));
  if (healed !== null) lines.push('', ...healedLines(healed));
  return `${lines.join('\n')}\n`;
}

/** @param {FaultSummary} of */
function rowOf(of) {
  const errors = Object.entries(of.errors).map(([kind, count]) => `${kind}: ${count}`);
  const goals = of.goals.map(({ text, met }) => `${met ? 'met' : '**missed**'}: ${text}`);
  const whole = `${of.wholeMedianMs} ms, ${of.wholeWorstMs} ms`;
  const cells = [of.title, `${of.medianMs} ms`, `${of.worstMs} ms`, whole, errors.join(', ') || 'none', `${of.lost}`];
  return `| ${[...cells, goals.join('<br>')].join(' | ')} |`;
}

/** @param {{ megabytes: number, plainMs: number[], rebuiltMs: number[], quietP99Ms: number, busyP99Ms: number[] }} of */
function rebuildLines({ megabytes, plainMs, rebuiltMs, quietP99Ms, busyP99Ms }) {
  const ratio = median(rebuiltMs) / median(plainMs);
  return [
    `Rebuild of a copy of ${megabytes} MB: ${Math.round(median(rebuiltMs))} ms, plain REPLICAOF ${Math.round(median(plainMs))} ms: ${ratio.toFixed(2)} × (${ratio <= 1.2 ? 'met' : '**missed**'}: at most 1.2 ×). p99 of writes ${quietP99Ms.toFixed(1)} ms before, ${median(busyP99Ms).toFixed(1)} ms meanwhile.`,
  ];
}

/** @param {{ megabytes: number, cutMs: number, wholeMs: number[] }} of */
function healedLines({ megabytes, cutMs, wholeMs }) {
  const worst = Math.max(...wholeMs);
  return [
    `A host with a copy of ${megabytes} MB cut off for ${cutMs / 1000} s, ${wholeMs.length} times (replica and primary in turn): all copies in sync ${Math.round(median(wholeMs))} ms after it was healed, at worst ${Math.round(worst)} ms (${worst < 5000 ? 'met' : '**missed**'}: under 5 s).`,
  ];
}
