import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HANG_MS } from '../../support/patience.ts';
import { runProgram } from '../../support/run-program.ts';
import { frame, RawClient } from './raw-client.ts';
import { Stand, sleep, until } from './stand.ts';

let stand: Stand;
let keys: string[];

beforeEach(async () => {
  stand = await Stand.start({ proxy: { grace: '60s', timeout: '60s' } });
  keys = await stand.keyPerShard();
});

afterEach(async () => {
  await stand?.stop();
});

const keyOf = (shard: number) => keys[shard] as string;

/** Connects, asks once and leaves, over and over: what an app under load does to a proxy that is being replaced. */
class Knocker {
  served = 0;
  readonly failures: string[] = [];
  #running = true;
  readonly #done: Promise<void>;

  constructor(port: number, key: string) {
    this.#done = this.#knock(port, key);
  }

  async #knock(port: number, key: string): Promise<void> {
    while (this.#running) {
      try {
        const client = await RawClient.open(port);
        client.send(frame('SET', key, 'x'));
        await client.until(() => client.length >= 5);
        if (client.text === '+OK\r\n') this.served += 1;
        else this.failures.push(JSON.stringify(client.text));
        client.close();
      } catch (error) {
        this.failures.push(String(error));
      }
    }
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }
}

describe('SIGTERM', () => {
  it('finishes what is in flight, then ends with status 0; new clients are turned away meanwhile', async () => {
    const client = await RawClient.open(stand.port);
    const idle = await RawClient.open(stand.port);
    const areSent = await stand.sending('write');
    stand.nodes[0]?.freeze();
    client.send(Buffer.concat([frame('INCR', keyOf(0)), frame('INCR', keyOf(0)), frame('GET', keyOf(0))]));
    await areSent(2);
    stand.signal('SIGTERM');
    await expect
      .poll(() =>
        RawClient.open(stand.port).then(
          () => 'let in',
          (error: Error) => error.message,
        ),
      )
      .toMatch(/ECONNREFUSED/);
    expect(client.closed).toBe(false);
    stand.nodes[0]?.thaw();
    await client.untilClosed();
    expect(client.text).toBe(':1\r\n:2\r\n$1\r\n2\r\n');
    await idle.untilClosed();
    expect(await stand.ended()).toBe(0);
  });

  it('waits no longer than its grace time for what does not end', async () => {
    await stand.stop();
    stand = await Stand.start({ proxy: { grace: '2s', timeout: '60s' } });
    const blocked = await RawClient.open(stand.port);
    blocked.send(frame('BLPOP', keyOf(0), '0'));
    await stand.nodes[0]?.hasWaiters(1);
    const before = performance.now();
    stand.signal('SIGTERM');
    expect(await stand.ended()).toBe(0);
    expect(performance.now() - before).toBeLessThan(2_000 + HANG_MS);
    await blocked.untilClosed();
  });

  it('ends without waiting for its grace time when nothing is in flight', async () => {
    await stand.stop();
    stand = await Stand.start({ proxy: { grace: `${4 * HANG_MS}ms` } });
    const idle = await RawClient.open(stand.port);
    const before = performance.now();
    stand.signal('SIGTERM');
    expect(await stand.ended()).toBe(0);
    expect(performance.now() - before).toBeLessThan(HANG_MS);
    await idle.untilClosed();
  });
});

describe('SIGUSR2', () => {
  it('puts a new process in place without a refused connection or a lost answer, several times', async () => {
    const knockers = [new Knocker(stand.port, keyOf(0)), new Knocker(stand.port, keyOf(1))];
    const seen = new Set(stand.pids().slice(1));
    for (let i = 0; i < 3; i += 1) {
      const workers = stand.pids().slice(1);
      stand.signal('SIGUSR2');
      await until('the workers are other ones', () => {
        const now = stand.pids().slice(1);
        return now.length > 0 && now.every(pid => !workers.includes(pid));
      });
      for (const pid of stand.pids().slice(1)) seen.add(pid);
      await sleep(200);
    }
    for (const knocker of knockers) await knocker.stop();
    for (const knocker of knockers) {
      expect(knocker.failures).toEqual([]);
      expect(knocker.served).toBeGreaterThan(50);
    }
    expect(seen.size).toBeGreaterThanOrEqual(4);
  });

  it('lets the old process finish what is in flight', async () => {
    const client = await RawClient.open(stand.port);
    const areSent = await stand.sending('write');
    stand.nodes[0]?.freeze();
    client.send(frame('INCR', keyOf(0)));
    await areSent(1);
    const workers = stand.pids();
    stand.signal('SIGUSR2');
    await until('there is a new worker', () => stand.pids().some(pid => !workers.includes(pid)));
    await sleep(800);
    stand.nodes[0]?.thaw();
    await client.until(() => client.length > 0);
    expect(client.text).toBe(':1\r\n');
    await client.untilClosed();
  });

  it('serves with the configuration that is now in the file', async () => {
    stand.configure({ deny: ['DBSIZE'] });
    const workers = stand.pids().slice(1);
    stand.signal('SIGUSR2');
    await until('the workers are other ones', () =>
      stand
        .pids()
        .slice(1)
        .every(pid => !workers.includes(pid)),
    );
    await expect(stand.client().dbsize()).rejects.toThrow(/^DENIED /);
  });

  it('keeps the old process when the new one cannot start', async () => {
    const redis = stand.client();
    const workers = stand.pids().slice(1);
    stand.configure({ nosuchsetting: 1 });
    stand.signal('SIGUSR2');
    await expect.poll(() => stand.log).toContain('nosuchsetting');
    await sleep(500);
    expect(await redis.set(keyOf(0), 'served')).toBe('OK');
    expect(stand.pids().slice(1)).toEqual(workers);
  });
});

describe('ringside proxy --replace', () => {
  it('does the same from a shell and tells when it is done', async () => {
    const knocker = new Knocker(stand.port, keyOf(0));
    const workers = stand.pids().slice(1);
    const { status, out, err } = await runProgram(['proxy', '--replace', '--config', stand.file]);
    expect({ status, said: out + err }).toEqual({ status: 0, said: expect.stringMatching(/\S/) });
    await until('the workers are other ones', () =>
      stand
        .pids()
        .slice(1)
        .every(pid => !workers.includes(pid)),
    );
    await knocker.stop();
    expect(knocker.failures).toEqual([]);
  });
});

describe('a worker that dies', () => {
  it('is replaced, and the port serves again', async () => {
    const [worker] = stand.pids().slice(1);
    process.kill(worker as number, 'SIGKILL');
    await until('another worker serves', async () => {
      const redis = stand.client();
      return redis.set(keyOf(0), 'x').then(
        () => true,
        () => false,
      );
    });
    expect(stand.pids().slice(1)).not.toContain(worker);
  });

  it('its parent killed, the workers end too', async () => {
    const [parent, worker] = stand.pids();
    process.kill(parent as number, 'SIGKILL');
    await stand.ended();
    await until('the worker has ended', () => !alive(worker as number));
  });
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
