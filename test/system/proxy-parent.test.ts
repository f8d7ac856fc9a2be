import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Topology } from '../../src/topology/snapshot.ts';
import { freePorts } from '../support/ports.ts';
import { type Ended, runProgram } from '../support/run-program.ts';
import { frame, RawClient } from './faults/raw-client.ts';
import { Stand, until } from './faults/stand.ts';

let stand: Stand;

afterEach(async () => {
  await stand?.stop();
});

interface WorkerStatus {
  readonly pid: number;
  readonly state: string;
  readonly clients: number;
}

async function workers(): Promise<WorkerStatus[]> {
  // A connection that is kept open may lead to a worker that has ended since.
  const headers = { connection: 'close' };
  const answer = await fetch(`http://127.0.0.1:${stand.adminPort}/status`, { headers });
  return ((await answer.json()) as { workers: WorkerStatus[] }).workers;
}

async function servingPids(): Promise<number[]> {
  return (await workers()).filter(worker => worker.state === 'serving').map(worker => worker.pid);
}

/** `ringside proxy --replace`, as a person calls it. */
function replace(): Promise<Ended> {
  return runProgram(['proxy', '--replace', '--config', stand.file]);
}

/** Connects, asks, hears the answer and leaves, over and over. */
class Caller {
  answered = 0;
  readonly failures: string[] = [];
  #running = true;
  readonly #done: Promise<unknown>;

  constructor(port: number, atOnce: number) {
    this.#done = Promise.all(Array.from({ length: atOnce }, () => this.#call(port)));
  }

  async #call(port: number): Promise<void> {
    while (this.#running) {
      const heard = await new Promise<string>(resolve => {
        const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
        let text = '';
        socket.on('data', (piece: Buffer) => {
          text += piece.toString();
          socket.end();
        });
        socket.on('error', error => resolve(error.message));
        socket.on('close', () => resolve(text));
      });
      if (heard === '+PONG\r\n') this.answered += 1;
      else this.failures.push(heard);
    }
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }
}

describe('several workers', () => {
  it('share the connections and are one proxy to whoever asks', async () => {
    stand = await Stand.start({ proxy: { workers: 3, limits: { clients: 3000 } } });
    const clients = await Promise.all(Array.from({ length: 30 }, () => RawClient.open(stand.port)));
    await until('every connection is counted', async () => (await stand.metric('ringside_clients_connected')) === 30);
    const shares = (await workers()).map(worker => worker.clients);
    expect(shares).toHaveLength(3);
    expect(shares.reduce((sum, share) => sum + share, 0)).toBe(30);
    // Node hands each connection to the next worker that is free: each has one before any has two, and a worker that
    // the machine lets wait may stay at that.
    for (const share of shares) expect(share).toBeGreaterThanOrEqual(1);
    expect(await stand.metric('ringside_workers')).toBe(3);
    expect(await stand.metric('ringside_limit{bound="clients"}')).toBe(3000);
    for (const client of clients) client.close();
  });

  it('are replaced together without a refused or unanswered connection, and no counter falls', async () => {
    stand = await Stand.start({ proxy: { workers: 3 } });
    const caller = new Caller(stand.port, 4);
    const seen = new Set(await servingPids());
    let accepted = 0;
    for (let i = 0; i < 2; i += 1) {
      const result = await replace();
      expect(result).toMatchObject({ status: 0, err: '' });
      expect(result.out).toMatch(/^replaced in \d+\.\d+ s: workers \d+, \d+, \d+\n$/);
      for (const pid of await servingPids()) seen.add(pid);
      const now = await stand.metric('ringside_clients_accepted_total');
      expect(now).toBeGreaterThan(accepted);
      accepted = now;
    }
    await caller.stop();
    expect(caller.failures).toEqual([]);
    expect(seen.size).toBe(9);
    await until('the old workers have ended', async () => (await workers()).length === 3);
    expect(await stand.metric('ringside_clients_accepted_total')).toBe(caller.answered);
  });

  it('serve on while one that died is replaced', async () => {
    stand = await Stand.start({ proxy: { workers: 2 } });
    const clients = await Promise.all(Array.from({ length: 20 }, () => RawClient.open(stand.port)));
    await until('every connection is counted', async () => (await stand.metric('ringside_clients_connected')) === 20);
    const [first, second] = await servingPids();
    process.kill(first as number, 'SIGKILL');
    await until('two workers serve again', async () => {
      const pids = await servingPids().catch((): number[] => []);
      return pids.length === 2 && !pids.includes(first as number);
    });
    const now = await servingPids();
    expect(now).toContain(second);
    expect(now).not.toContain(first);
    expect(stand.log).toContain('a worker ended unasked');
    const kept = clients.filter(client => !client.closed);
    expect(kept.length).toBeGreaterThan(0);
    expect(kept.length).toBeLessThan(20);
    for (const client of kept) {
      client.send(frame('PING'));
      await client.until(() => client.text === '+PONG\r\n');
      client.close();
    }
    expect(await stand.client().ping()).toBe('PONG');
  });
});

describe('a replacement that cannot be made', () => {
  async function staysWith(pids: readonly number[]): Promise<void> {
    expect(await servingPids()).toEqual(pids);
    expect(await stand.client().ping()).toBe('PONG');
  }

  it('for mistakes in the settings is told with their place, with status 2', async () => {
    stand = await Stand.start();
    const pids = await servingPids();
    stand.configure({ workres: 2 });
    const { status, err } = await replace();
    expect(status).toBe(2);
    expect(err).toMatch(/ringside\.yaml:\d+:\d+: proxy\.workres: unknown setting, did you mean workers\?\n$/);
    await staysWith(pids);
  });

  it('for a taken address is told with the address, with status 2', async () => {
    stand = await Stand.start();
    const pids = await servingPids();
    const port = await freePorts(1);
    const other = createServer().listen(port, '127.0.0.1');
    await once(other, 'listening');
    stand.configure({ listen: [`127.0.0.1:${stand.port}`, `127.0.0.1:${port}`] });
    const { status, err } = await replace();
    other.close();
    expect(status).toBe(2);
    expect(err).toMatch(/^ringside: not replaced, the old workers \(pid \d+\) go on serving: /);
    expect(err).toContain(`127.0.0.1:${port} is taken by another process`);
    await staysWith(pids);
  });

  it('because the successor reaches a shard no more is told with the shard, with status 1', async () => {
    stand = await Stand.start({ shards: 2 });
    const pids = await servingPids();
    const nobody = await freePorts(1);
    // What it remembers is newer than what it is told, so that it holds to it.
    const memory = join(stand.dir, 'state', 'last-topology.json');
    const remembered = () => JSON.parse(readFileSync(memory, 'utf8')) as Topology;
    const version = await stand.metric('ringside_topology_version');
    // The disk may take its time, and the proxy serves before.
    await until('all is on disk', () => existsSync(memory) && remembered().version === version);
    const topology = remembered();
    const nodes = topology.nodes.map(node => (node.id === 'n2' ? { ...node, port: nobody } : node));
    writeFileSync(memory, JSON.stringify({ ...topology, version: topology.version + 100, nodes }));
    const { status, err } = await replace();
    expect(status).toBe(1);
    expect(err).toMatch(/was not ready within 10 s: it waits for .*s2/);
    await staysWith(pids);
  });
});

describe('a replacement', () => {
  it('does not wait for a shard that the old workers miss too', async () => {
    stand = await Stand.start({ shards: 2 });
    const pids = await servingPids();
    await stand.nodes[1]?.close();
    await until('the proxy misses the shard', async () => !(await stand.ready()));
    expect(await replace()).toMatchObject({ status: 0 });
    expect(await servingPids()).not.toEqual(pids);
    expect(await stand.ready()).toBe(false);
  });

  it('brings another number of workers, and another address', async () => {
    stand = await Stand.start();
    const port = await freePorts(1);
    stand.configure({ workers: 2, listen: [`127.0.0.1:${port}`] });
    expect((await replace()).status).toBe(0);
    await until('the old worker has ended', async () => (await workers()).length === 2);
    const client = await RawClient.open(port);
    client.send(frame('PING'));
    await client.until(() => client.text === '+PONG\r\n');
    client.close();
    await expect(RawClient.open(stand.port)).rejects.toThrow(/ECONNREFUSED/);
  });
});

describe('the parent', () => {
  it('has the workers take up a file that changed, and names what waits for a replacement', async () => {
    stand = await Stand.start();
    const redis = stand.client();
    expect(await redis.echo('x')).toBe('x');
    stand.configure({ deny: ['ECHO'], workers: 2 });
    await expect.poll(() => redis.echo('x').catch((error: Error) => error.message)).toMatch(/^DENIED /);
    expect(stand.log).toMatch(/"needsRestart":\["proxy.workers"\]/);
    expect(await servingPids()).toHaveLength(1);
  });

  it('ends at once when it is told twice', async () => {
    stand = await Stand.start({ proxy: { grace: '60s', timeout: '60s' } });
    const pids = stand.pids();
    const blocked = await RawClient.open(stand.port);
    // A script that keeps its node busy: a client that merely waits for data would be let go.
    const busy = "local from = redis.call('TIME')[1] while redis.call('TIME')[1] - from < 60 do end return 1";
    blocked.send(frame('EVAL', busy, '0'));
    await until('the script runs', async () => (await stand.metric('ringside_commands_total{class="write"}')) === 1);
    stand.signal('SIGTERM');
    await until('it is draining', () => stand.log.includes('"draining"'));
    stand.signal('SIGTERM');
    // Not 0, as when it had waited for the script.
    expect(await stand.ended()).toBe(143);
    await blocked.untilClosed();
    for (const pid of pids) await until(`${pid} has ended`, () => !existsSync(`/proc/${pid}`));
  });

  it('fills the place of a worker that was ended alone', async () => {
    stand = await Stand.start();
    const [worker] = await servingPids();
    process.kill(worker as number, 'SIGTERM');
    await until('another worker serves', async () => {
      const pids = await servingPids().catch((): number[] => []);
      return pids.length === 1 && pids[0] !== worker;
    });
  });

  it('listens again on a Unix socket that it left behind when it was killed', async () => {
    stand = await Stand.start();
    const path = join(stand.dir, 'redis.sock');
    stand.configure({ listen: [`127.0.0.1:${stand.port}`, `unix:${path}`] });
    expect((await replace()).status).toBe(0);
    const pids = stand.pids();
    stand.signal('SIGKILL');
    await stand.ended();
    for (const pid of pids) await until(`${pid} has ended`, () => !existsSync(`/proc/${pid}`));
    expect(existsSync(path)).toBe(true);
    stand.launch();
    await until('it serves again', () => stand.ready());
    const heard = await new Promise<string>((resolve, reject) => {
      const socket = connect(path, () => socket.write('PING\r\n'));
      socket.on('data', (piece: Buffer) => {
        resolve(piece.toString());
        socket.destroy();
      });
      socket.on('error', reject);
    });
    expect(heard).toBe('+PONG\r\n');
    expect((await replace()).status).toBe(0);
  });

  it('stays within 8 MB of a Node process that does nothing', async () => {
    stand = await Stand.start();
    await replace();
    const bare = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000); process.stdout.write("up")']);
    await once(bare.stdout as NonNullable<ChildProcess['stdout']>, 'data');
    const difference = residentBytes(stand.proxyPid) - residentBytes(bare.pid as number);
    bare.kill('SIGKILL');
    expect(difference).toBeLessThan(8e6);
  });
});

function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  return Number(kilobytes) * 1024;
}
