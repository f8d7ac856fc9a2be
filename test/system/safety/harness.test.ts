/**
 * The harness itself, on one stock Redis without Ringside: where nothing is lost it finds nothing, and where a Redis
 * comes back empty it finds what was lost. Otherwise the safety tests would show nothing.
 */
import { afterEach, expect, test } from 'vitest';
import { freePorts } from '../../support/ports.ts';
import { sleep, until } from '../faults/stand.ts';
import { contentsOf, together } from './copies.ts';
import { judge } from './ledger.ts';
import { RedisNode } from './redis-node.ts';
import { Registers } from './registers.ts';
import { SEED } from './trial.ts';
import { Writers } from './writers.ts';

let node: RedisNode | null = null;
afterEach(() => node?.close());

/** Clients write and read for a while, during which `work` is done; what is wrong afterwards. */
async function problemsAfter(work: (node: RedisNode, registers: Registers) => Promise<void>) {
  const redis = await RedisNode.start({ port: await freePorts(1) });
  node = redis;
  const writers = new Writers([redis], SEED, 'w:');
  const registers = new Registers([redis], SEED, 'r:');
  writers.start(6);
  registers.start(4);
  const acknowledged = () => writers.ledger.count('acknowledged');
  await until('much was written', () => acknowledged() > 200 && registers.operations > 100);
  await work(redis, registers);
  const before = acknowledged();
  await until('much was written again', () => acknowledged() > before + 200);
  await Promise.all([writers.stop(), registers.stop()]);
  const found = together([await contentsOf(await redis.connect())]);
  return { ledger: judge(writers.ledger.entries, found), registers: registers.problems() };
}

test(`a Redis that is left alone loses nothing, and its registers are linearizable (seed ${SEED})`, async () => {
  expect(await problemsAfter(async () => undefined)).toEqual({ ledger: [], registers: [] });
});

test(`a Redis that is frozen for a moment neither (seed ${SEED})`, async () => {
  const frozen = async (redis: RedisNode): Promise<void> => {
    redis.freeze();
    await sleep(300);
    redis.thaw();
  };
  expect(await problemsAfter(frozen)).toEqual({ ledger: [], registers: [] });
});

test(`a Redis that comes back empty has lost much, and both the ledger and the registers show it (seed ${SEED})`, async () => {
  const { ledger, registers } = await problemsAfter(async (redis, used) => {
    await used.stop();
    // Whatever chance has done to them, now each has a value; and who reads comes before who writes again.
    await used.all('set');
    await redis.restartEmpty();
    await used.all('get');
  });
  expect(ledger.filter(text => text.startsWith('lost: ')).length).toBeGreaterThan(100);
  expect(ledger.join('\n')).toMatch(/counter\d is \d+, \d+ were acknowledged/);
  expect(registers.length).toBeGreaterThan(0);
});
