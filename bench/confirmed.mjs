/**
 * What does it cost that every copy has a write before its client hears of it?
 *
 * One shard of three copies, `SET` of 100 bytes. Ringside with `writes.acknowledge: all` stands against Ringside with
 * `primary`, against the primary itself, and against a client that sends `SET` and `WAIT 2` there by itself. All take
 * their turn in every round, in an order that rotates, so that what else the machine does hits all alike.
 */
import { fork } from 'node:child_process';
import { loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { askNode, keep, numberOf, projectDirectory, Stage, UsageError } from './harness.mjs';
import { caseOf, commandsFor, firstGuess, median, patternOf, roundsOf, runLoad } from './load.mjs';
import { describeMachine } from './proxy-report.mjs';

/**
 * @typedef {import('./load.mjs').Case} Case
 * @typedef {import('./load.mjs').Round} Round
 * @typedef {import('./harness.mjs').Target} Target
 * @typedef {Case & { targets: Record<string, { perSecond: number, p50Ms: number, p99Ms: number, rounds: number[] }>,
 *   throughput: number, latency: number }} Summary   `throughput`, `latency`: confirmed to unconfirmed, through Ringside
 */

const help = `usage: node bench/confirmed.mjs [options]
  --only PATTERN   only cases whose name matches, e.g. "c50"
  --rounds N       rounds per case (default 5; at one connection four times as many, a quarter as long)
  --seconds S      length of a round (default 1)
  --save           keep the result under bench/results
  --dist DIR       the build of Ringside to measure (default: dist)`;

const options = readArguments(process.argv.slice(2));

/** @param {string[]} argv */
function readArguments(argv) {
  const { values } = parseArgs({
    args: argv,
    options: {
      only: { type: 'string', default: '' },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '1' },
      save: { type: 'boolean', default: false },
      dist: { type: 'string', default: join(projectDirectory, 'dist') },
      help: { type: 'boolean', default: false },
    },
  });
  const [rounds, seconds] = [numberOf(values, 'rounds', true), numberOf(values, 'seconds')];
  return { ...values, rounds, seconds };
}

/** A primary with two replicas attached. @param {Stage} stage */
async function startCopies(stage) {
  const nodes = await Promise.all(['primary', 'replica-1', 'replica-2'].map(name => stage.redis(name)));
  const [primary, ...replicas] = nodes.map(node => node.port);
  const port = /** @type {number} */ (primary);
  askNode(port, 'CONFIG', 'SET', 'repl-diskless-sync-delay', '0');
  askNode(port, 'CONFIG', 'SET', 'repl-backlog-size', '256mb');
  for (const replica of replicas) askNode(replica, 'REPLICAOF', '127.0.0.1', `${port}`);
  for (
    const deadlineMs = Date.now() + 15_000;
    askNode(port, 'INFO', 'replication').split('state=online').length < 3;
  ) {
    if (Date.now() > deadlineMs) throw new UsageError('the replicas do not follow their primary');
    await new Promise(done => setTimeout(done, 50));
  }
  return { primary: port, replicas };
}

/** One run of the client that waits by itself; in a process of its own. @param {Target} target  @param {Case} of  @param {number} commands */
function runWaiting(target, of, commands) {
  const child = fork(fileURLToPath(new URL('./wait-load.mjs', import.meta.url)));
  return /** @type {Promise<Round>} */ (
    new Promise((done, reject) => {
      child.once('message', message => done(/** @type {Round} */ (message)));
      child.once('exit', code => reject(new Error(`the client that waits by itself ended with ${code}`)));
      child.send({ port: target.port, connections: of.connections, pipeline: of.pipeline, commands });
    })
  );
}

/** @param {Target[]} targets  @param {Case} of */
async function measure(targets, of) {
  const { rounds, seconds } = roundsOf(of, options.rounds, options.seconds);
  const run = (/** @type {Target} */ target, /** @type {number} */ commands) =>
    target.name === 'waiting' ? runWaiting(target, of, commands) : runLoad(target, of, commands);
  /** @type {Map<string, Round[]>} */
  const results = new Map();
  const commands = new Map();
  for (const target of targets) {
    results.set(target.name, []);
    const cold = await run(target, firstGuess(of));
    const warm = await run(target, commandsFor(of, cold, seconds * 0.6));
    commands.set(target.name, commandsFor(of, warm, seconds));
  }
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < targets.length; turn += 1) {
      const target = /** @type {Target} */ (targets[(turn + round) % targets.length]);
      results.get(target.name)?.push(await run(target, commands.get(target.name)));
    }
  }
  return summarise(of, results);
}

/** @param {Case} of  @param {Map<string, Round[]>} results  @returns {Summary} */
function summarise(of, results) {
  /** @type {Summary['targets']} */
  const targets = {};
  for (const [name, rounds] of results) {
    targets[name] = {
      perSecond: median(rounds.map(round => round.perSecond)),
      p50Ms: median(rounds.map(round => round.p50Ms)),
      p99Ms: median(rounds.map(round => round.p99Ms)),
      rounds: rounds.map(round => Math.round(round.perSecond)),
    };
  }
  const [confirmed, unconfirmed] = ['confirmed', 'unconfirmed'].map(name => results.get(name) ?? []);
  const ratio = (/** @type {'perSecond' | 'p50Ms'} */ field) =>
    median((confirmed ?? []).map((round, i) => round[field] / (unconfirmed?.[i]?.[field] ?? Number.NaN)));
  return { ...of, targets, throughput: ratio('perSecond'), latency: ratio('p50Ms') };
}

/** @param {Summary[]} summaries */
function goalsOf(summaries) {
  const at = (/** @type {string} */ id) => summaries.find(one => one.id === id);
  const goals = [];
  for (const id of ['set/100b/c50/p1', 'set/100b/c50/p16']) {
    const found = at(id);
    if (found === undefined) continue;
    const met = found.throughput >= 0.6;
    goals.push({ goal: `${id}: at least 0.6 of the unconfirmed throughput`, value: found.throughput.toFixed(2), met });
  }
  const single = at('set/100b/c1/p1');
  if (single !== undefined) {
    const met = single.latency < 2.5;
    goals.push({ goal: `${single.id}: p50 below 2.5 of the unconfirmed`, value: single.latency.toFixed(2), met });
  }
  return goals;
}

/** @param {ReturnType<typeof describeMachine>} machine  @param {Summary[]} summaries  @param {ReturnType<typeof goalsOf>} goals */
function markdownOf(machine, summaries, goals) {
  const names = Object.keys(summaries[0]?.targets ?? {});
  const row = (/** @type {Summary} */ one) => {
    const cells = names.map(name => {
      const cell = one.targets[name];
      return cell === undefined ? '–' : `${(cell.perSecond / 1000).toFixed(1)} k/s, ${cell.p50Ms.toFixed(2)} ms`;
    });
    return `| ${one.id} | ${cells.join(' | ')} | ${one.throughput.toFixed(2)} | ${one.latency.toFixed(2)} |`;
  };
  return [
    '# Confirmed writes',
    '',
    `${machine.date}, commit ${machine.commit}${machine.changedSinceCommit ? ' with changes' : ''}; ${machine.cpu}, ${machine.system}, Node ${machine.node}, ${machine.redis}; load average ${machine.loadAverageAtStart.map(one => one.toFixed(2)).join(' ')} at the start, ${loadavg()
      .map(one => one.toFixed(2))
      .join(' ')} at the end.`,
    '',
    'One shard of three copies on loopback, `SET` of 100 bytes over 100,000 keys. `direct`, `unconfirmed` (through Ringside, `acknowledge: primary`) and `confirmed` (`all`) under `redis-benchmark`; `waiting` is a client in Node that sends its `SET`s and one `WAIT 2` behind each pipeline, so its own cost is in its figures. Load generator, three nodes and proxy share the cores. Throughput and p50 are medians over the rounds; the two last columns are medians of the ratios, confirmed to unconfirmed, within single rounds.',
    '',
    `| case | ${names.join(' | ')} | throughput | p50 |`,
    `|---|${names.map(() => '---|').join('')}---|---|`,
    ...summaries.map(row),
    '',
    ...goals.map(({ goal, value, met }) => `- ${goal}: ${value}, ${met ? 'met' : 'NOT met'}`),
    '',
  ].join('\n');
}

async function main() {
  if (options.help) return console.log(help);
  const only = patternOf(options.only);
  const cases = [1, 50, 500]
    .flatMap(connections => [1, 16].map(pipeline => ({ connections, pipeline })))
    .map(shape => caseOf({ verb: 'SET', keys: 1, valueBytes: 100, ...shape }))
    .filter(of => only.test(of.id));
  if (cases.length === 0) throw new UsageError(`no case matches --only ${options.only}`);
  const machine = describeMachine(projectDirectory);
  const stage = new Stage();
  try {
    const { primary, replicas } = await startCopies(stage);
    const shards = [[primary, ...replicas]];
    const dist = resolve(options.dist);
    const confirmed = await stage.ringside(shards, dist, 'confirmed');
    const unconfirmed = await stage.ringside(shards, dist, 'unconfirmed', ['writes: { acknowledge: primary }']);
    const targets = [
      { name: 'direct', host: '127.0.0.1', port: primary, pid: null },
      { name: 'waiting', host: '127.0.0.1', port: primary, pid: null },
      ...[unconfirmed, confirmed].map(({ name, port, pid }) => ({ name, host: '127.0.0.1', port, pid })),
    ];
    const summaries = [];
    for (const of of cases) {
      const summary = await measure(targets, of);
      summaries.push(summary);
      const figures = Object.entries(summary.targets).map(
        ([name, { perSecond, p50Ms }]) => `${name} ${(perSecond / 1000).toFixed(1)} k/s ${p50Ms.toFixed(3)} ms`,
      );
      const ratios = `throughput ${summary.throughput.toFixed(2)}, p50 ${summary.latency.toFixed(2)}`;
      console.log(`${of.id}: ${figures.join(', ')}; confirmed to unconfirmed: ${ratios}`);
    }
    const goals = goalsOf(summaries);
    const markdown = markdownOf(machine, summaries, goals);
    console.log(`\n${markdown}`);
    if (options.save) keep(machine, '-confirmed', { machine, goals, cases: summaries }, markdown);
  } finally {
    await stage.end();
  }
}

main().catch(error => {
  console.error(`bench/confirmed: ${error.message}`);
  process.exitCode = error instanceof UsageError || error.code?.startsWith('ERR_PARSE_ARGS') ? 2 : 1;
});
