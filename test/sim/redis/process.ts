import type { End, Network } from '../network.ts';
import { Actor, type World } from '../world.ts';
import { commandOf } from './commands.ts';
import { ServerConnection } from './connection.ts';
import { DataSet } from './data-set.ts';
import { type Entry, History } from './history.ts';
import { fullCopy, ReplicaLink } from './replica-link.ts';
import { Users } from './users.ts';

/**
 * One incarnation of a simulated Redis node: one thread that works in rounds, as the real one does.
 *
 * A round handles what has come in, connection by connection; at its end connections of deleted users are closed, those
 * who wait for copies are answered, and copies are asked to confirm. What a node loses with its process is what a
 * process of Redis loses: its users, its settings, its offsets unless a saved file gives them back.
 */
export class RedisProcess {
  readonly world: World;
  readonly actor: Actor;
  readonly host: string;
  readonly port: number;
  readonly runId: string;
  readonly users = new Users();
  readonly config: Map<string, string>;
  readonly history: History;
  readonly loadFailure: number;
  data: DataSet;
  loading = false;
  /** What it follows; null: it is a primary. */
  following: ReplicaLink | null = null;
  /** Writes are held back until then. */
  pausedUntilMs = 0;
  /** Nothing more can be restored into it. */
  isFull = false;
  /** Why it answers `-BUSY`; null: it does not. */
  busy: 'read' | 'write' | null = null;
  readonly connections = new Set<ServerConnection>();
  readonly #network: Network;
  readonly #backlogLimit: number;
  readonly #inbox: (() => void)[] = [];
  #roundComing = false;
  #askCopies = false;
  #nextId = 1;
  #cronRounds = 0;

  constructor(network: Network, life: Life) {
    const { world } = network;
    this.world = world;
    this.#network = network;
    this.host = life.host;
    this.port = life.port;
    this.actor = new Actor(world, life.name);
    this.runId = life.runId ?? world.hexName();
    this.config = new Map([...DEFAULTS, ['port', String(life.port)]]);
    this.history = new History(world.hexName());
    this.loadFailure = life.loadFailure;
    this.#backlogLimit = life.backlogBytes;
    this.data = life.saved?.data.clone() ?? new DataSet();
    if (life.saved !== null) this.#rememberSaved(life.saved);
    const listener = { owner: this.actor, accept: (end: End) => this.#accept(end) };
    network.listen(`${this.host}:${this.port}`, listener);
    this.actor.onEnd(() => network.unlisten(`${this.host}:${this.port}`, listener));
    this.world.afterFor(this.actor, this.world.between(0, 1000), () => this.#cron());
  }

  get isPrimary(): boolean {
    return this.following === null;
  }

  get isPaused(): boolean {
    return this.world.nowMs < this.pausedUntilMs;
  }

  get replicas(): ServerConnection[] {
    return [...this.connections].filter(one => one.replica !== null && !one.end.isClosed);
  }

  get backlogLimit(): number {
    return Math.min(this.#backlogLimit, Number(this.config.get('repl-backlog-size')));
  }

  tell(text: string): void {
    this.world.tell(`${this.actor.name} ${text}`);
  }

  /** A write that happens here first, which goes to the copies; returns the offset after it. */
  write(command: readonly string[]): number {
    const entry = this.history.write(command);
    if (entry === null) return this.history.offset;
    this.history.take(entry, this.backlogLimit);
    this.#forward(entry);
    return entry.end;
  }

  /** A write that comes from the primary. */
  applyStream(entry: Entry): void {
    this.data.apply(entry.command);
    this.history.take(entry, this.backlogLimit);
    this.#forward(entry);
  }

  /** Throws everything away, as before a whole copy is loaded. */
  empty(): void {
    this.data = new DataSet();
    this.tell('is emptied');
    this.onEmptied();
  }

  /** All keys go, by order. */
  flush(): void {
    this.data.flush();
    this.tell('is flushed');
    this.onEmptied();
  }

  /** Writes the file that a later start may read. */
  onSave: () => void = () => {};

  /** For whoever watches what is lost. */
  onEmptied: () => void = () => {};

  /** `WAIT` counts links, not copies, of whatever user. */
  confirmedBy(offset: number): number {
    let count = 0;
    for (const { replica, end } of this.connections) {
      if (replica?.online && replica.confirmed >= offset && !end.isClosed) count += 1;
    }
    return count;
  }

  askCopies(): void {
    this.#askCopies = true;
  }

  dropReplicas(): void {
    for (const one of this.replicas) this.drop(one);
  }

  /** Closes a connection at once. */
  drop(connection: ServerConnection): void {
    this.connections.delete(connection);
    connection.end.close();
  }

  follow(host: string, port: number): void {
    if (this.following?.host === host && this.following.port === port) return;
    const canContinue = this.following === null || this.following.canContinue;
    if (this.following === null && !this.history.hasBacklog) this.history.openBacklog();
    this.following?.leave();
    this.tell(`follows ${host}:${port} from ${this.history.offset}`);
    this.following = new ReplicaLink(this, this.#network, host, port, canContinue);
    for (const one of this.connections) {
      if (one.wait === null) continue;
      one.reply({ error: 'UNBLOCKED force unblock from blocking operation, instance state changed' }, this.world.nowMs);
      this.drop(one);
    }
  }

  promote(): void {
    if (this.following === null) return;
    this.following.leave();
    this.following = null;
    this.history.shift(this.world.hexName());
    this.tell(`is a primary from ${this.history.offset}, history ${this.history.id.slice(0, 6)}`);
    this.dropReplicas();
  }

  /** A replica's link begins with what it lacks, or with a whole copy. */
  serveReplica(connection: ServerConnection, id: string, next: string): void {
    const port = connection.listeningPort;
    const lacking = id === '?' ? null : this.history.since(id, Number(next) - 1);
    connection.replica = { confirmed: -1, online: lacking !== null, port, heardMs: this.world.nowMs };
    if (lacking !== null) {
      connection.reply(`CONTINUE ${this.history.id}`, this.world.nowMs);
      for (const entry of lacking) connection.end.send({ kind: 'other', body: entry });
      return;
    }
    if (!this.history.hasBacklog) {
      this.history.restart(this.isPrimary ? this.world.hexName() : this.history.id, this.history.offset);
      this.history.openBacklog();
    }
    this.world.afterFor(this.actor, 1000 * Number(this.config.get('repl-diskless-sync-delay')), () => {
      this.#sendCopy(connection);
    });
  }

  #sendCopy(connection: ServerConnection): void {
    if (connection.end.isClosed || connection.replica === null) return;
    const { id, offset } = this.history;
    const copy = fullCopy(this.data, id, offset);
    connection.reply(`FULLRESYNC ${id} ${offset}`, this.world.nowMs);
    const sinceThen: Entry[] = [];
    this.#copying.set(connection, sinceThen);
    this.world.afterFor(this.actor, this.world.between(2, 60), () => {
      this.#copying.delete(connection);
      if (connection.end.isClosed || connection.replica === null) return;
      connection.end.send({ kind: 'other', body: copy });
      for (const entry of sinceThen) connection.end.send({ kind: 'other', body: entry });
      connection.replica.online = true;
    });
  }

  /** What is written while a copy is being sent. */
  readonly #copying = new Map<ServerConnection, Entry[]>();

  #forward(entry: Entry): void {
    for (const one of this.connections) {
      if (one.replica === null) continue;
      const sinceThen = this.#copying.get(one);
      if (sinceThen !== undefined) sinceThen.push(entry);
      else if (one.replica.online) one.end.send({ kind: 'other', body: entry });
    }
  }

  #rememberSaved({ id, offset }: Saved): void {
    if (id === null) return;
    this.history.previousId = id;
    this.history.offset = offset;
    this.history.previousEnd = offset + 1;
    this.history.openBacklog();
  }

  #accept(end: End): void {
    const connection = new ServerConnection(this.#nextId++, end, this.users.needsNoLogin ? 'default' : null);
    this.connections.add(connection);
    end.handlers = {
      onOpen: () => {},
      onMessage: message => {
        if (message.kind === 'command') this.#enqueue(() => this.#take(connection, message.args));
      },
      onClose: () => this.#enqueue(() => void this.connections.delete(connection)),
    };
  }

  #enqueue(work: () => void): void {
    this.#inbox.push(work);
    if (this.#roundComing) return;
    this.#roundComing = true;
    this.world.afterFor(this.actor, this.world.between(0.005, 0.06), () => this.#round());
  }

  #round(): void {
    this.#roundComing = false;
    for (const work of this.#inbox.splice(0)) work();
    if (!this.isPaused) this.#resumePostponed();
    this.#answerWaiters();
    for (const one of [...this.connections]) if (one.doomed) this.drop(one);
    if (this.#askCopies && !this.isPaused) {
      this.#askCopies = false;
      if (this.isPrimary && this.replicas.length > 0) this.write(['REPLCONF', 'GETACK', '*']);
    }
  }

  #take(connection: ServerConnection, args: readonly string[]): void {
    if (connection.end.isClosed) return;
    if (connection.wait !== null || connection.postponed) connection.behind.push(args);
    else this.#execute(connection, args);
  }

  #execute(connection: ServerConnection, args: readonly string[]): void {
    connection.lastCommand = args[0] ?? '';
    const outcome = commandOf(this, connection, args);
    if (outcome === 'postpone') {
      connection.postponed = true;
      connection.behind.unshift(args);
    } else if (outcome === 'wait') {
      this.askCopies();
      const { wait } = connection;
      if (wait !== null && wait.untilMs < Number.POSITIVE_INFINITY) {
        this.world.afterFor(this.actor, wait.untilMs - this.world.nowMs, () => this.#enqueue(() => {}));
      }
    } else if (outcome !== 'none') connection.reply(outcome.reply, this.world.nowMs);
  }

  #resumePostponed(): void {
    for (const one of this.connections) {
      if (!one.postponed) continue;
      one.postponed = false;
      this.#goOn(one);
    }
  }

  #answerWaiters(): void {
    for (const one of this.connections) {
      const { wait } = one;
      if (wait === null || one.doomed) continue;
      const count = this.confirmedBy(wait.offset);
      if (count < wait.need && this.world.nowMs < wait.untilMs) continue;
      one.wait = null;
      one.reply(count, this.world.nowMs);
      this.#goOn(one);
    }
  }

  #goOn(connection: ServerConnection): void {
    for (const args of connection.behind.splice(0)) this.#take(connection, args);
  }

  /** Once a second: pings, retries, time-outs. */
  #cron(): void {
    this.world.afterFor(this.actor, 1000, () => this.#cron());
    this.#cronRounds += 1;
    const timeoutMs = 1000 * Number(this.config.get('repl-timeout'));
    this.following?.cron(timeoutMs);
    for (const one of this.replicas) {
      if (one.replica !== null && this.world.nowMs - one.replica.heardMs > timeoutMs) this.drop(one);
    }
    const everySeconds = Number(this.config.get('repl-ping-replica-period'));
    if (this.isPrimary && this.#cronRounds % everySeconds === 0 && this.replicas.length > 0) this.write(['PING']);
    this.#enqueue(() => {});
  }
}

export interface Life {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** A name that is not new: only for trying out what happens without new names. */
  readonly runId: string | null;
  readonly saved: Saved | null;
  /** How likely it is that a whole copy cannot be loaded. */
  readonly loadFailure: number;
  readonly backlogBytes: number;
}

/** What a saved file gives back: the data, and the history that it was of. */
export interface Saved {
  readonly data: DataSet;
  readonly id: string | null;
  readonly offset: number;
}

const DEFAULTS: readonly (readonly [string, string])[] = [
  ['masteruser', ''],
  ['masterauth', ''],
  ['databases', '16'],
  ['repl-timeout', '60'],
  ['repl-ping-replica-period', '10'],
  ['repl-diskless-sync', 'yes'],
  ['repl-diskless-sync-delay', '5'],
  ['repl-diskless-sync-max-replicas', '0'],
  ['repl-diskless-load', 'disabled'],
  ['repl-backlog-size', '1048576'],
  ['repl-backlog-ttl', '3600'],
  ['replica-read-only', 'yes'],
  ['replica-serve-stale-data', 'yes'],
  ['replica-ignore-maxmemory', 'yes'],
  ['replica-priority', '100'],
  ['client-output-buffer-limit', 'normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60'],
  ['proto-max-bulk-len', '536870912'],
  ['maxclients', '10000'],
  ['maxmemory', '0'],
  ['maxmemory-policy', 'noeviction'],
  ['appendonly', 'no'],
  ['save', ''],
  ['min-replicas-to-write', '0'],
  ['min-replicas-max-lag', '10'],
  ['aclfile', ''],
  ['cluster-enabled', 'no'],
  ['timeout', '0'],
  ['tcp-keepalive', '300'],
];
