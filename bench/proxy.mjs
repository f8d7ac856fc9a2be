/**
 * What does a Ringside proxy cost, beside a direct connection, twemproxy, haproxy and a Node byte pipe?
 *
 * One run starts everything it measures. For every case each target gets fresh processes, is warmed up, and then takes
 * its turn in every round; the turn order rotates, so that what else the machine does hits all alike.
 */
import { loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { keep, numberOf, projectDirectory, Stage, UsageError } from './harness.mjs';
import {
  caseOf,
  commandsFor,
  firstGuess,
  loadKeys,
  outstandingBytes,
  patternOf,
  readMisses,
  roundsOf,
  runLoad,
} from './load.mjs';
import { describeMachine, judgeGoals, markdownOf, summariseCase, summaryLine } from './proxy-report.mjs';

/**
 * @typedef {import('./load.mjs').Case} Case
 * @typedef {import('./load.mjs').Round} Round
 * @typedef {import('./harness.mjs').Target} Target
 * @typedef {{ single: number, shards: number[] }} Nodes   ports of the Redis processes
 */

const help = `usage: npm run bench -- [options]
  --quick              ten cases, three shorter rounds: about three minutes instead of half an hour
  --only PATTERN       only cases whose name matches, e.g. "get/100b" or "c50/p16$"
  --rounds N           rounds per case (default 5, with --quick 3; at one connection four times as many, a quarter as long)
  --seconds S          length of a round (default 1.2; with --quick 0.6)
  --save               keep the result also of a --quick or --only run (the full run is always kept)
  --no-save            keep nothing
  --dist DIR           the build of Ringside to measure (default: dist)
  --without-ringside   only the references
  --list               print the cases and end`;

/** If every connection waits for a full pipeline of such replies, the nodes must hold this much: more is left out. */
const mostOutstandingBytes = 1e9;

/** @param {string[]} argv */
function readArguments(argv) {
  const { values } = parseArgs({
    args: argv,
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      save: { type: 'boolean', default: false },
      'no-save': { type: 'boolean', default: false },
      dist: { type: 'string', default: join(projectDirectory, 'dist') },
      'without-ringside': { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const { rounds = values.quick ? '3' : '5', seconds = values.quick ? '0.6' : '1.2' } = values;
  const given = { rounds, seconds };
  return { ...values, rounds: numberOf(given, 'rounds', true), seconds: numberOf(given, 'seconds') };
}

/** @typedef {ReturnType<typeof readArguments>} Options */

/** Every combination, values outermost: keys are stored once per value size. @returns {Case[]} */
function fullMatrix() {
  const cases = [];
  for (const valueBytes of [100, 10_000]) {
    for (const [verb, keys] of /** @type {[Case['verb'], number][]} */ ([
      ['GET', 1],
      ['SET', 1],
      ['MGET', 10],
      ['MGET', 100],
    ])) {
      for (const connections of [1, 50, 500]) {
        for (const pipeline of [1, 16]) cases.push(caseOf({ verb, keys, valueBytes, connections, pipeline }));
      }
    }
  }
  return cases;
}

/** What the goals are judged by, at 100-byte values. */
const quickCases = /^((get|set)\/100b\/(c1\/p1|c50\/p1|c50\/p16|c500\/p16)|mget100\/100b\/c50\/p(1|16))$/;

/** @param {Options} options */
function chooseCases(options) {
  const only = patternOf(options.only);
  const cases = fullMatrix().filter(of => (!options.quick || quickCases.test(of.id)) && only.test(of.id));
  if (cases.length === 0) throw new UsageError(`no case matches --only ${options.only}; --list shows all`);
  return cases;
}

/** Fresh processes for one case. @param {Stage} stage  @param {Nodes} nodes  @param {Options} options */
async function startProxies(stage, nodes, options) {
  const starting = [
    stage.haproxy(nodes.single),
    stage.nutcracker(nodes.shards),
    stage.bytePipe(nodes.single),
    ...(options['without-ringside'] ? [] : [stage.ringside(nodes.shards, resolve(options.dist))]),
  ];
  return Promise.all(starting);
}

/** @param {Nodes} nodes  @param {import('./harness.mjs').Service[]} services  @returns {Target[]} */
function targetsOf(nodes, services) {
  const proxies = services.map(({ name, port, pid }) => ({ name, host: '127.0.0.1', port, pid }));
  return [{ name: 'direct', host: '127.0.0.1', port: nodes.single, pid: null }, ...proxies];
}

/**
 * Warm-up, then the rounds. A target that fails is out of the case: its error is its result.
 * @param {Target[]} targets  @param {Case} of  @param {Options} options
 */
async function runRounds(targets, of, options) {
  /** @type {Map<string, Round[] | Error>} */
  const results = new Map();
  const commands = new Map();
  const { rounds: roundCount, seconds } = roundsOf(of, options.rounds, options.seconds);
  /** @param {Target} target  @param {() => Promise<void>} work */
  const attempt = async (target, work) => {
    try {
      await work();
    } catch (error) {
      results.set(target.name, error instanceof Error ? error : new Error(String(error)));
    }
  };
  for (const target of targets) {
    results.set(target.name, []);
    await attempt(target, async () => {
      const cold = await runLoad(target, of, firstGuess(of));
      const warm = await runLoad(target, of, commandsFor(of, cold, options.seconds * 0.6));
      commands.set(target.name, commandsFor(of, warm, seconds));
    });
  }
  for (let round = 0; round < roundCount; round += 1) {
    for (let turn = 0; turn < targets.length; turn += 1) {
      const target = /** @type {Target} */ (targets[(turn + round) % targets.length]);
      const rounds = results.get(target.name);
      if (!Array.isArray(rounds)) continue;
      await attempt(target, async () => {
        rounds.push(await runLoad(target, of, commands.get(target.name)));
      });
    }
  }
  return results;
}

/**
 * The byte copiers reach the node that `direct` fills; the two routers share three nodes, each fills those its ring
 * names. They are not measured afterwards: what loading leaves in their memory is no part of a case.
 * @param {Stage} stage  @param {Nodes} nodes  @param {Case} of  @param {Options} options
 */
async function storeKeys(stage, nodes, of, options) {
  const services = await startProxies(stage, nodes, options);
  const fill = targetsOf(nodes, services).filter(target => ['direct', 'twemproxy', 'ringside'].includes(target.name));
  for (const target of fill) await loadKeys(target, of.valueBytes);
  await Promise.all(services.map(service => service.stop()));
}

/** @param {Stage} stage  @param {Nodes} nodes  @param {Case} of  @param {Options} options  @param {boolean} load */
async function measureCase(stage, nodes, of, options, load) {
  if (load) await storeKeys(stage, nodes, of, options);
  const services = await startProxies(stage, nodes, options);
  const targets = targetsOf(nodes, services);
  const missesBefore = await sumMisses(nodes);
  const results = await runRounds(targets, of, options);
  const misses = (await sumMisses(nodes)) - missesBefore;
  await Promise.all(services.map(service => service.stop()));
  return summariseCase(of, results, misses);
}

/** @param {Nodes} nodes */
async function sumMisses(nodes) {
  const misses = await Promise.all([nodes.single, ...nodes.shards].map(readMisses));
  return misses.reduce((sum, count) => sum + count, 0);
}

/** @param {Case[]} cases  @param {Options} options */
async function measureAll(cases, options) {
  const stage = new Stage();
  try {
    const single = (await stage.redis()).port;
    const shards = await Promise.all([1, 2, 3].map(async shard => (await stage.redis(`redis-s${shard}`)).port));
    const nodes = { single, shards };
    const summaries = [];
    let loadedBytes = 0;
    for (const [index, of] of cases.entries()) {
      const label = `[${index + 1}/${cases.length}] `;
      if (outstandingBytes(of) > mostOutstandingBytes) {
        const gigabytes = (outstandingBytes(of) / 1e9).toFixed(1);
        summaries.push(summariseCase(of, `left out: ${gigabytes} GB of replies could be on their way at once`, 0));
      } else {
        summaries.push(await measureCase(stage, nodes, of, options, loadedBytes !== of.valueBytes));
        loadedBytes = of.valueBytes;
      }
      console.log(label + summaryLine(/** @type {any} */ (summaries.at(-1))));
    }
    return summaries;
  } finally {
    await stage.end();
  }
}

/** @param {ReturnType<typeof describeMachine>} machine  @param {Options} options  @param {object} result  @param {string} markdown */
function keepIfWhole(machine, options, result, markdown) {
  const part = options.quick || options.only !== '' || options['without-ringside'];
  if (options['no-save'] || (part && !options.save)) return;
  keep(machine, part ? '-part' : '', result, markdown);
}

/** About how long a case takes; a round that must fill every pipeline twice may need longer than was asked. @param {Case} of  @param {Options} options */
function expectedSeconds(of, options) {
  if (outstandingBytes(of) > mostOutstandingBytes) return 0;
  const targets = options['without-ringside'] ? 4 : 5;
  const shortest = (2 * outstandingBytes(of)) / 0.7e9;
  const warmUp = Math.max(0.5, shortest) + Math.max(options.seconds * 0.6, shortest);
  return 1.5 + targets * (warmUp + options.rounds * Math.max(options.seconds, shortest));
}

/** @param {string[]} argv */
async function main(argv) {
  const options = readArguments(argv);
  if (options.help) return console.log(help);
  const cases = chooseCases(options);
  if (options.list) return console.log(cases.map(of => of.id).join('\n'));
  const minutes = Math.ceil(cases.reduce((sum, of) => sum + expectedSeconds(of, options), 0) / 60);
  const shape = `${cases.length} cases, ${options.rounds} rounds of ${options.seconds} s`;
  console.log(`${shape}: about ${minutes} min on a machine that does nothing else`);
  const machine = describeMachine(projectDirectory);
  const startMs = Date.now();
  const summaries = await measureAll(cases, options);
  const run = {
    rounds: options.rounds,
    secondsPerRound: options.seconds,
    tookMinutes: Math.round((Date.now() - startMs) / 6000) / 10,
    loadAverageAtEnd: loadavg(),
  };
  const goals = judgeGoals(summaries);
  const markdown = markdownOf(machine, run, summaries, goals);
  console.log(`\n${markdown}`);
  keepIfWhole(machine, options, { machine, run, goals, cases: summaries }, markdown);
}

main(process.argv.slice(2)).catch(error => {
  console.error(`bench/proxy: ${error.message}`);
  process.exitCode = error instanceof UsageError || error.code?.startsWith('ERR_PARSE_ARGS') ? 2 : 1;
});
