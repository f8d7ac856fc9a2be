/**
 * What does it cost to add a shard while clients read and write, and to take it away again? Real processes on one machine;
 * every answer that a client gets is checked, and every key when all is over. And how evenly the ring spreads keys.
 */
import { fork } from 'node:child_process';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Cluster, eventually, sleep } from './failover-cluster.mjs';
import { keep, projectDirectory, UsageError } from './harness.mjs';
import { describeMachine } from './proxy-report.mjs';
import { markdownOf } from './reshard-report.mjs';
import { differing, ringsOf, spread } from './reshard-rings.mjs';

/** @typedef {import('./reshard-load.mjs').Window} Window */
/** @typedef {import('./failover-cluster.mjs').Shard} Shard */
/**
 * @typedef {{ id: string, title: string, keys: number, exact: number, ideal: number, arrived: number, seconds: number,
 *   keysPerSecond: number, mostAddedLatencyMs: number | null, before: Window, during: Window, after: Window,
 *   lost: number, wrong: number, doubled: number, firstProblem: string | null }} Move
 *   `exact`: keys with another owner on the other ring; `ideal`: the even share; `arrived`: counted on the nodes
 */

const help = `usage: node bench/reshard.mjs [options]
  --keys N         keys (default 1000000)
  --connections N  clients (default 50)
  --value-bytes N  size of a value (default 100)
  --copies N       copies of each shard (default 3)
  --seconds S      how long the load is measured before and after a move (default 15)
  --rate N         supervisor.move.keysPerSecond (default: Ringside's own)
  --rings-only     only how evenly the ring spreads keys
  --no-save        keep nothing
  --dist DIR       the build of Ringside to measure (default: dist)`;

/** @param {string[]} argv */
function readArguments(argv) {
  const { values } = parseArgs({
    args: argv,
    options: {
      keys: { type: 'string', default: '1000000' },
      connections: { type: 'string', default: '50' },
      'value-bytes': { type: 'string', default: '100' },
      copies: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '15' },
      rate: { type: 'string', default: '0' },
      'rings-only': { type: 'boolean', default: false },
      'no-save': { type: 'boolean', default: false },
      dist: { type: 'string', default: join(projectDirectory, 'dist') },
      help: { type: 'boolean', default: false },
    },
  });
  const number = (/** @type {'keys' | 'connections' | 'value-bytes' | 'copies' | 'seconds' | 'rate'} */ name) => {
    const found = Number(values[name]);
    if (found > 0 || name === 'rate') return found;
    throw new UsageError(`--${name} takes a number above 0\n${help}`);
  };
  return {
    ...values,
    keys: number('keys'),
    connections: number('connections'),
    valueBytes: number('value-bytes'),
    copies: number('copies'),
    seconds: number('seconds'),
    rate: number('rate'),
    dist: resolve(values.dist),
  };
}

/** The process that makes the load. */
class Load {
  #child = fork(fileURLToPath(new URL('./reshard-load.mjs', import.meta.url)));

  /** @param {string} what  @param {object} [options]  @returns {Promise<any>} */
  ask(what, options) {
    return new Promise((done, reject) => {
      const child = this.#child;
      const onMessage = (/** @type {any} */ { answer, error }) => {
        child.off('exit', onExit);
        if (error === undefined) done(answer);
        else reject(new Error(`the load: ${error}`));
      };
      const onExit = () => reject(new Error('the load ended'));
      child.once('message', onMessage);
      child.once('exit', onExit);
      child.send({ what, options });
    });
  }

  end() {
    this.#child.removeAllListeners('exit');
    if (this.#child.connected) this.#child.disconnect();
  }
}

/** How many keys each shard's primary holds. @param {Cluster} cluster  @param {readonly Shard[]} shards */
async function sizes(cluster, shards) {
  const counts = new Map();
  for (const { name, primary } of shards) {
    const redis = cluster.admin(primary);
    counts.set(name, await redis.dbsize());
    redis.disconnect();
  }
  return counts;
}

/** Gives an order, and measures until the move is over and some seconds more. @param {Cluster} cluster  @param {Load} load  @param {ReturnType<typeof readArguments>} options  @param {{ id: string, title: string, order: string[], ideal: number }} of  @returns {Promise<Move>} */
async function move(cluster, load, options, { id, title, order, ideal }) {
  const ringOf = await ringsOf(options.dist);
  const old = await cluster.topology();
  console.log((await cluster.command('plan', ...order)).trimEnd());
  await load.ask('start');
  // The first second is for connections, and for code that is yet to be compiled.
  await sleep(1_000);
  await load.ask('window');
  await sleep(options.seconds * 1_000);
  const before = await load.ask('window');
  const beganAt = performance.now();
  await cluster.command('apply', ...order, '--yes');
  let mostAddedLatencyMs = null;
  let shownAt = 0;
  await eventually('the move is over', 3_600_000, async () => {
    const { move: under, shards } = await cluster.topology();
    const { move: told } = await cluster.status();
    if (told?.addedLatencyMs != null) mostAddedLatencyMs = Math.max(mostAddedLatencyMs ?? 0, told.addedLatencyMs);
    if (told != null && performance.now() - shownAt > 2_000) {
      shownAt = performance.now();
      console.log(`${id}: ${told.phase} ${told.keysMoved}/${told.keysInAll} keys, ${told.keysPerSecond} a second`);
    }
    await sleep(90);
    return under === null && shards.length !== old.shards.length && shards.every(({ weight }) => weight > 0);
  });
  const seconds = (performance.now() - beganAt) / 1_000;
  const during = await load.ask('window');
  await sleep(options.seconds * 1_000);
  const after = await load.ask('stop');
  const { shards, ring } = await cluster.topology();
  const found = await load.ask('check');
  const counts = await sizes(cluster, shards);
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const exact = differing(namedOwners(ringOf, ring, old.shards), namedOwners(ringOf, ring, shards), options.keys);
  const grown = shards.filter(({ name }) => !old.shards.some(one => one.name === name));
  const gone = await goneKeys(cluster, old.shards, shards);
  const arrived = grown.length > 0 ? grown.reduce((sum, { name }) => sum + counts.get(name), 0) : exact - gone;
  const wrongs = [before, during, after].map(one => one.firstWrong).filter(one => one !== null);
  return {
    ...{ id, title, keys: options.keys, exact, ideal, arrived, seconds, keysPerSecond: arrived / seconds },
    ...{ mostAddedLatencyMs, before, during, after, lost: found.lost },
    wrong: found.wrong + before.wrong + during.wrong + after.wrong,
    doubled: total - options.keys + found.lost + gone,
    firstProblem: found.first ?? wrongs[0] ?? null,
  };
}

/** Owners by name in the place of indices: shards come and go. @param {Awaited<ReturnType<typeof ringsOf>>} ringOf  @param {any} ring  @param {readonly Shard[]} shards */
function namedOwners(ringOf, ring, shards) {
  const owner = ringOf(ring, shards);
  /** @type {Map<string, number>} */
  const numbers = new Map();
  return (/** @type {Buffer} */ key) => {
    const name = shards[owner(key)]?.name ?? '';
    // Numbers that are the same for the same name in every call of this function.
    if (!numbers.has(name)) numbers.set(name, Number(name.slice(1)));
    return /** @type {number} */ (numbers.get(name));
  };
}

/** Keys that are left on nodes of shards that are no more. @param {Cluster} cluster  @param {readonly Shard[]} old  @param {readonly Shard[]} now */
async function goneKeys(cluster, old, now) {
  let left = 0;
  for (const { name, primary } of old) {
    if (now.some(one => one.name === name)) continue;
    const redis = cluster.admin(primary);
    left += await redis.dbsize().catch(() => 0);
    redis.disconnect();
  }
  return left;
}

/** @param {ReturnType<typeof readArguments>} options */
async function moves(options) {
  const { dist, copies, keys, connections, valueBytes, rate } = options;
  const settings = rate > 0 ? { supervisor: { move: { keysPerSecond: rate } } } : {};
  const cluster = await Cluster.start({ dist, shards: 3, copies, spares: copies, settings });
  const load = new Load();
  try {
    console.log(`filling ${keys} keys over 3 shards of ${copies} copies`);
    await load.ask('fill', { port: cluster.port, keys, connections, valueBytes });
    const spares = cluster.nodes.slice(3 * copies).map(({ id }) => id);
    const add = {
      id: 'add',
      title: 'a fourth shard is added',
      order: ['add-shard', 's4', '--nodes', spares.join(',')],
    };
    const remove = { id: 'remove', title: 'the fourth shard is removed', order: ['remove-shard', 's4'] };
    const done = [];
    for (const of of [add, remove]) {
      done.push(await move(cluster, load, options, { ...of, ideal: keys / 4 }));
      console.log(JSON.stringify(done.at(-1)));
    }
    return done;
  } catch (error) {
    console.log(`the supervisor's last words:\n${cluster.log('supervisor')}\nthe proxy's:\n${cluster.log('proxy')}`);
    throw error;
  } finally {
    load.end();
    await cluster.end();
  }
}

/** @param {string[]} argv */
async function main(argv) {
  const options = readArguments(argv);
  if (options.help) return console.log(help);
  const machine = describeMachine(projectDirectory);
  const spreads = [];
  for (const shards of [3, 16, 64]) spreads.push(await spread(options.dist, shards, 1_000_000));
  const done = options['rings-only'] ? [] : await moves(options);
  const { keys, connections, valueBytes, copies, seconds, rate } = options;
  const result = { machine, load: { keys, connections, valueBytes, copies, seconds, rate }, moves: done, spreads };
  const markdown = markdownOf(result);
  console.log(`\n${markdown}`);
  if (options['no-save']) return;
  keep(machine, '-reshard', result, markdown);
}

main(process.argv.slice(2)).catch(error => {
  console.error(`bench/reshard: ${error.stack ?? error.message}`);
  process.exit(error instanceof UsageError || error.code?.startsWith('ERR_PARSE_ARGS') ? 2 : 1);
});
