import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { LaneSettings } from '../../src/upstream/lane.ts';
import type { Target } from '../../src/upstream/login.ts';
import { rounds, SEED } from '../fuzz/seed.ts';
import { freePorts } from '../support/ports.ts';
import { LaneStand, until } from './lane-stand.ts';

/** One stock Redis that can be killed, frozen and started again at its address. */
class Node {
  readonly port: number;
  readonly #directory = mkdtempSync(join(tmpdir(), 'ringside-lane-'));
  readonly #options: readonly string[];
  #process: ChildProcess | null = null;

  constructor(port: number, options: readonly string[] = []) {
    this.port = port;
    this.#options = options;
  }

  get target(): Target {
    return { host: '127.0.0.1', port: this.port, username: '', password: '', runId: null, database: 0, protocol: 2 };
  }

  start(): void {
    const options = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.#directory, '--save', ''];
    this.#process = spawn('redis-server', [...options, ...this.#options], { stdio: 'ignore' });
  }

  signal(name: NodeJS.Signals): void {
    this.#process?.kill(name);
  }

  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

let node: Node;
const stands: LaneStand[] = [];

function startLane(target: Target, settings: Partial<LaneSettings> = {}): LaneStand {
  const stand = new LaneStand(target, settings);
  stands.push(stand);
  stand.lane.connect();
  return stand;
}

beforeAll(async () => {
  node = new Node(await freePorts(1));
  node.start();
});

afterEach(() => {
  for (const stand of stands.splice(0)) {
    stand.close();
    expect(stand.pool.heldBytes).toBe(0);
  }
});

afterAll(() => node.stop());

describe('a lane to a real Redis', () => {
  it(`answers every command in order, whatever its size (RINGSIDE_SEED=${SEED})`, async () => {
    const stand = startLane(node.target);
    const expected: string[] = [];
    rounds(300, (random, round) => {
      const value = String.fromCharCode(97 + (round % 26)).repeat(random.below(2 ** random.below(19)));
      stand.send(['SET', `k${round}`, value], { write: true });
      stand.send(['GET', `k${round}`]);
      expected.push('+OK\r\n', `$${value.length}\r\n${value}\r\n`);
    });
    await until('all are answered', () => stand.answered.length === expected.length);
    expect(stand.outcomes.every((outcome, i) => outcome === expected[i])).toBe(true);
  });

  it('speaks both protocols, in any database', async () => {
    const two = startLane({ ...node.target, database: 3 });
    const three = startLane({ ...node.target, database: 3, protocol: 3 });
    two.send('HSET hash field value', { write: true });
    await until('it is written', () => two.answered.length === 1);
    two.send('HGETALL hash');
    three.send('HGETALL hash');
    three.send('HGETALL missing');
    await until('all are answered', () => two.answered.length === 2 && three.answered.length === 2);
    expect(two.outcomes[1]).toBe('*2\r\n$5\r\nfield\r\n$5\r\nvalue\r\n');
    expect(three.outcomes).toEqual(['%1\r\n$5\r\nfield\r\n$5\r\nvalue\r\n', '%0\r\n']);
  });

  it('knows its connection as the node does', async () => {
    const { lane, ...stand } = startLane(node.target);
    await until('it is ready', () => lane.ready);
    const list = stands.at(-1)?.send('CLIENT LIST');
    await until('it is answered', () => typeof list?.outcome === 'string');
    expect(list?.outcome).toContain(`id=${lane.clientId} `);
    expect(lane.runId).toMatch(/^[0-9a-f]{40}$/);
    expect(stand.answered).toHaveLength(1);
  });

  it('waits while the node is frozen, and its commands are carried out once', async () => {
    const stand = startLane(node.target);
    await until('it is ready', () => stand.lane.ready);
    node.signal('SIGSTOP');
    const counts = Array.from({ length: 20 }, () => stand.send('INCR frozen', { write: true }));
    await new Promise(resolve => setTimeout(resolve, 30));
    expect(stand.answered).toEqual([]);
    node.signal('SIGCONT');
    await until('all are answered', () => stand.answered.length === 20);
    expect(counts.map(count => count.outcome)).toEqual(counts.map((_, i) => `:${i + 1}\r\n`));
    expect(stand.cells.reconnects).toBe(0);
  });

  it('gives up a frozen node, tells its write as uncertain and holds what follows for the one that comes back', async () => {
    const stand = startLane(node.target, { timeoutMs: 10_000 });
    await until('it is ready', () => stand.lane.ready);
    node.signal('SIGSTOP');
    const write = stand.send('SET k 1', { write: true });
    const read = stand.send('GET missing');
    await until('both are on their way', () => stand.lane.inFlight === 2);
    const nowMs = performance.now();
    for (let atMs = nowMs; stand.lane.ready; atMs += 100) stand.lane.sweep(atMs);
    expect([write.outcome, read.outcome]).toEqual(['<Uncertain>', null]);
    node.signal('SIGCONT');
    await until('the read is answered', () => read.outcome !== null);
    expect(read.outcome).toBe('$-1\r\n');
  });

  it('carries no write out twice when the node is killed in the middle, and answers each once', async () => {
    const stand = startLane(node.target);
    const origin = { lostMark: 0 };
    await until('it is ready', () => stand.lane.ready);
    const sent: string[] = [];
    for (let i = 0; i < 400; i += 1) {
      if (i === 200) node.signal('SIGKILL');
      sent.push(stand.send(i % 2 === 0 ? 'INCR n' : 'GET n', { write: i % 2 === 0, origin }).words);
      if (i % 20 === 0) await new Promise(resolve => setImmediate(resolve));
    }
    await node.kill();
    node.start();
    await until('all are answered', () => stand.answered.length === sent.length);
    const writes = stand.answered.filter(one => one.words === 'INCR n').map(one => one.outcome);
    const firstAfter = writes.lastIndexOf(':1\r\n');
    for (const outcome of writes) expect(outcome).toMatch(/^(:\d+\r\n|<Uncertain>)$/);
    // The new process is empty: each INCR that it was given says how many came before.
    const after = writes.slice(firstAfter).filter(outcome => outcome !== '<Uncertain>');
    expect(after).toEqual(after.map((_, i) => `:${i + 1}\r\n`));
    for (const one of stand.answered) if (one.words === 'GET n') expect(one.outcome).toMatch(/^(\$|<ReadLost>)/);
  });

  it('counts each command whose wait for a killed node was in vain, and none that was answered', async () => {
    const stand = startLane(node.target, { holdMs: 1000 });
    await until('it is ready', () => stand.lane.ready);
    const answered = stand.send('GET k');
    await until('it is answered', () => answered.outcome !== null);
    await node.kill();
    await until('the lane has noticed', () => !stand.lane.ready);
    const held = [stand.send('SET k 1', { write: true }), stand.send('GET k')];
    stand.lane.sweep(performance.now());
    expect(stand.cells.expired).toBe(0);
    stand.lane.sweep(performance.now() + 2000);
    expect(held.map(one => one.outcome)).toEqual(['<Down>', '<Down>']);
    expect(stand.cells.expired).toBe(2);
    node.start();
    stand.lane.connect();
    await until('it is ready again', () => stand.lane.ready);
  });

  it('is not let in to a replica, nor to another incarnation than expected', async () => {
    const replica = new Node(await freePorts(1), ['--replicaof', '127.0.0.1', String(node.port)]);
    replica.start();
    try {
      const stand = startLane(replica.target);
      stand.lane.connect();
      await until('it was refused', () => stand.problems.some(problem => problem.includes('a replica, not a primary')));
      const other = startLane({ ...node.target, runId: 'f'.repeat(40) });
      await until('it was refused', () => other.problems.some(problem => problem.includes('another incarnation')));
      expect([stand.lane.ready, other.lane.ready]).toEqual([false, false]);
    } finally {
      await replica.stop();
    }
  });

  it('is told why its login was refused', async () => {
    const stand = startLane({ ...node.target, username: 'nobody', password: 'wrong' });
    await until('it was refused', () => stand.problems.length > 0);
    expect(stand.problems[0]).toMatch(/refused the login: WRONGPASS/);
  });
});
