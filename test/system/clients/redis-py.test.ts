import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from './run.ts';
import { againstStockRedis, startTarget, type Target } from './target.ts';

// Debian's own interpreter sees Debian's python3-redis; another one first in PATH may not.
const PYTHON = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';
const SESSIONS = fileURLToPath(new URL('redis_py_session.py', import.meta.url));

let target: Target;

beforeAll(async () => {
  target = await startTarget();
});

afterAll(async () => {
  await target?.stop();
});

/** What the session of this name got, from a fresh Python process. */
async function session(name: string): Promise<Record<string, unknown>> {
  const { status, stdout, stderr } = await run(PYTHON, [SESSIONS, String(target.port), name]);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  return JSON.parse(stdout) as Record<string, unknown>;
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

describe('redis-py at its defaults', () => {
  it('reads back every kind of value that it wrote', async () => {
    expect(await session('values')).toEqual({
      string: 'väl',
      ttl: 100,
      hash: { a: '1', b: '2' },
      list: ['a', 'b', 'c'],
      zset: [
        ['low', 1.5],
        ['high', 20],
      ],
      set: ['x', 'y'],
      binary: true,
      missing: null,
      dbsize: 6,
      type: 'zset',
      info_version: '7',
    });
  });

  it('writes and reads many keys of all shards in one command', async () => {
    expect(await session('many')).toEqual({
      values: [...range(0, 300), ...new Array<null>(10).fill(null)],
      deleted: 100,
      left: 200,
    });
  });

  it('runs its default pipelines as transactions on keys of one hash tag', async () => {
    expect(await session('transaction')).toEqual({
      good: [true, 2, 2, ['x', 'y']],
      bad: ['True', 'WRONGTYPE Operation against a key holding the wrong kind of value', 'True'],
      raised: expect.stringContaining('WRONGTYPE Operation against a key holding the wrong kind of value'),
      after: 'after',
      c: '1',
    });
  });

  it.skipIf(againstStockRedis)(
    'is refused a default pipeline over several shards, and none of it happens',
    async () => {
      expect(await session('transaction_over_shards')).toEqual({
        error: expect.stringMatching(/EXECABORT|CROSSSLOT|hash to the same shard/),
        kept: 0,
        after: true,
      });
    },
  );

  it('runs pipelines without a transaction over all shards in order', async () => {
    expect(await session('plain_pipeline')).toEqual({ replies: 4000, right: true });
  });

  it('raises WatchError when somebody wrote what it watched', async () => {
    expect(await session('watch')).toEqual({ failed: true, value: 1000 });
  });

  it('loses no step of a hundred watched transactions of four threads', async () => {
    expect(await session('watched_count')).toEqual({ value: 100 });
  });

  it('hears each published message once and in order', async () => {
    expect(await session('pubsub')).toEqual({
      confirmations: [
        ['subscribe', expect.any(String), 1],
        ['subscribe', expect.any(String), 2],
        ['psubscribe', 'n*', 3],
      ],
      messages: range(0, 20).map(i => `m${i}`),
      pmessages: range(0, 20).map(i => `m${i}`),
      sports: ['goal'],
      surplus: null,
      ended: ['unsubscribe', 'news', 2],
      alive: 'pong',
    });
  });

  it('holds its locks, one holder at a time', async () => {
    expect(await session('locks')).toEqual({
      turns: 20,
      most_inside: 1,
      taken: true,
      again: false,
      extended: true,
      wrong: 'Cannot release an unlocked lock',
      left: 0,
    });
  });

  it('scans every key and every member', async () => {
    expect(await session('scans')).toEqual({
      keys: 2503,
      matched: 1 + 10 + 100 + 1000,
      typed: ['fields'],
      members: 1500,
      fields: 1500,
      scores: 1500,
    });
  });

  it('pops what comes while it blocks, and nothing when nothing comes', async () => {
    expect(await session('blocking')).toEqual({
      popped: [['{b}2', 'job']],
      none: null,
      waited: true,
      least: ['ranks', 'a', 1],
      moved: 'x',
    });
  });

  it('shares a stream between the consumers of a group', async () => {
    expect(await session('streams')).toEqual({
      one: range(0, 4),
      two: range(4, 10),
      acked: 10,
      pending: 0,
      none: [],
      length: 10,
    });
  });

  it('runs registered scripts on keys of every shard, even after the scripts were flushed', async () => {
    expect(await session('scripts')).toEqual({
      first: new Array(30).fill(2),
      second: new Array(30).fill(5),
      piped: [15, 15],
    });
  });

  it("raises the exceptions that it makes of Redis's errors", async () => {
    expect(await session('errors')).toEqual({
      type: 'ResponseError: WRONGTYPE Operation against a key holding the wrong kind of value',
      unknown: "ResponseError: unknown command 'NOSUCH', with args beginning with: 'a' 'b' ",
      arity: "ResponseError: wrong number of arguments for 'get' command",
      script: 'NoScriptError: No matching script. Please use EVAL.',
      number: 'ResponseError: value is not an integer or out of range',
      database: 'ResponseError: DB index is out of range',
    });
  });
});
