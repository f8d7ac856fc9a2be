import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type {
  Call,
  CallFailure,
  CallOutcome,
  Observation,
  Outcome,
  Reply,
} from '../../../src/supervisor/core/effect.ts';
import { applyPublish, Engine, type EngineSettings } from '../../../src/supervisor/core/engine.ts';
import { parseNodeReport, reportCommand } from '../../../src/supervisor/core/node-report.ts';
import {
  ADMIN_USER,
  passwordHash,
  proxyUser,
  pulledSetName,
  supervisorUser,
  userPassword,
} from '../../../src/topology/credentials.ts';
import type { Topology, TopologyShard } from '../../../src/topology/snapshot.ts';
import { HANG_MS } from '../../support/patience.ts';
import { freePorts } from '../../support/ports.ts';

/**
 * The engine over real redis-server processes, by a driver that is as small as can be: it proves that the commands which
 * the engine sends do what the engine believes. The supervisor's own acting half is tested elsewhere.
 */
const SECRET = 'a secret of the test';
export const CLUSTER = 'real';

export const TEST_SETTINGS: EngineSettings = {
  detect: { everyMs: 100, crashedMs: 200, hungMs: 1500 },
  rebuild: { parallel: 1, maxLagBytes: 65536 },
  move: {
    keysPerSecond: 20_000,
    workPercent: 50,
    portionKeys: 1000,
    bigKeyBytes: 1_000_000,
    stallMs: 100,
    addedLatencyMs: 5,
  },
  nodeSettings: {},
  keepDefaultUser: false,
  inspectUser: true,
  replicaReads: true,
  copies: {},
};

export class RealNode {
  readonly port: number;
  readonly id: string;
  readonly #directory: string;
  #process: ChildProcess | null = null;

  constructor(id: string, port: number) {
    this.id = id;
    this.port = port;
    this.#directory = mkdtempSync(join(tmpdir(), `ringside-core-${id}-`));
  }

  async start(...more: string[]): Promise<void> {
    const options = [
      '--port',
      String(this.port),
      '--dir',
      this.#directory,
      '--save',
      '',
      '--bind',
      '127.0.0.1',
      '--repl-diskless-sync-delay',
      '0',
    ];
    this.#process = spawn('redis-server', [...options, ...more], { stdio: 'ignore' });
    for (const endMs = performance.now() + HANG_MS; performance.now() < endMs; ) {
      const redis = quiet(this.port);
      try {
        await redis.connect();
        await redis.ping().catch(() => 'NOAUTH');
        return;
      } catch {
        await new Promise(resolve => setTimeout(resolve, 10));
      } finally {
        redis.disconnect();
      }
    }
    throw new Error(`redis-server on ${this.port} does not answer`);
  }

  signal(name: NodeJS.Signals): void {
    this.#process?.kill(name);
  }

  async kill(): Promise<void> {
    const running = this.#process;
    this.#process = null;
    if (running === null || running.exitCode !== null || running.signalCode !== null) return;
    const gone = new Promise(resolve => running.once('exit', resolve));
    running.kill('SIGKILL');
    await gone;
  }

  get hasEnded(): boolean {
    return this.#process === null || this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** With nothing on disk. */
  async restartEmpty(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
    mkdirSync(this.#directory);
    await this.start();
  }

  async end(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

export function quiet(port: number, username?: string, password?: string): Redis {
  const redis = new Redis({
    host: '127.0.0.1',
    port,
    protocol: 2,
    lazyConnect: true,
    retryStrategy: () => null,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    disableClientInfo: true,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  });
  redis.on('error', () => {});
  return redis;
}

export const password = (user: string, incarnation: string): string => userPassword(SECRET, user, incarnation);

/** A leader: probes, acts, publishes into a variable. */
export class RealLeader {
  engine: Engine;
  readonly notes: string[] = [];
  topology: Topology;
  readonly #term: number;
  readonly #ports: ReadonlyMap<string, number>;
  readonly #connections = new Map<string, Promise<Redis>>();
  readonly #timers: NodeJS.Timeout[] = [];
  #stopped = false;

  constructor(topology: Topology, term: number, settings: EngineSettings = TEST_SETTINGS) {
    this.#term = term;
    this.topology = topology;
    this.#ports = new Map(topology.nodes.map(node => [node.id, node.port]));
    const credentials = {
      password,
      hash: passwordHash,
      pulledSet: (number: number) => pulledSetName(SECRET, CLUSTER, number),
    };
    this.engine = new Engine({ term, topology, settings, credentials, nowMs: performance.now() });
    this.#timers.push(setInterval(() => this.#turn(), 10));
    for (const node of topology.nodes) {
      this.#timers.push(setInterval(() => void this.#probe(node.id), settings.detect.everyMs));
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const connection of this.#connections.values()) connection.then(redis => redis.disconnect()).catch(() => {});
  }

  async until(what: string, isSo: () => boolean, withinMs = HANG_MS): Promise<void> {
    const endMs = performance.now() + withinMs;
    while (!isSo()) {
      if (performance.now() > endMs) throw new Error(`not within ${withinMs} ms: ${what}\n${this.story()}`);
      await new Promise(resolve => setTimeout(resolve, 5));
    }
  }

  story(): string {
    return [
      ...this.notes,
      JSON.stringify(this.engine.status(performance.now()).shards),
      JSON.stringify(this.topology.shards),
    ].join('\n');
  }

  #turn(): void {
    if (this.#stopped) return;
    this.engine.tick(performance.now());
    for (const { id, effect } of this.engine.takeEffects()) {
      if (effect.kind === 'note') this.notes.push(`${performance.now().toFixed(0)} ${effect.event}: ${effect.text}`);
      else if (effect.kind === 'call') void this.#call(effect).then(outcome => this.#complete(id, outcome));
      else {
        this.topology = applyPublish(this.topology, effect, this.#term);
        this.notes.push(`${performance.now().toFixed(0)} published: ${effect.why}`);
        queueMicrotask(() => this.#complete(id, { ok: true }));
      }
    }
  }

  #complete(id: number, outcome: Outcome): void {
    if (this.#stopped) return;
    if ('why' in outcome) this.notes.push(`  call failed: ${outcome.why} ${outcome.text}`);
    this.engine.complete(id, outcome, performance.now());
    this.#turn();
  }

  async #probe(nodeId: string): Promise<void> {
    const observation = await this.#look(nodeId);
    if (this.#stopped) return;
    this.engine.observe(nodeId, observation, performance.now());
    this.#turn();
  }

  async #look(nodeId: string): Promise<Observation> {
    const port = this.#ports.get(nodeId) ?? 0;
    const redis = await this.#any(nodeId, port);
    if (typeof redis === 'string') return { kind: 'refused', text: redis };
    try {
      const [command, ...sections] = reportCommand;
      return { kind: 'report', report: parseNodeReport(String(await within(redis.call(command, ...sections), 200))) };
    } catch (error) {
      const text = String(error);
      this.#connections.delete(`${nodeId} probe`);
      redis.disconnect();
      if (text.includes('late')) return { kind: 'silent', text };
      return text.includes('BUSY') ? { kind: 'busy', text } : { kind: 'refused', text };
    }
  }

  /** As the admin where there is one, else as the settings say. */
  async #any(nodeId: string, port: number): Promise<Redis | string> {
    const key = `${nodeId} probe`;
    try {
      const admin = this.#open(key, port, ADMIN_USER, password(ADMIN_USER, CLUSTER));
      return await within(admin, 200);
    } catch (error) {
      this.#connections.delete(key);
      if (!String(error).includes('WRONGPASS')) return String(error);
    }
    const plain = quiet(port);
    try {
      await plain.connect();
      return plain;
    } catch (error) {
      return String(error);
    }
  }

  #open(key: string, port: number, user: string | null, secret: string): Promise<Redis> {
    const known = this.#connections.get(key);
    if (known !== undefined) return known;
    const opened = (async () => {
      const redis = quiet(port);
      await redis.connect();
      redis.once('close', () => this.#connections.delete(key));
      if (user !== null) await redis.auth(user, secret);
      return redis;
    })();
    this.#connections.set(key, opened);
    opened.catch(() => this.#connections.delete(key));
    return opened;
  }

  async #call({ nodeId, runId, as, commands, limitMs, binary = false }: Call): Promise<CallOutcome> {
    const key = `${nodeId} ${runId} ${as}`;
    const port = this.#ports.get(nodeId) ?? 0;
    const user = as === 'term' ? supervisorUser(this.#term) : ADMIN_USER;
    const isNew = !this.#connections.has(key);
    try {
      const secret = password(user, as === 'term' ? runId : CLUSTER);
      const redis = await within(this.#open(key, port, as === 'access' ? null : user, secret), limitMs);
      if (isNew) {
        const info = await within(
          redis.info('server').catch((error: Error) => error.message),
          limitMs,
        );
        // A node that is busy says nothing of itself; but the user of this term has a password of this incarnation.
        if (!info.includes(`run_id:${runId}`) && !(as === 'term' && info.startsWith('BUSY')))
          return failed('stranger', 'another incarnation');
      }
      const replies = await within(
        Promise.all(commands.map(([name = '', ...rest]) => ask(redis, name, rest, binary))),
        limitMs,
      );
      return { ok: true, replies };
    } catch (error) {
      const text = String(error);
      void this.#connections
        .get(key)
        ?.then(redis => redis.disconnect())
        .catch(() => {});
      this.#connections.delete(key);
      if (/WRONGPASS|NOAUTH|NOPERM/.test(text)) return failed('denied', text);
      return failed(text.includes('late') ? 'silent' : 'unreachable', text);
    }
  }
}

async function ask(redis: Redis, name: string, rest: readonly string[], binary: boolean): Promise<Reply> {
  try {
    if (!binary) return (await redis.call(name, ...rest)) as Reply;
    return latin1(await redis.callBuffer(name, ...rest.map(word => Buffer.from(word, 'latin1'))));
  } catch (error) {
    if (error instanceof Error && error.name === 'ReplyError') return { error: error.message };
    throw error;
  }
}

function latin1(reply: unknown): Reply {
  if (reply instanceof Buffer) return reply.toString('latin1');
  return Array.isArray(reply) ? reply.map(latin1) : (reply as Reply);
}

function failed(why: CallFailure, text: string): CallOutcome {
  return { ok: false, why, text };
}

function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('late')), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** One shard `s1` of these nodes; further ones are spares. */
export async function realNodes(members: number, spares = 0): Promise<{ nodes: RealNode[]; topology: Topology }> {
  const first = await freePorts(members + spares);
  const nodes = Array.from({ length: members + spares }, (_, i) => new RealNode(`n${i + 1}`, first + i));
  const shard = { name: 's1', weight: 1, epoch: 1, primary: 'n1', inSync: [], joining: null, paused: false };
  return {
    nodes,
    topology: {
      cluster: CLUSTER,
      version: 1,
      term: 0,
      ring: { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 256 } as Topology['ring'],
      shards: [{ ...shard, nodes: nodes.slice(0, members).map(node => node.id) }],
      nodes: nodes.map(({ id, port }, i) => ({
        id,
        host: '127.0.0.1',
        port,
        zone: `z${i}`,
        runId: null,
        draining: false,
      })),
      move: null,
    },
  };
}

/** Of a topology that has one shard. */
export function onlyShard(leader: RealLeader): TopologyShard {
  const [only] = leader.topology.shards;
  if (only === undefined) throw new Error('no shard');
  return only;
}

/** What a client asks, on the recorded primary, as a proxy would: with the user of the epoch. */
export async function asProxy<T>(leader: RealLeader, use: (redis: Redis) => Promise<T>): Promise<T> {
  const { epoch, primary } = onlyShard(leader);
  const node = leader.topology.nodes.find(one => one.id === primary);
  const user = proxyUser(epoch);
  const redis = quiet(node?.port ?? 0, user, password(user, node?.runId ?? ''));
  try {
    await redis.connect();
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}
