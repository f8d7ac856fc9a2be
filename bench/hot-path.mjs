/**
 * Did this change make the hot path faster? A short comparison with twemproxy and with a Node byte pipe.
 *
 * Rounds are interleaved, so that what else the machine does hits all alike; each number is the median of the rounds
 * and each ratio the median of the ratios within them.
 * At three short rounds a difference below about 5 % means nothing: give more `--rounds` and `--seconds`.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { projectDirectory, Stage, UsageError } from './harness.mjs';
import { caseOf, commandsFor, firstGuess, loadKeys, median, patternOf, roundsOf, runLoad } from './load.mjs';

const help = `usage: node bench/hot-path.mjs [options]
  --ringside HOST:PORT  measure this running proxy (keys key:000000000000… are stored through it); else starts dist/
  --pid PID             the running proxy's process, for its CPU time
  --dist DIR            a build to start; give it twice or more to compare builds (default: dist)
  --rounds N            interleaved rounds (default 3; at one connection four times as many, a quarter as long)
  --seconds S           length of a round (default 0.3)
  --only PATTERN        only cases that match, e.g. "get/" or "p16"
  --mget                also MGET of 100 keys over all shards
  --without-ringside    only the two references
  --value-bytes N       size of the values (default 100)`;

/**
 * @typedef {import('./harness.mjs').Target} Target
 * @typedef {import('./load.mjs').Round} Round
 * @typedef {import('./load.mjs').Case} Case
 */

/** @param {string[]} argv */
function readArguments(argv) {
  const { values } = parseArgs({
    args: argv,
    options: {
      ringside: { type: 'string' },
      pid: { type: 'string' },
      dist: { type: 'string', multiple: true, default: [resolve(projectDirectory, 'dist')] },
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '0.3' },
      only: { type: 'string', default: '' },
      mget: { type: 'boolean', default: false },
      'without-ringside': { type: 'boolean', default: false },
      'value-bytes': { type: 'string', default: '100' },
      help: { type: 'boolean', default: false },
    },
  });
  for (const name of /** @type {const} */ (['rounds', 'seconds', 'value-bytes'])) {
    if (!(Number(values[name]) > 0)) throw new UsageError(`--${name} ${values[name]}: a number above 0 is wanted`);
  }
  return values;
}

/** @param {ReturnType<typeof readArguments>} options */
function casesOf(options) {
  const valueBytes = Number(options['value-bytes']);
  const shapes = [
    { connections: 50, pipeline: 1 },
    { connections: 50, pipeline: 16 },
    { connections: 1, pipeline: 1 },
  ];
  const commands = /** @type {{ verb: Case['verb'], keys: number }[]} */ ([
    { verb: 'GET', keys: 1 },
    { verb: 'SET', keys: 1 },
    ...(options.mget ? [{ verb: 'MGET', keys: 100 }] : []),
  ]);
  const all = shapes.flatMap(shape => commands.map(command => caseOf({ ...command, valueBytes, ...shape })));
  const chosen = all.filter(of => patternOf(options.only).test(of.id));
  if (chosen.length === 0) throw new UsageError(`no case matches --only: there are ${all.map(of => of.id).join(' ')}`);
  return chosen;
}

/** @param {Stage} stage  @param {ReturnType<typeof readArguments>} options  @returns {Promise<Target[]>} */
async function startTargets(stage, options) {
  const nodes = await Promise.all([1, 2, 3].map(shard => stage.redis(`redis-s${shard}`)));
  const shardPorts = nodes.map(node => node.port);
  const single = await stage.redis('redis');
  const services = [await stage.nutcracker(shardPorts), await stage.bytePipe(single.port)];
  /** @type {Target[]} */
  const running = [];
  if (options.ringside !== undefined) {
    const [host, port] = options.ringside.split(':');
    if (!host || !Number(port)) throw new UsageError(`--ringside ${options.ringside}: HOST:PORT is wanted`);
    running.push({ name: 'ringside', host, port: Number(port), pid: options.pid ? Number(options.pid) : null });
  } else if (!options['without-ringside']) {
    for (const [index, dist] of options.dist.entries()) {
      services.push(
        await stage.ringside(shardPorts, resolve(dist), index === 0 ? 'ringside' : `ringside-${index + 1}`),
      );
    }
  }
  return [...services.map(service => ({ ...service, host: '127.0.0.1' })), ...running];
}

/** @param {Target[]} targets  @param {Case} of  @param {number} rounds  @param {number} seconds */
async function measure(targets, of, rounds, seconds) {
  /** @type {Map<string, Round[]>} */
  const shown = new Map(targets.map(target => [target.name, []]));
  const commands = new Map();
  for (const target of targets) {
    const first = await runLoad(target, of, firstGuess(of));
    const second = await runLoad(target, of, commandsFor(of, first, seconds * 0.6));
    commands.set(target.name, commandsFor(of, second, seconds));
  }
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < targets.length; turn += 1) {
      const target = /** @type {Target} */ (targets[(turn + round) % targets.length]);
      shown.get(target.name)?.push(await runLoad(target, of, commands.get(target.name)));
    }
  }
  return shown;
}

/** @param {string} id  @param {Map<string, Round[]>} shown  @param {Target[]} targets */
function printCase(id, shown, targets) {
  const perSecond = (/** @type {string} */ name) => median((shown.get(name) ?? []).map(round => round.perSecond));
  for (const target of targets) {
    const rounds = shown.get(target.name) ?? [];
    const cpu = rounds.reduce((sum, round) => sum + round.cpuSeconds, 0);
    const millions = rounds.reduce((sum, round) => sum + round.commands, 0) / 1e6;
    const isReference = target.name === 'twemproxy' || target.name === 'pipe';
    const cells = [
      id.padEnd(20),
      target.name.padEnd(11),
      `${(perSecond(target.name) / 1000).toFixed(1)} k/s`.padStart(12),
      `p50 ${median(rounds.map(round => round.p50Ms)).toFixed(3)}`.padStart(11),
      `p99 ${median(rounds.map(round => round.p99Ms)).toFixed(3)} ms`.padStart(15),
      target.pid === null ? ' '.repeat(15) : `${(cpu / millions).toFixed(2)} CPU s/M`.padStart(15),
    ];
    if (!isReference) {
      const ratio = (/** @type {string} */ name) => {
        const others = shown.get(name) ?? [];
        return median(rounds.map((round, index) => round.perSecond / (others[index]?.perSecond ?? Number.NaN))).toFixed(
          2,
        );
      };
      cells.push(`  ${ratio('twemproxy')} × twemproxy  ${ratio('pipe')} × pipe`);
    }
    console.log(cells.join(' '));
  }
}

/** @param {string[]} argv */
async function main(argv) {
  const options = readArguments(argv);
  if (options.help) return console.log(help);
  const cases = casesOf(options);
  const stage = new Stage();
  try {
    const targets = await startTargets(stage, options);
    for (const target of targets) await loadKeys(target, Number(options['value-bytes']));
    for (const of of cases) {
      const { rounds, seconds } = roundsOf(of, Number(options.rounds), Number(options.seconds));
      printCase(of.id, await measure(targets, of, rounds, seconds), targets);
    }
  } finally {
    await stage.end();
  }
}

main(process.argv.slice(2)).catch(error => {
  console.error(`bench/hot-path: ${error.message}`);
  process.exitCode = error instanceof UsageError || error.code?.startsWith('ERR_PARSE_ARGS') ? 2 : 1;
});
