/**
 * Keys go there and back between two shards, over and over, while clients of two proxies use them in every way at random;
 * each client knows what it must read. The supervisor's part (walk, close, turning round at any moment) is the test's.
 */
import { afterEach, expect, test } from 'vitest';
import { Random } from '../../src/base/random.ts';
import { DROP_KEYS, evalCommand, NO_SUCH_KEY, NOT_THERE, PUT_KEYS, READ_KEYS } from '../../src/topology/pull.ts';
import type { Wire } from '../differential/wire.ts';
import { MoveStand } from './move-stand.ts';
import { pipeline } from './stand.ts';

const ROUNDS = 6;
const CLIENTS = 12;
/** Nobody is cut off in the midst of a write: every reply is known beforehand. */
const GRACE_MS = 10_000;
let stand: MoveStand;
const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

afterEach(() => stand.stop());

test('nothing is lost, doubled, stale or undone, whatever clients do meanwhile', async () => {
  const seed = Number(process.env['RINGSIDE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  const hint = `RINGSIDE_SEED=${seed} npx vitest run test/proxy/moving-storm.test.ts`;
  const random = new Random(seed);
  stand = await MoveStand.start({ proxies: 2 });
  const tags = [...stand.keys(CLIENTS * 2, true, 't'), ...stand.keys(CLIENTS, false, 't')];
  let isOver = false;
  const users = Array.from({ length: CLIENTS }, async (_, i) => {
    const own = tags.filter((_tag, at) => at % CLIENTS === i);
    const user = new User(await stand.connect(i % 2), own, new Random(random.below(2 ** 31)), hint);
    while (!isOver) await user.act();
    await user.checkAll();
    return user.increments;
  });
  // Who fails ends the others too.
  const all = Promise.all(users).finally(() => {
    isOver = true;
  });
  all.catch(() => undefined);
  for (let round = 0; round < ROUNDS && !isOver; round += 1) {
    await moveOnce('there', random);
    if (stand.topology.move?.moved === 1) await moveOnce('back', random);
  }
  isOver = true;
  const increments = (await all).reduce((sum, count) => sum + count, 0);
  // Counted by all, with replies that nobody could foresee.
  const wire = await stand.connect();
  const shared = await pipeline(wire, ...SHARED.map(key => `GET ${key}`));
  const total = shared.reduce((sum, reply) => sum + Number(reply.split('\r\n')[1] ?? 0), 0);
  expect(total, hint).toBe(increments);
  expect(increments).toBeGreaterThan(100);
}, 120_000);

/** One portion, from its preparing to its close, or turned round in the middle. */
async function moveOnce(way: 'there' | 'back', random: Random): Promise<void> {
  await stand.prepare(way);
  await stand.fence(GRACE_MS);
  await sleep(random.below(20));
  await stand.startMoving();
  await sleep(random.below(120));
  if (random.next() < 0.5) await walk(random);
  if (way === 'there' && random.next() < 0.4) {
    await stand.open('return', undefined, GRACE_MS);
    await sleep(random.below(80));
  }
  for (let left = 1; left > 0; ) left = await walk(random);
  await stand.closeSet();
  await stand.publishClosed(undefined, false);
  await sleep(random.below(20));
  await stand.fence(GRACE_MS);
  await sleep(random.below(80));
}

/** M4, as the supervisor does it. Returns how many keys were found. */
async function walk(random: Random): Promise<number> {
  const { way } = stand.topology.move?.current ?? { way: 'there' };
  const [giver, taker] = (way === 'there' ? ['s1', 's2'] : ['s2', 's1']).map(name => stand.primary(name).redis);
  if (giver === undefined || taker === undefined) throw new Error('unreachable');
  const there = way === 'return' ? stand.thereSetName() : '';
  const found = new Set(await stand.leftOnGiver());
  if (there !== '') for (const member of await giver.smembers(there)) found.add(member.replace(/^\d+:/, ''));
  found.delete('');
  // Members stay until the close: only those count that may still be wrong on the other side.
  const pulled = new Set(await taker.smembers(stand.setName()));
  const keys = [...found].filter(key => !pulled.has(`0:${key}`) || way !== 'return');
  for (const key of keys) {
    const [name = '', ...words] = evalCommand(READ_KEYS, [there, key], ['0', '0', '0']);
    const read = (await giver.callBuffer(name, ...words)) as [Buffer | null, number];
    if (random.next() < 0.2) await sleep(random.below(5));
    const [value, expiry] = read;
    expect([NO_SUCH_KEY, NOT_THERE].includes(expiry) || value !== null).toBe(true);
    const put = await taker.call('EVAL', PUT_KEYS, '2', stand.setName(), key, '0', value ?? '', String(expiry));
    expect(put).toEqual([expect.any(Number)]);
    const [drop = '', ...rest] = evalCommand(DROP_KEYS, [key], ['0']);
    await giver.call(drop, ...rest);
  }
  return (await stand.leftOnGiver()).length + (way === 'return' ? keys.length : 0);
}

const SHARED = Array.from({ length: 8 }, (_, i) => `shared:${i}`);

/** One client with keys of its own: it knows what is in them, and what each reply must be. */
class User {
  increments = 0;
  readonly #wire: Wire;
  readonly #tags: readonly string[];
  readonly #random: Random;
  readonly #hint: string;
  readonly #counts = new Map<string, number>();
  readonly #lists = new Map<string, string[]>();
  #serial = 0;

  constructor(wire: Wire, tags: readonly string[], random: Random, hint: string) {
    this.#wire = wire;
    this.#tags = tags;
    this.#random = random;
    this.#hint = hint;
  }

  /** A few commands at once, each with what it must answer. */
  async act(): Promise<void> {
    const script: [string, string | null][] = [];
    for (let left = 1 + this.#random.below(6); left > 0; left -= 1) script.push(...this.#one());
    const replies = await pipeline(this.#wire, ...script.map(([command]) => command));
    const expected = script.map(([, reply], i) => reply ?? replies[i]);
    expect(replies, this.#hint).toEqual(expected);
    for (const [i, [command]] of script.entries()) {
      if (command.startsWith('INCR shared:')) expect(replies[i], this.#hint).toMatch(/^:\d/);
    }
  }

  async checkAll(): Promise<void> {
    const script: [string, string][] = [];
    for (const tag of this.#tags)
      script.push([`GET {${tag}}n`, this.#text(tag)], [`LRANGE {${tag}}l 0 -1`, this.#all(tag)]);
    expect(await pipeline(this.#wire, ...script.map(([command]) => command)), this.#hint).toEqual(
      script.map(([, reply]) => reply),
    );
  }

  #one(): [string, string | null][] {
    const tag = this.#tags[this.#random.below(this.#tags.length)] as string;
    const [number, list] = [`{${tag}}n`, `{${tag}}l`];
    const items = this.#lists.get(tag) ?? [];
    this.#lists.set(tag, items);
    const count = this.#counts.get(tag) ?? 0;
    this.#serial += 1;
    const item = `i${this.#serial}`;
    const add = (): void => void this.#counts.set(tag, count + 1);
    switch (this.#random.below(11)) {
      case 0:
      case 1:
        add();
        return [[`INCR ${number}`, `:${count + 1}\r\n`]];
      case 2:
        return [[`GET ${number}`, this.#text(tag)]];
      case 3:
        this.#counts.delete(tag);
        return [[`DEL ${number}`, count > 0 ? ':1\r\n' : ':0\r\n']];
      case 4:
        items.push(item);
        return [[`RPUSH ${list} ${item}`, `:${items.length}\r\n`]];
      case 5: {
        const first = items.shift();
        if (first === undefined) return [[`LLEN ${list}`, ':0\r\n']];
        return [[`BLPOP ${list} 0`, array([list, first])]];
      }
      case 6: {
        const tags = this.#tags.map(one => `{${one}}n`);
        const values = this.#tags.map(one => this.#text(one));
        return [[`MGET ${tags.join(' ')}`, `*${values.length}\r\n${values.join('')}`]];
      }
      case 7:
        add();
        items.push(item);
        return [
          ['MULTI', '+OK\r\n'],
          [`INCR ${number}`, '+QUEUED\r\n'],
          [`RPUSH ${list} ${item}`, '+QUEUED\r\n'],
          ['EXEC', `*2\r\n:${count + 1}\r\n:${items.length}\r\n`],
        ];
      case 8:
        add();
        return [[`EVAL return(redis.call('INCR',KEYS[1])) 1 ${number}`, `:${count + 1}\r\n`]];
      case 9:
        return [[`LRANGE ${list} 0 -1`, this.#all(tag)]];
      default:
        this.increments += 1;
        return [[`INCR ${SHARED[this.#random.below(SHARED.length)]}`, null]];
    }
  }

  #text(tag: string): string {
    const count = this.#counts.get(tag);
    return count === undefined ? '$-1\r\n' : `$${String(count).length}\r\n${count}\r\n`;
  }

  #all(tag: string): string {
    return array(this.#lists.get(tag) ?? []);
  }
}

function array(items: readonly string[]): string {
  return `*${items.length}\r\n${items.map(item => `$${item.length}\r\n${item}\r\n`).join('')}`;
}
