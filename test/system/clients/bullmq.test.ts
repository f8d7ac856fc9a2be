import { FlowProducer, type Job, Queue, QueueEvents, UnrecoverableError, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { againstStockRedis, startTarget, type Target } from './target.ts';

let target: Target;
const opened: { close(): Promise<unknown> }[] = [];
let queueNumber = 0;

beforeAll(async () => {
  target = await startTarget();
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map(one => one.close()));
});

afterAll(async () => {
  await target?.stop();
});

/** The one setting that several shards ask for: every key of the queues on the shard of this tag. */
const PREFIX = '{bull}';

const connection = () => ({ host: '127.0.0.1', port: target.port });
const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

function keep<T extends { close(): Promise<unknown>; on(event: 'error', listener: (error: Error) => void): unknown }>(
  one: T,
): T {
  one.on('error', () => {});
  opened.push(one);
  return one;
}

function newName(): string {
  queueNumber += 1;
  return `orders-${queueNumber}`;
}

const openQueue = (name: string) => keep(new Queue(name, { connection: connection(), prefix: PREFIX }));
const openEvents = (name: string) => keep(new QueueEvents(name, { connection: connection(), prefix: PREFIX }));

function openWorker(name: string, work: (job: Job) => Promise<unknown>, more: object = {}): Worker {
  return keep(new Worker(name, work, { connection: connection(), prefix: PREFIX, ...more }));
}

describe('BullMQ on three shards with a hash tag as prefix', () => {
  it('works off 300 jobs, each exactly once, with several workers side by side', async () => {
    const name = newName();
    const queue = openQueue(name);
    const worked: number[] = [];
    const work = async (job: Job) => {
      worked.push(job.data.n);
      await sleep(1);
      return { doubled: job.data.n * 2 };
    };
    openWorker(name, work, { concurrency: 5 });
    openWorker(name, work, { concurrency: 5 });
    const jobs = await queue.addBulk(Array.from({ length: 300 }, (_, n) => ({ name: 'double', data: { n } })));
    await expect.poll(() => queue.getCompletedCount()).toBe(300);
    expect(worked.sort((a, b) => a - b)).toEqual(Array.from({ length: 300 }, (_, n) => n));
    const sample = await queue.getJob(jobs[123]?.id ?? '');
    expect(sample?.returnvalue).toEqual({ doubled: 246 });
    expect(await queue.getJobCounts('waiting', 'active', 'delayed', 'failed')).toEqual({
      waiting: 0,
      active: 0,
      delayed: 0,
      failed: 0,
    });
  });

  it('tells those who wait for a job by its event stream', async () => {
    const name = newName();
    const queue = openQueue(name);
    const events = openEvents(name);
    await events.waitUntilReady();
    openWorker(name, async job => `hello ${job.data.who}`);
    const jobs = await Promise.all(['a', 'b', 'c'].map(who => queue.add('greet', { who })));
    expect(await Promise.all(jobs.map(job => job.waitUntilFinished(events, 10_000)))).toEqual([
      'hello a',
      'hello b',
      'hello c',
    ]);
  });

  it('starts delayed jobs when their time has come, in the order of their time', async () => {
    const name = newName();
    const queue = openQueue(name);
    const started: { label: string; lateMs: number }[] = [];
    // Far enough away that a busy machine has added all of them before the first is due.
    openWorker(name, async job => {
      started.push({ label: job.data.label, lateMs: Date.now() - job.timestamp - job.data.delay });
    });
    for (const [label, delay] of [
      ['last', 3_000],
      ['first', 1_500],
      ['middle', 2_250],
    ] as const) {
      await queue.add('later', { label, delay }, { delay });
    }
    expect(await queue.getDelayedCount()).toBe(3);
    await expect.poll(() => started.length).toBe(3);
    expect(started.map(one => one.label)).toEqual(['first', 'middle', 'last']);
    for (const { lateMs } of started) expect(lateMs).toBeGreaterThanOrEqual(-5);
  });

  it('tries a failing job again with backoff, and keeps what failed for good', async () => {
    const name = newName();
    const queue = openQueue(name);
    const tries = new Map<string, number>();
    openWorker(name, async job => {
      const count = (tries.get(job.name) ?? 0) + 1;
      tries.set(job.name, count);
      if (job.name === 'flaky' && count < 3) throw new Error(`try ${count} failed`);
      if (job.name === 'hopeless') throw new Error('never works');
      if (job.name === 'refused') throw new UnrecoverableError('not even once more');
      return `done at try ${count}`;
    });
    const options = { attempts: 3, backoff: { type: 'fixed', delay: 50 } };
    const flaky = await queue.add('flaky', {}, options);
    const hopeless = await queue.add('hopeless', {}, options);
    const refused = await queue.add('refused', {}, options);
    await expect.poll(() => queue.getJobCounts('completed', 'failed')).toEqual({ completed: 1, failed: 2 });
    expect(Object.fromEntries(tries)).toEqual({ flaky: 3, hopeless: 3, refused: 1 });
    expect((await queue.getJob(flaky.id ?? ''))?.returnvalue).toBe('done at try 3');
    expect((await queue.getJob(hopeless.id ?? ''))?.failedReason).toBe('never works');
    expect((await queue.getJob(refused.id ?? ''))?.failedReason).toBe('not even once more');
    await (await queue.getJob(hopeless.id ?? ''))?.retry();
    await expect.poll(() => tries.get('hopeless')).toBeGreaterThan(3);
  });

  it('takes jobs by priority, and in their order within one', async () => {
    const name = newName();
    const queue = openQueue(name);
    await queue.pause();
    const order: string[] = [];
    openWorker(name, async job => {
      order.push(job.name);
    });
    for (const [label, priority] of [
      ['c1', 30],
      ['a1', 1],
      ['b1', 7],
      ['a2', 1],
      ['c2', 30],
      ['b2', 7],
    ] as const) {
      await queue.add(label, {}, { priority });
    }
    expect(order).toEqual([]);
    await queue.resume();
    await expect.poll(() => order.length).toBe(6);
    expect(order).toEqual(['a1', 'a2', 'b1', 'b2', 'c1', 'c2']);
  });

  it('repeats a scheduled job until its limit', async () => {
    const name = newName();
    const queue = openQueue(name);
    const runs: number[] = [];
    openWorker(name, async job => {
      runs.push(job.data.n);
    });
    await queue.upsertJobScheduler('tick', { every: 100, limit: 4 }, { name: 'tick', data: { n: 5 } });
    await expect.poll(() => runs.length).toBe(4);
    await sleep(400);
    expect(runs).toEqual([5, 5, 5, 5]);
  });

  it('runs a parent only after all its children, and gives it their results', async () => {
    const name = newName();
    const flow = keep(new FlowProducer({ connection: connection(), prefix: PREFIX }));
    const queue = openQueue(name);
    const finished: string[] = [];
    openWorker(
      name,
      async job => {
        finished.push(job.name);
        if (job.name !== 'parent') return job.data.part;
        return Object.values(await job.getChildrenValues()).sort();
      },
      { concurrency: 4 },
    );
    const children = Array.from({ length: 6 }, (_, part) => ({
      name: `child${part}`,
      queueName: name,
      data: { part },
    }));
    const tree = await flow.add({ name: 'parent', queueName: name, children });
    await expect.poll(() => finished.at(-1)).toBe('parent');
    expect(finished).toHaveLength(7);
    await expect.poll(async () => (await queue.getJob(tree.job.id ?? ''))?.returnvalue).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('holds a rate limit', async () => {
    const name = newName();
    const queue = openQueue(name);
    const startedAt: number[] = [];
    openWorker(name, async () => void startedAt.push(Date.now()), { limiter: { max: 5, duration: 500 } });
    await queue.addBulk(Array.from({ length: 12 }, (_, n) => ({ name: 'limited', data: { n } })));
    await expect.poll(() => startedAt.length).toBe(12);
    expect((startedAt[10] as number) - (startedAt[0] as number)).toBeGreaterThanOrEqual(900);
  });

  it('cleans, drains and obliterates', async () => {
    const name = newName();
    const queue = openQueue(name);
    await queue.addBulk(Array.from({ length: 20 }, (_, n) => ({ name: 'idle', data: { n } })));
    const second = await queue.add('removed', {});
    expect(await queue.getWaitingCount()).toBe(21);
    await second.remove();
    expect(await queue.getWaitingCount()).toBe(20);
    await queue.drain();
    expect(await queue.getWaitingCount()).toBe(0);
    await queue.obliterate({ force: true });
    const redis = new Redis({ port: target.port });
    expect(await redis.keys(`*${name}:*`)).toEqual([]);
    redis.disconnect();
  });
});

describe.skipIf(againstStockRedis)('BullMQ on three shards at its default prefix', () => {
  it('is refused with an error that names the hash tag as the remedy', async () => {
    const queue = keep(new Queue('untagged', { connection: connection() }));
    const error = await queue.add('job', { n: 1 }).then(
      () => new Error('the job was accepted'),
      (reason: Error) => reason,
    );
    expect(error.message).toMatch(/^CROSSSLOT Keys in request don't hash to the same shard/);
    expect(error.message).toMatch(/hash tag/);
    expect(error.message).toMatch(/\{.*\}/);
  });
});
