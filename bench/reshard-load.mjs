/**
 * The load of the resharding benchmark, in a process of its own: connections that read nine times and write once, each
 * command as soon as the one before was answered, and every answer is checked. A value names its key and a version that
 * only grows, so that a read shows whether it is of that key, and not older than what was acknowledged before it was sent.
 *
 * Messages of the parent: `fill`, `start`, `window` (answered with what was done since the last one), `stop`, `check`
 * (reads every key once more).
 */
import { connect } from 'node:net';

/** @typedef {{ port: number, keys: number, connections: number, valueBytes: number }} LoadOptions */
/** @typedef {{ commands: number, ms: number, p50Ms: number, p99Ms: number, worstMs: number, errors: Record<string, number>,
 *   perSecond: number[], wrong: number, firstWrong: string | null }} Window  `perSecond`: commands in each second of it */

const keyDigits = 12;
const versionDigits = 10;

/** @type {LoadOptions} */
let options = { port: 0, keys: 0, connections: 0, valueBytes: 0 };
/** By key: the highest version that was acknowledged, and the highest that was sent. */
let acknowledged = new Uint32Array(0);
let sent = new Uint32Array(0);
let padding = '';
let running = false;
/** @type {Connection[]} */
let connections = [];

/** Since the last window. */
let window = newWindow();

function newWindow() {
  return {
    beganAt: performance.now(),
    commands: 0,
    /** Counts by duration, in steps of 10 µs up to a second; the last for all above. */
    durations: new Uint32Array(100_001),
    worstMs: 0,
    /** @type {number[]} */
    perSecond: [],
    /** @type {Record<string, number>} */
    errors: {},
    wrong: 0,
    /** @type {string | null} */
    firstWrong: null,
  };
}

/** @param {number} key */
const nameOf = key => `key:${String(key).padStart(keyDigits, '0')}`;
/** @param {number} key  @param {number} version */
const valueOf = (key, version) => `${nameOf(key)}:${String(version).padStart(versionDigits, '0')}${padding}`;

/** @param {number} key  @param {number} version */
function setCommand(key, version) {
  const value = valueOf(key, version);
  return `*3\r\n$3\r\nSET\r\n$${4 + keyDigits}\r\n${nameOf(key)}\r\n$${value.length}\r\n${value}\r\n`;
}

/** @param {number} key */
const getCommand = key => `*2\r\n$3\r\nGET\r\n$${4 + keyDigits}\r\n${nameOf(key)}\r\n`;

/** @param {string} what */
function wrong(what) {
  window.wrong += 1;
  window.firstWrong ??= what;
}

/** The version in a value of this key, or null when it is no value of it. @param {string} value  @param {number} key */
function versionIn(value, key) {
  const head = `${nameOf(key)}:`;
  const version = Number(value.slice(head.length, head.length + versionDigits));
  return value.startsWith(head) && Number.isInteger(version) && value === valueOf(key, version) ? version : null;
}

/** One client; writes only keys whose number leaves its own when divided, so that versions of a key are in one order. */
class Connection {
  #index;
  #socket;
  #text = '';
  #key = 0;
  /** Of a write; 0: this is a read. */
  #version = 0;
  /** Of a read: what was acknowledged when it was sent. */
  #atLeast = 0;
  #sentAt = 0;
  /** @type {() => void} */
  ended = () => undefined;
  done = new Promise(resolve => {
    this.ended = () => resolve(undefined);
  });

  /** @param {number} index */
  constructor(index) {
    this.#index = index;
    this.#socket = connect({ host: '127.0.0.1', port: options.port, noDelay: true });
    this.#socket.on('data', bytes => this.#receive(bytes.toString('latin1')));
    this.#socket.on('error', error => wrong(`a connection broke: ${error.message}`));
    this.#socket.on('close', () => this.ended());
    this.#socket.once('connect', () => this.#send());
  }

  #send() {
    if (!running) return void this.#socket.end();
    const isWrite = Math.random() < 0.1;
    const key = Math.floor(Math.random() * options.keys);
    this.#key = isWrite ? key - (key % options.connections) + this.#index : key;
    if (this.#key >= options.keys) this.#key = this.#index;
    this.#version = 0;
    if (isWrite) {
      this.#version = /** @type {number} */ (sent[this.#key]) + 1;
      sent[this.#key] = this.#version;
    }
    this.#atLeast = /** @type {number} */ (acknowledged[this.#key]);
    this.#sentAt = performance.now();
    this.#socket.write(isWrite ? setCommand(this.#key, this.#version) : getCommand(this.#key));
  }

  /** @param {string} piece */
  #receive(piece) {
    this.#text += piece;
    const line = this.#text.indexOf('\r\n');
    if (line < 0) return;
    if (this.#text[0] === '$' && !this.#text.startsWith('$-1')) {
      const length = Number(this.#text.slice(1, line));
      if (this.#text.length < line + length + 4) return;
      this.#judge(this.#text.slice(line + 2, line + 2 + length), null);
    } else if (this.#text[0] === '-') this.#judge(null, this.#text.slice(1, line));
    else this.#judge(this.#text.slice(0, line), null);
    this.#text = '';
    this.#send();
  }

  /** @param {string | null} reply  @param {string | null} error */
  #judge(reply, error) {
    const now = performance.now();
    const ms = now - this.#sentAt;
    const second = Math.floor((now - window.beganAt) / 1000);
    while (window.perSecond.length <= second) window.perSecond.push(0);
    window.perSecond[second] = /** @type {number} */ (window.perSecond[second]) + 1;
    window.commands += 1;
    const step = Math.min(window.durations.length - 1, Math.floor(ms * 100));
    window.durations[step] = /** @type {number} */ (window.durations[step]) + 1;
    window.worstMs = Math.max(window.worstMs, ms);
    const name = nameOf(this.#key);
    if (error !== null) {
      const code = error.split(' ', 1)[0] ?? '';
      window.errors[code] = (window.errors[code] ?? 0) + 1;
    } else if (this.#version > 0) {
      if (reply === '+OK') acknowledged[this.#key] = this.#version;
      else wrong(`SET ${name} was answered ${reply}`);
    } else {
      const version = reply === null ? null : versionIn(reply, this.#key);
      if (version === null) wrong(`GET ${name} was answered ${String(reply).slice(0, 60)}`);
      else if (version < this.#atLeast)
        wrong(`GET ${name} was answered ${version}, when ${this.#atLeast} was acknowledged`);
      else if (version > /** @type {number} */ (sent[this.#key]))
        wrong(`GET ${name} was answered ${version}, never sent`);
    }
  }
}

/** @returns {Window} */
function closeWindow() {
  const { beganAt, commands, durations, worstMs, perSecond, errors, wrong: wrongs, firstWrong } = window;
  const of = (/** @type {number} */ share) => {
    let left = Math.ceil(commands * share);
    const step = durations.findIndex(count => {
      left -= count;
      return left <= 0;
    });
    return step / 100;
  };
  const ms = performance.now() - beganAt;
  const closed = {
    commands,
    ms,
    p50Ms: of(0.5),
    p99Ms: of(0.99),
    worstMs,
    perSecond,
    errors,
    wrong: wrongs,
    firstWrong,
  };
  window = newWindow();
  return closed;
}

/** Sends commands for all keys, a batch at a time; `judge` gets each reply. @param {(key: number) => string} command  @param {(key: number, reply: string) => void} judge */
async function overAllKeys(command, judge) {
  const socket = connect({ host: '127.0.0.1', port: options.port, noDelay: true });
  const perBatch = 1_000;
  try {
    for (let first = 0; first < options.keys; first += perBatch) {
      const count = Math.min(perBatch, options.keys - first);
      let text = '';
      for (let key = first; key < first + count; key += 1) text += command(key);
      const replies = await batch(socket, text, count);
      for (const [i, reply] of replies.entries()) judge(first + i, reply);
    }
  } finally {
    socket.destroy();
  }
}

/** @param {import('node:net').Socket} socket  @param {string} text  @param {number} count  @returns {Promise<string[]>} */
function batch(socket, text, count) {
  return new Promise((resolve, reject) => {
    /** @type {string[]} */
    const replies = [];
    let rest = '';
    const end = (/** @type {Error | null} */ error) => {
      socket.removeAllListeners('data').removeAllListeners('error').removeAllListeners('close');
      if (error === null) resolve(replies);
      else reject(error);
    };
    socket.on('data', bytes => {
      rest += bytes.toString('latin1');
      let at = 0;
      for (let line = rest.indexOf('\r\n', at); line >= 0; line = rest.indexOf('\r\n', at)) {
        const head = rest.slice(at, line);
        const length = head[0] === '$' ? Number(head.slice(1)) : -1;
        if (length >= 0 && rest.length < line + length + 4) break;
        replies.push(length >= 0 ? rest.slice(line + 2, line + 2 + length) : head);
        at = length >= 0 ? line + length + 4 : line + 2;
      }
      rest = rest.slice(at);
      if (replies.length >= count) end(null);
    });
    socket.once('error', end);
    socket.once('close', () => end(new Error('the proxy closed the connection')));
    socket.write(text);
  });
}

/** Every key has what was acknowledged last, or what was sent after that and answered with an error. */
async function check() {
  const found = { lost: 0, wrong: 0, /** @type {string | null} */ first: null };
  await overAllKeys(getCommand, (key, reply) => {
    const version = versionIn(reply, key);
    if (version !== null && version >= (acknowledged[key] ?? 0) && version <= (sent[key] ?? 0)) return;
    if (reply === '$-1') found.lost += 1;
    else found.wrong += 1;
    found.first ??= `${nameOf(key)} is ${reply.slice(0, 60)}, acknowledged was ${acknowledged[key]}`;
  });
  return found;
}

async function fill() {
  await overAllKeys(
    key => setCommand(key, 0),
    (key, reply) => {
      if (reply !== '+OK') throw new Error(`SET ${nameOf(key)} was answered ${reply}`);
    },
  );
}

async function stop() {
  running = false;
  await Promise.all(connections.map(one => one.done));
  return closeWindow();
}

process.on('message', async (/** @type {{ what: string, options?: LoadOptions }} */ { what, options: given }) => {
  try {
    let answer = null;
    if (given !== undefined) {
      options = given;
      acknowledged = new Uint32Array(options.keys);
      sent = new Uint32Array(options.keys);
      padding = 'x'.repeat(Math.max(0, options.valueBytes - (4 + keyDigits + 1 + versionDigits)));
    }
    if (what === 'fill') await fill();
    if (what === 'start') {
      running = true;
      window = newWindow();
      connections = Array.from({ length: options.connections }, (_, index) => new Connection(index));
    }
    if (what === 'window') answer = closeWindow();
    if (what === 'stop') answer = await stop();
    if (what === 'check') answer = await check();
    process.send?.({ answer });
  } catch (error) {
    process.send?.({ error: error instanceof Error ? error.message : String(error) });
  }
});
process.on('disconnect', () => process.exit(0));
