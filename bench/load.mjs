/**
 * The load of a benchmark: one redis-benchmark run on one target, and the keys that its reads find.
 *
 * redis-benchmark writes a new random number into every `__rand_int__` of every command it sends (also within one MGET),
 * twelve digits below the `-r` limit: exactly the names that `loadKeys` stores.
 */
import { execFile } from 'node:child_process';
import { connect } from 'node:net';
import { cpuSeconds, memoryBytes, processTree, UsageError } from './harness.mjs';

/**
 * @typedef {import('./harness.mjs').Target} Target
 * @typedef {{ id: string, verb: 'GET' | 'SET' | 'MGET', keys: number, valueBytes: number, connections: number,
 *   pipeline: number }} Case
 * @typedef {{ perSecond: number, p50Ms: number, p99Ms: number, commands: number, cpuSeconds: number, peakBytes: number,
 *   pssBytes: number }} Round   what one run showed; CPU and memory are 0 where the target's pid is not known
 */

/** How many keys are stored for a value size: enough to leave the caches, little enough to load in a moment. */
export const keyCount = (/** @type {number} */ valueBytes) => (valueBytes <= 1000 ? 100_000 : 10_000);

/** @param {Omit<Case, 'id'>} parts  @returns {Case} */
export function caseOf(parts) {
  const verb = parts.verb === 'MGET' ? `mget${parts.keys}` : parts.verb.toLowerCase();
  const size = parts.valueBytes >= 1000 ? `${parts.valueBytes / 1000}kb` : `${parts.valueBytes}b`;
  return { id: `${verb}/${size}/c${parts.connections}/p${parts.pipeline}`, ...parts };
}

/** The regular expression of `--only`. @param {string} text */
export function patternOf(text) {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new UsageError(`--only ${text}: ${error instanceof Error ? error.message : error}`);
  }
}

/** Bytes of replies that may be on their way at once, if every connection waits for a full pipeline. @param {Case} of */
export const outstandingBytes = of => (of.verb === 'SET' ? 1 : of.keys) * of.valueBytes * of.connections * of.pipeline;

/** The fewest commands that make a run: every connection's pipeline filled twice. @param {Case} of */
const fewestCommands = of => 2 * of.connections * of.pipeline;

/** A first guess for a run that only finds out how fast the target is. @param {Case} of */
export function firstGuess(of) {
  const byKeys = Math.ceil((1500 * of.pipeline) / of.keys ** 0.6);
  const byBytes = Math.ceil(1e8 / (of.keys * of.valueBytes));
  return Math.max(Math.min(byKeys, byBytes), fewestCommands(of));
}

/** How many commands take about so long at the speed of an earlier round. @param {Case} of  @param {Round} earlier  @param {number} seconds */
export const commandsFor = (of, earlier, seconds) =>
  Math.max(Math.round(earlier.perSecond * seconds), fewestCommands(of));

/**
 * How the time of a case is cut into rounds. At one connection every hop is a wake-up, and a run's speed hangs on where
 * the scheduler has put the processes: the same case shows 12 or 45 thousand per second from one run to the next. Many
 * short runs find a median that a few long ones miss.
 * @param {Case} of  @param {number} rounds  @param {number} seconds
 */
export const roundsOf = (of, rounds, seconds) =>
  of.connections === 1 ? { rounds: rounds * 4, seconds: seconds / 4 } : { rounds, seconds };

/**
 * Runs redis-benchmark once.
 * @param {Target} target  @param {Case} of  @param {number} commands
 * @returns {Promise<Round>} rejects with redis-benchmark's own words when a command was refused
 */
export async function runLoad(target, of, commands) {
  const pids = target.pid === null ? [] : processTree(target.pid);
  const args = ['-h', target.host, '-p', `${target.port}`, '--csv', '--precision', '3', '-n', `${commands}`];
  args.push('-c', `${of.connections}`, '-P', `${of.pipeline}`, '-r', `${keyCount(of.valueBytes)}`);
  if (of.verb === 'MGET') args.push('MGET', ...Array(of.keys).fill('key:__rand_int__'));
  else args.push('-t', of.verb.toLowerCase(), '-d', `${of.valueBytes}`);
  const before = cpuSeconds(pids);
  let pssBytes = 0;
  // The proportional size is only known for the present moment: look while the connections are open.
  const looks = setInterval(() => {
    pssBytes = Math.max(pssBytes, memoryBytes(pids).pss);
  }, 400);
  try {
    const shown = parseCsv(await execute(args, target.name));
    const memory = memoryBytes(pids);
    const used = cpuSeconds(pids) - before;
    const pss = Math.max(pssBytes, memory.pss);
    return { ...shown, commands, cpuSeconds: used, peakBytes: memory.peak, pssBytes: pss };
  } finally {
    clearInterval(looks);
  }
}

/** @param {string[]} args  @param {string} name  @returns {Promise<string>} */
function execute(args, name) {
  return new Promise((resolve, reject) => {
    const child = execFile(
      'redis-benchmark',
      args,
      { timeout: 90_000, killSignal: 'SIGKILL' },
      (error, stdout, stderr) => {
        process.off('exit', end);
        if (error === null) resolve(stdout);
        else {
          const said = error.killed ? 'no end after 90 s' : `${stderr}`.trim().split('\n').at(-1) || error.message;
          reject(new Error(`${name}: ${said}`));
        }
      },
    );
    const end = () => child.kill('SIGKILL');
    process.once('exit', end);
  });
}

/** @param {string} csv  @returns {{ perSecond: number, p50Ms: number, p99Ms: number }} */
function parseCsv(csv) {
  // "test","rps","avg","min","p50","p95","p99","max"; the test's name may be a whole command line.
  const fields = csv.trim().split('\n').at(-1)?.slice(1, -1).split('","').slice(-7).map(Number) ?? [];
  const [perSecond, , , p50Ms, , p99Ms] = fields;
  if (!(Number(perSecond) > 0)) throw new Error(`redis-benchmark printed no result: ${csv.trim().slice(-200)}`);
  return { perSecond: Number(perSecond), p50Ms: Number(p50Ms), p99Ms: Number(p99Ms) };
}

/**
 * Stores every key that a load may read, through the target, so that each lies on the node where the target looks.
 * @param {Target} target  @param {number} valueBytes
 */
export async function loadKeys(target, valueBytes) {
  const socket = connect({ host: target.host, port: target.port, noDelay: true });
  const value = 'x'.repeat(valueBytes);
  const perBatch = Math.max(1, Math.floor(200_000 / valueBytes));
  try {
    for (let first = 0; first < keyCount(valueBytes); first += perBatch) {
      const count = Math.min(perBatch, keyCount(valueBytes) - first);
      let batch = '';
      for (let key = first; key < first + count; key += 1) {
        batch += `*3\r\n$3\r\nSET\r\n$16\r\nkey:${String(key).padStart(12, '0')}\r\n$${valueBytes}\r\n${value}\r\n`;
      }
      await exchange(socket, batch, '+OK\r\n'.repeat(count), target.name);
    }
  } finally {
    socket.destroy();
  }
}

/** Writes and waits for exactly the expected bytes. @param {import('node:net').Socket} socket  @param {string} bytes  @param {string} expected  @param {string} name */
function exchange(socket, bytes, expected, name) {
  return new Promise((resolve, reject) => {
    let got = '';
    const finish = (/** @type {Error | null} */ error) => {
      socket.removeAllListeners('data').removeAllListeners('error').removeAllListeners('close');
      if (error === null) resolve(undefined);
      else reject(error);
    };
    socket.on('data', piece => {
      got += piece.toString('latin1');
      if (!expected.startsWith(got)) finish(new Error(`${name} answered a SET with: ${got.slice(-200)}`));
      else if (got.length === expected.length) finish(null);
    });
    socket.once('error', finish);
    socket.once('close', () => finish(new Error(`${name} closed the connection while keys were loaded`)));
    socket.write(bytes);
  });
}

/** How many reads of a node found nothing since it started. @param {number} port  @returns {Promise<number>} */
export function readMisses(port) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    let text = '';
    socket.on('data', piece => {
      text += piece.toString('latin1');
      const found = /keyspace_misses:(\d+)\r\n/.exec(text);
      if (found === null) return;
      socket.destroy();
      resolve(Number(found[1]));
    });
    socket.once('error', reject);
    socket.write('INFO stats\r\n');
  });
}

/** @param {number[]} numbers */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  const upper = /** @type {number} */ (sorted[middle]);
  return sorted.length % 2 === 1 ? upper : /** @type {number} */ (sorted[middle - 1] + upper) / 2;
}
