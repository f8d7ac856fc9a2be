import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from './run.ts';
import { startTarget, type Target } from './target.ts';

let target: Target;
let redis: Redis;

beforeAll(async () => {
  target = await startTarget();
  redis = new Redis({ port: target.port });
  await redis.flushall();
});

afterAll(async () => {
  redis?.disconnect();
  await target?.stop();
});

/** The names of redis-benchmark 7's tests when none is chosen. */
const DEFAULT_TESTS = [
  'PING_INLINE',
  'PING_MBULK',
  'SET',
  'GET',
  'INCR',
  'LPUSH',
  'RPUSH',
  'LPOP',
  'RPOP',
  'SADD',
  'HSET',
  'SPOP',
  'ZADD',
  'ZPOPMIN',
  'LPUSH (needed to benchmark LRANGE)',
  'LRANGE_100 (first 100 elements)',
  'LRANGE_300 (first 300 elements)',
  'LRANGE_500 (first 500 elements)',
  'LRANGE_600 (first 600 elements)',
  'MSET (10 keys)',
];

/** Runs it; the requests per second of each test by its name. It says nothing on standard error when all is well. */
async function benchmark(args: string[]): Promise<Map<string, number>> {
  const { status, stdout, stderr } = await run('redis-benchmark', ['-p', String(target.port), '--csv', ...args], {
    limitMs: 100_000,
  });
  expect(stderr).toBe('');
  expect(stdout).not.toMatch(/error/i);
  expect(status).toBe(0);
  const rows = stdout.trim().split('\n').slice(1);
  return new Map(
    rows.map(row => {
      const cells = row.split('","').map(cell => cell.replaceAll('"', ''));
      return [cells[0] as string, Number(cells[1])];
    }),
  );
}

const counter = async () => Number((await redis.get('counter:__rand_int__')) ?? 0);

describe('redis-benchmark', () => {
  it('runs all of its default tests to the end', async () => {
    await redis.flushall();
    const speeds = await benchmark(['-n', '2000']);
    expect([...speeds.keys()]).toEqual(DEFAULT_TESTS);
    for (const [name, perSecond] of speeds) expect(perSecond, name).toBeGreaterThan(100);
    expect(await counter()).toBeGreaterThanOrEqual(2_000);
    expect(await redis.llen('mylist')).toBeGreaterThanOrEqual(2_000);
  });

  it('runs all of its default tests with 16 commands in flight per connection', async () => {
    await redis.flushall();
    const speeds = await benchmark(['-n', '2000', '-P', '16']);
    expect([...speeds.keys()]).toEqual(DEFAULT_TESTS);
    expect(await counter()).toBeGreaterThanOrEqual(2_000);
  });

  it('runs with several threads', async () => {
    await redis.flushall();
    const speeds = await benchmark(['-n', '4000', '-P', '4', '--threads', '2', '-t', 'set,get,incr,lpush']);
    expect([...speeds.keys()]).toEqual(['SET', 'GET', 'INCR', 'LPUSH']);
    expect(await counter()).toBeGreaterThanOrEqual(4_000);
  });

  it('writes the keys of a key space over all shards', async () => {
    await redis.flushall();
    await benchmark(['-n', '20000', '-P', '16', '-r', '3000', '-d', '100', '-t', 'set']);
    const size = await redis.dbsize();
    expect(size).toBeGreaterThan(2_900);
    expect(size).toBeLessThanOrEqual(3_000);
    expect(await redis.strlen((await redis.randomkey()) as string)).toBe(100);
    let spread = 0;
    for (const port of target.nodePorts) {
      const node = new Redis({ port });
      if ((await node.dbsize()) > 0) spread += 1;
      node.disconnect();
    }
    expect(spread).toBe(target.nodePorts.length);
  });

  it('speaks RESP3 and runs a command of its user', async () => {
    await redis.flushall();
    expect((await benchmark(['-3', '-n', '2000', '-t', 'get,hset'])).size).toBe(2);
    await benchmark(['-n', '2000', '-r', '100', 'eval', "return redis.call('INCR', KEYS[1])", '1', 'own:__rand_int__']);
    const keys = await redis.keys('own:*');
    const values = await redis.mget(keys);
    expect(values.reduce((sum, value) => sum + Number(value), 0)).toBeGreaterThanOrEqual(2_000);
  });

  it('opens 500 connections', async () => {
    await redis.flushall();
    await benchmark(['-c', '500', '-n', '10000', '-t', 'incr']);
    expect(await counter()).toBeGreaterThanOrEqual(10_000);
  });
});
