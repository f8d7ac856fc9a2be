/**
 * The twemproxy ring against a running nutcracker: for every hash it offers, whose key is this?
 *
 * Behind the nutcracker stand servers that answer their own number to every command; its answer to `GET key` is thus
 * the place it chose. `RINGSIDE_RING_KEYS` says how many keys each hash is asked for (100,000 by default, in four
 * pools: ketama and modula, equal weights and different ones).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Random } from '../../src/base/random.ts';
import { importNutcracker } from '../../src/cli/import-nutcracker.ts';
import { loadConfig } from '../../src/config/load.ts';
import { createRing, type Ring } from '../../src/ring/ring.ts';
import { ketamaPoints, type RingShard } from '../../src/ring/twemproxy.ts';
import { TWEMPROXY_HASHES, type TwemproxyHash } from '../../src/ring/twemproxy-hashes.ts';
import { freePorts } from '../support/ports.ts';

const KEYS_PER_HASH = Number(process.env['RINGSIDE_RING_KEYS'] ?? 100_000);
const SEED = Number(process.env['RINGSIDE_SEED'] ?? Date.now() % 2 ** 31);
const MOST_SERVERS = 25;

type Distribution = 'ketama' | 'modula';

interface Pool {
  name: string;
  hash: TwemproxyHash;
  distribution: Distribution;
  hashTag: string;
  /** In the order of the file; server i is the recording peer i. */
  servers: { line: string; shard: RingShard }[];
}

// Neither in nutcracker's order (by length, then bytes) nor all of one length.
const NAMES = ['omega', 's10', 's2', 'a-much-longer-name.cache.internal', 'Beta'];
const WEIGHTS = [3, 1, 50, 7, 10];

const folder = mkdtempSync(join(tmpdir(), 'ringside-ring-'));
const peers: Server[] = [];
const ports: number[] = [];
let nutcracker: ChildProcess;
let pools: Map<string, Pool>;

beforeAll(async () => {
  console.log(`RINGSIDE_SEED=${SEED}`);
  for (let i = 0; i < MOST_SERVERS; i += 1) {
    const peer = createServer(socket => answerOwnNumber(socket, i)).listen(0, '127.0.0.1');
    await once(peer, 'listening');
    peers.push(peer);
    ports.push((peer.address() as AddressInfo).port);
  }
  pools = new Map(allPools().map(pool => [pool.name, pool]));
  writeFileSync(join(folder, 'nutcracker.yml'), [...pools.values()].map(poolText).join('\n'));
  nutcracker = spawn(
    'nutcracker',
    ['-c', 'nutcracker.yml', '-o', 'log', '-p', 'pid', '-a', '127.0.0.1', '-s', String(await freePorts(1))],
    // Debian keeps it where a user's PATH often does not look.
    { cwd: folder, stdio: 'ignore', env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` } },
  );
  const ended = once(nutcracker, 'exit').then(() => {
    throw new Error(`nutcracker ended: ${readFileSync(join(folder, 'log'), 'latin1')}`);
  });
  ended.catch(() => {});
  await Promise.race([ended, allSocketsExist()]);
});

afterAll(async () => {
  if (nutcracker?.pid !== undefined && nutcracker.exitCode === null) {
    const ended = once(nutcracker, 'exit');
    nutcracker.kill();
    await ended;
  }
  for (const peer of peers) peer.close();
  rmSync(folder, { recursive: true, force: true });
});

describe(`RINGSIDE_SEED=${SEED}`, () => {
  test.each(TWEMPROXY_HASHES)(`every one of ${KEYS_PER_HASH} keys lies where nutcracker has it: %s`, async hash => {
    const random = new Random(SEED + TWEMPROXY_HASHES.indexOf(hash));
    const chosen = new Set<number>();
    for (const distribution of ['ketama', 'modula'] as const) {
      for (const kind of ['equal', 'weighted']) {
        const pool = pools.get(`${hash}-${distribution}-${kind}`) as Pool;
        const keys = keysFor(pool, Math.ceil(KEYS_PER_HASH / 4), random);
        for (const owner of await compare(pool, keys)) chosen.add(owner);
      }
    }
    // Not all on one server, or equal answers would say nothing.
    expect(chosen.size).toBe(NAMES.length);
  });

  test.each(['equal', 'weighted', 'heavy', 'many', 'bare-host'])(
    'the continuum changes hands exactly where nutcracker does at every point: %s',
    async kind => {
      const pool = pools.get(`continuum-${kind}`) as Pool;
      const keys: Buffer[] = [];
      const sets = ketamaPoints(pool.servers.map(each => each.shard));
      for (const { tokens } of sets) {
        for (const point of tokens) keys.push(...[point - 1, point, point + 1].map(keyWithMurmur));
      }
      const answers = await compare(pool, keys);
      const withPoints = sets.filter(set => set.tokens.length > 0).map(set => set.owner);
      expect(new Set(answers)).toEqual(new Set(withPoints));
    },
  );

  test.each(['fnv1a_64-ketama-weighted', 'fnv1a_64-ketama-equal', 'crc16-modula-equal'])(
    "settings imported from nutcracker's own file give the same owners: %s",
    async name => {
      const { yaml } = importNutcracker(readFileSync(join(folder, 'nutcracker.yml'), 'utf8'), 'nutcracker.yml', {
        pool: name,
      });
      const file = join(folder, `${name}.yaml`);
      writeFileSync(file, yaml);
      const { ring, shards } = loadConfig(file, { RINGSIDE_SECRET: 'sixteen characters' });
      const random = new Random(SEED);
      const keys = Array.from({ length: 5000 }, () => randomKey(random));
      await compare(pools.get(name) as Pool, keys, createRing(ring, shards));
    },
  );
});

/** Asks nutcracker for every key, demands the same answers from the ring, and hands them back. */
async function compare(pool: Pool, keys: readonly Buffer[], ring = ringOf(pool)): Promise<number[]> {
  const answers = await ask(join(folder, pool.name), keys);
  expect(answers.length).toBe(keys.length);
  const wrong: string[] = [];
  keys.forEach((key, i) => {
    const owner = ring.ownerOf(key, 0, key.length);
    if (owner !== answers[i]) wrong.push(`${key.toString('hex')}: ring ${owner}, nutcracker ${answers[i]}`);
  });
  expect(wrong.slice(0, 5), `${pool.name}: ${wrong.length} of ${keys.length} keys differ`).toEqual([]);
  return answers;
}

function ringOf(pool: Pool): Ring {
  const { hash, distribution, hashTag } = pool;
  const shards = pool.servers.map(server => server.shard);
  return createRing({ kind: 'twemproxy', hash, distribution, hashTag }, shards);
}

// ---- pools

function allPools(): Pool[] {
  const equal = NAMES.map((name, i) => server(i, 1, name));
  const weighted = WEIGHTS.map((weight, i) => server(i, weight));
  const heavy = [server(0, 100_000), server(1, 1, 'featherweight')];
  // The number of servers at which single precision loses a digest of each: 156 points instead of 160.
  const many = Array.from({ length: MOST_SERVERS }, (_, i) => server(i, 1));
  // Nobody answers at 127.0.0.2:11211: what belongs there comes back as an error, which counts as server 1.
  const bareHost = [
    server(0, 1),
    { line: '127.0.0.2:11211:1', shard: { name: '127.0.0.2', weight: 1 } },
    server(2, 2, 'ü'),
  ];
  const list: Pool[] = [];
  for (const hash of TWEMPROXY_HASHES) {
    for (const distribution of ['ketama', 'modula'] as const) {
      const name = `${hash}-${distribution}`;
      list.push({ name: `${name}-equal`, hash, distribution, hashTag: '{}', servers: equal });
      const hashTag = distribution === 'ketama' ? '' : '$$';
      list.push({ name: `${name}-weighted`, hash, distribution, hashTag, servers: weighted });
    }
  }
  for (const [kind, servers] of Object.entries({ equal, weighted, heavy, many, 'bare-host': bareHost })) {
    list.push({ name: `continuum-${kind}`, hash: 'murmur', distribution: 'ketama', hashTag: '', servers });
  }
  return list;
}

function server(peer: number, weight: number, name?: string): { line: string; shard: RingShard } {
  const address = `127.0.0.1:${ports[peer]}`;
  return {
    line: `${address}:${weight}${name === undefined ? '' : ` ${name}`}`,
    shard: { name: name ?? address, weight },
  };
}

function poolText(pool: Pool): string {
  const tag = pool.hashTag === '' ? [] : [`  hash_tag: "${pool.hashTag}"`];
  return [
    `${pool.name}:`,
    `  listen: ${join(folder, pool.name)}`,
    `  hash: ${pool.hash}`,
    `  distribution: ${pool.distribution}`,
    '  redis: true',
    ...tag,
    '  servers:',
    ...pool.servers.map(({ line }) => `   - ${line}`),
    '',
  ].join('\n');
}

// ---- keys

/** Random keys; for ketama every second one is picked out of several for lying close to a point of the continuum. */
function keysFor(pool: Pool, count: number, random: Random): Buffer[] {
  const near = pool.distribution === 'ketama' ? count >> 1 : 0;
  const keys: Buffer[] = [Buffer.alloc(0)];
  while (keys.length < count - near) keys.push(randomKey(random));
  if (near === 0) return keys;
  const ring = ringOf(pool);
  const shards = pool.servers.map(each => each.shard);
  const points = Float64Array.from(ketamaPoints(shards).flatMap(set => [...set.tokens])).sort();
  const candidates = Array.from({ length: near * 3 }, () => {
    const key = randomKey(random);
    return { key, distance: distanceToPoint(points, ring.hashOf(key, 0, key.length)) };
  });
  candidates.sort((a, b) => a.distance - b.distance);
  for (const { key } of candidates.slice(0, near)) keys.push(key);
  return keys;
}

function distanceToPoint(points: Float64Array, hash: number): number {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((points[middle] as number) < hash) low = middle + 1;
    else high = middle;
  }
  const above = (points[low] ?? Number.POSITIVE_INFINITY) - hash;
  return Math.min(above, hash - (points[low - 1] ?? Number.NEGATIVE_INFINITY));
}

const WORDS = ['{', '}', '{}', '{tag}', '}{', '$', '$$', '$tag$', 'user:', '{a}{b}', '{{x}}', ''].map(word =>
  Buffer.from(word),
);

/** 1 to 250 bytes: any bytes, or text, with or without what looks like a hash tag. */
function randomKey(random: Random): Buffer {
  const length = 1 + random.below(250);
  const key = Buffer.allocUnsafe(length);
  const text = random.below(2) === 0;
  for (let i = 0; i < length; i += 1) key[i] = text ? 97 + random.below(26) : random.below(256);
  for (let words = random.below(4); words > 0; words -= 1) random.pick(WORDS).copy(key, random.below(length));
  return key;
}

/** The one key of four bytes whose MurmurHash2 (twemproxy's seed) is `hash`: its steps, each undone. */
function keyWithMurmur(hash: number): Buffer {
  const factor = 0x5bd1e995;
  let inverse = factor;
  for (let i = 0; i < 4; i += 1) inverse = Math.imul(inverse, 2 - Math.imul(factor, inverse));
  let h = hash | 0;
  h ^= (h >>> 15) ^ (h >>> 30);
  h = Math.imul(h, inverse);
  h ^= (h >>> 13) ^ (h >>> 26);
  let k = h ^ Math.imul(Math.imul(0xdeadbeef, 4) ^ 4, factor);
  k = Math.imul(k, inverse);
  k ^= k >>> 24;
  const key = Buffer.alloc(4);
  key.writeInt32LE(Math.imul(k, inverse));
  return key;
}

// ---- both ends of the nutcracker

/** Sends `GET` of every key in one pipeline; the answers are numbers of peers, an unreachable one's being 1. */
async function ask(path: string, keys: readonly Buffer[]): Promise<number[]> {
  const socket = connect(path);
  const chunks: Buffer[] = [];
  let lines = 0;
  const done = new Promise<void>((resolve, reject) => {
    socket.on('error', reject).on('close', () => reject(new Error(`nutcracker closed ${path}`)));
    socket.on('data', chunk => {
      chunks.push(chunk);
      for (const byte of chunk) if (byte === 10) lines += 1;
      if (lines === keys.length) resolve();
    });
  });
  const requests = keys.flatMap(key => [Buffer.from(`*2\r\n$3\r\nGET\r\n$${key.length}\r\n`), key, CRLF]);
  socket.write(Buffer.concat(requests));
  await done;
  socket.removeAllListeners('close').destroy();
  const answers = Buffer.concat(chunks).toString('latin1').split('\r\n').slice(0, -1);
  return answers.map(answer => {
    if (answer.startsWith(':')) return Number(answer.slice(1));
    if (answer === '-ERR Connection refused') return 1;
    throw new Error(`nutcracker answered ${answer}`);
  });
}

const CRLF = Buffer.from('\r\n');

/** A peer that answers every `GET` with its number. */
function answerOwnNumber(socket: Socket, number: number): void {
  const answer = `:${number}\r\n`;
  let rest: Buffer = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', chunk => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    let count = 0;
    for (let next = endOfGet(bytes, at); next > 0; next = endOfGet(bytes, at)) {
      at = next;
      count += 1;
    }
    rest = bytes.subarray(at);
    if (count > 0) socket.write(answer.repeat(count));
  });
}

const GET_HEAD = Buffer.from('*2\r\n$3\r\nGET\r\n$').length;

/** Where the `GET` that begins at `at` ends; 0 when it is not whole yet. */
function endOfGet(bytes: Buffer, at: number): number {
  const line = bytes.indexOf(13, at + GET_HEAD);
  if (line < 0) return 0;
  const end = line + 2 + Number(bytes.toString('latin1', at + GET_HEAD, line)) + 2;
  return end <= bytes.length ? end : 0;
}

async function allSocketsExist(): Promise<void> {
  while (![...pools.keys()].every(name => existsSync(join(folder, name)))) await sleep(20);
}
