/**
 * What the proxy benchmark tells: medians and ratios of each case, the goals judged by them, the page that is kept.
 *
 * A ratio is the median of the ratios within single rounds, where both targets ran one after the other: what else the
 * machine did at that time slowed both, and so it moves such a ratio less than one of medians. The range behind it is the
 * middle half of them.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { median } from './load.mjs';

/**
 * @typedef {import('./load.mjs').Case} Case
 * @typedef {import('./load.mjs').Round} Round
 * @typedef {{ perSecond: number, p50Ms: number, p99Ms: number, cpuSecondsPerMillion: number | null,
 *   peakBytes: number | null, pssBytes: number | null, perSecondByRound: number[] }} Measured
 * @typedef {{ failed: string }} Failed
 * @typedef {{ ratio: number, lower: number, upper: number }} Ratio
 * @typedef {Case & { leftOut: string | null, readMisses: number, targets: Record<string, Measured | Failed>,
 *   ringsideTo: Record<string, Ratio> }} Summary
 * @typedef {{ goal: string, verdict: string, cells: { id: string, value: string, met: boolean }[] }} Goal
 */

/** Columns of the tables. */
const targetNames = ['direct', 'haproxy', 'twemproxy', 'pipe', 'ringside'];

const method = [
  'Load: `redis-benchmark` on one thread, random keys out of 100,000 (100-byte values) or 10,000 (10 KB), all stored before; a round’s time includes opening its connections.',
  'Direct, haproxy (TCP mode, one thread) and the pipe (`bench/byte-pipe.mjs`, Node, copies bytes only) serve from one Redis; twemproxy (ketama, fnv1a_64, else Debian’s defaults, mbufs of 16 KB) and Ringside (defaults: murmur3, one worker) from the same three. Redis keeps nothing on disk, every shard has one copy.',
  'All on loopback. Load generator, Redis and proxy share the cores named above: a figure is what this machine does with all three, and a proxy that saves CPU time also speeds up what runs beside it.',
  'Fresh proxies for every case, two warm-up runs each, then rounds with all targets in turn, the order rotated. Figures are medians over the rounds; a ratio is the median of the ratios within single rounds, and need not be that of the figures shown; the range in brackets is the middle half of those. At one connection a run’s speed hangs on where the scheduler has put the processes, so the time is cut into four times as many rounds.',
  'Throughput counts commands (an MGET is one). CPU: user and system time of all processes of the proxy over all measured rounds. Memory: the highest resident sizes (VmHWM) of all processes of the proxy added up, so that pages they share count more than once; in brackets the proportional size (PSS), where they count once. MB are 10⁶ bytes. twemproxy never gives its buffers back.',
];

/** @param {string} projectDirectory */
export function describeMachine(projectDirectory) {
  const git = (/** @type {string[]} */ ...args) => firstLine('git', ['-C', projectDirectory, ...args]);
  const commit = git('rev-parse', '--short', 'HEAD') || 'no-commit';
  const changed = git('status', '--porcelain', '--', 'src', 'package-lock.json') !== '';
  return {
    date: new Date().toISOString(),
    commit,
    changedSinceCommit: changed,
    cpu: `${cpus()[0]?.model.trim()}, ${cpus().length} cores`,
    memoryBytes: totalmem(),
    system: `${/^PRETTY_NAME="(.*)"/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]}, Linux ${release()}`,
    node: process.version,
    redis: firstLine('redis-server', ['--version']).replace(/ sha=.*/, ''),
    nutcracker: firstLine('nutcracker', ['--version']).replace('This is ', ''),
    haproxy: firstLine('haproxy', ['-v']).replace(/ - .*/, ''),
    loadAverageAtStart: loadavg(),
  };
}

/** The first line a program prints (nutcracker prints its version as an error), or ''. @param {string} program  @param {string[]} args */
function firstLine(program, args) {
  try {
    const shell = ['-c', 'exec "$@" 2>&1', 'sh', program, ...args];
    return execFileSync('sh', shell, { encoding: 'utf8' }).split('\n')[0] ?? '';
  } catch {
    return '';
  }
}

/**
 * @param {Case} of  @param {Map<string, Round[] | Error> | string} results  per target, or why the case was left out
 * @param {number} readMisses  @returns {Summary}
 */
export function summariseCase(of, results, readMisses) {
  if (typeof results === 'string') return { ...of, leftOut: results, readMisses, targets: {}, ringsideTo: {} };
  /** @type {Summary['targets']} */
  const targets = {};
  for (const [name, rounds] of results) {
    targets[name] = Array.isArray(rounds) ? summariseRounds(rounds) : { failed: rounds.message };
  }
  /** @type {Summary['ringsideTo']} */
  const ringsideTo = {};
  for (const name of targetNames) {
    const ratio = name === 'ringside' ? null : ratioOf(targets['ringside'], targets[name]);
    if (ratio !== null) ringsideTo[name] = ratio;
  }
  return { ...of, leftOut: null, readMisses, targets, ringsideTo };
}

/** @param {Round[]} rounds  @returns {Measured} */
function summariseRounds(rounds) {
  const commands = rounds.reduce((sum, round) => sum + round.commands, 0);
  const cpu = rounds.reduce((sum, round) => sum + round.cpuSeconds, 0);
  const peak = Math.max(...rounds.map(round => round.peakBytes));
  return {
    perSecond: median(rounds.map(round => round.perSecond)),
    p50Ms: median(rounds.map(round => round.p50Ms)),
    p99Ms: median(rounds.map(round => round.p99Ms)),
    cpuSecondsPerMillion: peak > 0 ? (cpu / commands) * 1e6 : null,
    peakBytes: peak > 0 ? peak : null,
    pssBytes: peak > 0 ? Math.max(...rounds.map(round => round.pssBytes)) : null,
    perSecondByRound: rounds.map(round => Math.round(round.perSecond)),
  };
}

/** @param {Measured | Failed | undefined} one  @param {Measured | Failed | undefined} other  @returns {Ratio | null} */
function ratioOf(one, other) {
  if (one === undefined || other === undefined || 'failed' in one || 'failed' in other) return null;
  const paired = one.perSecondByRound.map((value, round) => value / (other.perSecondByRound[round] ?? Number.NaN));
  paired.sort((a, b) => a - b);
  const quarter = (paired.length - 1) / 4;
  const at = (/** @type {number} */ index) => paired[index] ?? Number.NaN;
  return { ratio: median(paired), lower: at(Math.floor(quarter)), upper: at(Math.ceil(3 * quarter)) };
}

/** One line of progress. @param {Summary} summary */
export function summaryLine(summary) {
  if (summary.leftOut !== null) return `${summary.id}: ${summary.leftOut}`;
  const parts = Object.entries(summary.targets).map(([name, target]) =>
    'failed' in target ? `${name} failed (${target.failed})` : `${name} ${thousands(target.perSecond)}`,
  );
  const missed = summary.readMisses > 0 ? `; ${summary.readMisses} READS FOUND NO KEY` : '';
  return `${summary.id}: ${parts.join(', ')} k/s${missed}`;
}

/** @param {Summary[]} summaries  @returns {Goal[]} */
export function judgeGoals(summaries) {
  const single = (/** @type {Case} */ of) => of.verb !== 'MGET';
  const rate = (/** @type {string} */ other, /** @type {number} */ least) => (/** @type {Summary} */ summary) => {
    const found = summary.ringsideTo[other];
    if (found === undefined) return null;
    // Beside the ratio that is judged: what no proxy at all reaches here, or how the usual rival stands.
    const beside = other === 'twemproxy' ? ratioOf(summary.targets['direct'], summary.targets['twemproxy']) : null;
    const also = summary.ringsideTo['twemproxy'];
    const note =
      beside !== null ? `; direct ${beside.ratio.toFixed(2)}` : `; ${also?.ratio.toFixed(2) ?? '–'} × twemproxy`;
    return { value: `${ratioText(found)}${note}`, met: found.ratio >= least };
  };
  /** @param {Summary} summary */
  const memory = summary => {
    const ringside = summary.targets['ringside'];
    if (ringside === undefined || 'failed' in ringside || ringside.peakBytes === null) return null;
    return { value: memoryText(ringside), met: ringside.peakBytes < 120 * 1024 * 1024 };
  };
  return [
    judge(
      'GET, SET: 50 connections, pipeline 16: ≥ 1.2 × twemproxy',
      rate('twemproxy', 1.2),
      summaries.filter(of => single(of) && of.connections === 50 && of.pipeline === 16),
    ),
    judge(
      'GET, SET: 50 connections, unpipelined: ≥ 1.0 × twemproxy',
      rate('twemproxy', 1),
      summaries.filter(of => single(of) && of.connections === 50 && of.pipeline === 1),
    ),
    judge(
      'MGET of 100 keys: ≥ 1.5 × twemproxy',
      rate('twemproxy', 1.5),
      summaries.filter(of => of.keys === 100),
    ),
    judge(
      'GET, SET: one connection, unpipelined: ≥ 0.95 × a Node byte pipe',
      rate('pipe', 0.95),
      summaries.filter(of => single(of) && of.connections === 1 && of.pipeline === 1),
    ),
    judge(
      'GET, SET: 500 connections, pipeline 16, 100-byte values: < 120 MiB resident',
      memory,
      summaries.filter(of => single(of) && of.connections === 500 && of.pipeline === 16 && of.valueBytes === 100),
    ),
  ];
}

/**
 * @param {string} goal  @param {(summary: Summary) => { value: string, met: boolean } | null} look
 * @param {Summary[]} summaries  those the goal speaks of
 * @returns {Goal}
 */
function judge(goal, look, summaries) {
  const cells = [];
  for (const summary of summaries) {
    const seen = look(summary);
    if (seen !== null) cells.push({ id: summary.id, ...seen });
    else if ('ringside' in summary.targets) cells.push({ id: summary.id, value: 'no figure', met: false });
  }
  const missed = cells.filter(cell => !cell.met).length;
  const verdict =
    cells.length === 0 ? 'not measured' : missed === 0 ? 'met' : `missed (in ${missed} of ${cells.length} cases)`;
  return { goal, verdict, cells };
}

const thousands = (/** @type {number} */ perSecond) => (perSecond / 1000).toFixed(perSecond < 10_000 ? 2 : 1);
const ratioText = (/** @type {Ratio} */ of) => `${of.ratio.toFixed(2)} (${of.lower.toFixed(2)}–${of.upper.toFixed(2)})`;
const megabytes = (/** @type {number | null} */ bytes) => (bytes === null ? '–' : (bytes / 1e6).toFixed(0));
const memoryText = (/** @type {Measured} */ of) => `${megabytes(of.peakBytes)} MB (${megabytes(of.pssBytes)})`;

/** @param {string[]} header  @param {string[][]} rows */
function table(header, rows) {
  const line = (/** @type {string[]} */ cells) => `| ${cells.join(' | ')} |`;
  return [line(header), `|---|${'---:|'.repeat(header.length - 1)}`, ...rows.map(line)].join('\n');
}

/** A row per case, a column per target. @param {Summary[]} summaries  @param {string[]} names  @param {(target: Measured) => string} tell */
function targetTable(summaries, names, tell) {
  const cell = (/** @type {Measured | Failed | undefined} */ target) =>
    target === undefined ? '–' : 'failed' in target ? 'failed' : tell(target);
  return table(
    ['case', ...names],
    summaries.map(of => [of.id, ...names.map(name => cell(of.targets[name]))]),
  );
}

/** @param {Summary[]} summaries */
function ratioTable(summaries) {
  const others = ['twemproxy', 'direct', 'pipe', 'haproxy'];
  const cell = (/** @type {Ratio | undefined} */ ratio) => (ratio === undefined ? '–' : ratioText(ratio));
  return table(
    ['Ringside to', ...others],
    summaries.map(of => [of.id, ...others.map(name => cell(of.ringsideTo[name]))]),
  );
}

/** @param {Summary[]} summaries */
function remarks(summaries) {
  const lines = [];
  for (const of of summaries) {
    if (of.leftOut !== null) lines.push(`- ${of.id}: ${of.leftOut}`);
    if (of.readMisses > 0) lines.push(`- ${of.id}: ${of.readMisses} reads found no key`);
    for (const target of Object.values(of.targets)) if ('failed' in target) lines.push(`- ${of.id}: ${target.failed}`);
  }
  return lines.length === 0 ? [] : ['## Remarks', lines.join('\n')];
}

/**
 * The page that is kept.
 * @param {ReturnType<typeof describeMachine>} machine
 * @param {{ rounds: number, secondsPerRound: number, tookMinutes: number, loadAverageAtEnd: number[] }} run
 * @param {Summary[]} summaries  @param {Goal[]} goals
 */
export function markdownOf(machine, run, summaries, goals) {
  const measured = summaries.filter(of => of.leftOut === null);
  const proxies = targetNames.slice(1);
  const goalRows = goals.map(goal => [
    goal.goal,
    goal.verdict,
    goal.cells.map(cell => `${cell.id}: ${cell.value}${cell.met ? '' : ' ✗'}`).join('<br>'),
  ]);
  const load = (/** @type {number[]} */ averages) => averages.map(value => value.toFixed(1)).join(' ');
  const sections = [
    `# Proxy benchmark, ${machine.date.slice(0, 10)}, commit ${machine.commit}${machine.changedSinceCommit ? ' with changes' : ''}`,
    `${machine.cpu}, ${(machine.memoryBytes / 2 ** 30).toFixed(0)} GiB, ${machine.system}; Node ${machine.node}, ${machine.redis}, ${machine.nutcracker}, ${machine.haproxy}. ${run.rounds} rounds of ${run.secondsPerRound} s, ${run.tookMinutes} min in all; load average ${load(machine.loadAverageAtStart)} before, ${load(run.loadAverageAtEnd)} after. A case is named command/value/connections/pipeline.`,
    '## Goals',
    table(['goal', 'verdict', 'cases'], goalRows).replace('---:|---:|', '---|---|'),
    '## Throughput, thousand commands per second',
    targetTable(measured, targetNames, target => thousands(target.perSecond)),
    '## Ratios of throughput',
    ratioTable(measured),
    '## Latency, p50 / p99 in ms',
    targetTable(measured, targetNames, target => `${target.p50Ms.toFixed(2)} / ${target.p99Ms.toFixed(2)}`),
    '## CPU seconds of the proxy per million commands',
    targetTable(measured, proxies, target => (target.cpuSecondsPerMillion ?? Number.NaN).toFixed(2)),
    '## Peak memory of the proxy: VmHWM (PSS)',
    targetTable(measured, proxies, memoryText),
    ...remarks(summaries),
    '## Method',
    method.map(line => `- ${line}`).join('\n'),
  ];
  return `${sections.join('\n\n')}\n`;
}
