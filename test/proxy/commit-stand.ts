/** One shard as the proxy has it, in front of scripted primaries: for what no real node shows on demand. */
import { BufferPool } from '../../src/base/buffer-pool.ts';
import { Random } from '../../src/base/random.ts';
import { Shard } from '../../src/proxy/shard.ts';
import type { PrimaryAddress, ShardState } from '../../src/proxy/shard-state.ts';
import { encodeCommand } from '../../src/resp/encoder.ts';
import { ShardCells } from '../../src/telemetry/proxy-cells.ts';
import type { Lane } from '../../src/upstream/lane.ts';
import type { Sieve } from '../../src/upstream/lane-queue.ts';
import { acquireRequest, Failure, type Request } from '../../src/upstream/request.ts';
import { type SendOptions, Sent, until } from '../upstream/lane-stand.ts';
import { type Link, ScriptedNode } from '../upstream/scripted-node.ts';

/**
 * A primary that counts its offset, and answers WAIT when and as the test says: the last one of a barrier, since the first
 * one always comes back too early here, with none.
 */
export class ScriptedPrimary {
  readonly node: ScriptedNode;
  readonly name: string;
  offset = 1000;
  /** What WAIT answers at once; null: nothing, until `answerWaits`. */
  count: number | null = 2;
  /** Whether ROLE and WAIT are heard and not answered: the node has stopped. */
  frozen = false;
  /** What is answered to the word of a barrier; null: that it was published. */
  refusal: string | null = null;
  /** Commands other than barriers, in the order in which they came. */
  readonly heard: string[] = [];
  readonly waits: { readonly link: Link; readonly words: string }[] = [];
  /** Where a word was published, and no WAIT has come since. */
  readonly #worded = new Set<Link>();
  /** Replies to other commands; null: none. */
  reply: (words: string[]) => string | null = words => (words[0] === 'GET' ? '$1\r\nv\r\n' : '+OK\r\n');

  private constructor(node: ScriptedNode, name: string) {
    this.node = node;
    this.name = name;
  }

  static async start(name: string, info: Record<string, string> = {}): Promise<ScriptedPrimary> {
    const node = await ScriptedNode.start();
    const primary = new ScriptedPrimary(node, name);
    node.info = { ...node.info, run_id: name.padEnd(40, '0'), master_replid: `h-${name}`, ...info };
    Object.defineProperty(node.info, 'master_repl_offset', { enumerable: true, get: () => String(primary.offset) });
    node.answers = (words, link) => primary.#answer(words, link);
    return primary;
  }

  get address(): PrimaryAddress {
    const runId = this.node.info['run_id'] as string;
    return { nodeId: this.name, host: '127.0.0.1', port: this.node.port, zone: this.name, runId };
  }

  /** Connections on which barriers came. */
  get barrierLinks(): number {
    return new Set(this.node.links.filter(link => link.heard.some(words => words.startsWith('WAIT')))).size;
  }

  answerWaits(count: number): void {
    for (const { link } of this.waits.splice(0)) link.say(`:${count}\r\n`);
  }

  /** Breaks every connection. */
  cut(): void {
    for (const { socket } of this.node.links) socket.destroy();
  }

  #answer(words: string[], link: Link): string | null {
    if (this.frozen) return null;
    if (words[0] === 'SPUBLISH') {
      this.#worded.add(link);
      if (this.refusal === null) this.offset += 10;
      return this.refusal ?? ':0\r\n';
    }
    if (words[0] === 'ROLE') return `*3\r\n$6\r\nmaster\r\n:${this.offset}\r\n*0\r\n`;
    if (words[0] === 'WAIT' && this.#worded.delete(link)) return ':0\r\n';
    if (words[0] === 'WAIT') {
      if (this.count !== null) return `:${this.count}\r\n`;
      this.waits.push({ link, words: words.join(' ') });
      return null;
    }
    this.heard.push(words.join(' '));
    if (words[0] !== 'GET') this.offset += 100;
    return this.reply(words);
  }
}

/** Keys that the shard has given away, and the commands that were taken for them. */
class StandSieve implements Sieve {
  version = 1;
  readonly taken: string[] = [];
  readonly #given = new Set<string>();

  give(key: string): void {
    this.version += 1;
    this.#given.add(key);
  }

  stays(_request: Request, bytes: Buffer, from: number, to: number): boolean {
    const words = bytes.toString('latin1', from, to).split('\r\n');
    return !words.some(word => this.#given.has(word));
  }

  take(request: Request, bytes: Buffer): void {
    this.taken.push(
      bytes
        .toString('latin1')
        .split('\r\n')
        .filter(word => /^\w/.test(word))
        .join(' '),
    );
    request.receiver.onFailure(request, Failure.Moved, 'it was given away');
  }
}

export class ShardStand {
  readonly shard: Shard;
  readonly pool = new BufferPool(1e8);
  readonly cells = new ShardCells('s1');
  readonly answered: Sent[] = [];
  readonly left: number[] = [];
  readonly sieve = new StandSieve();
  readonly #sweeper: NodeJS.Timeout;
  #state: ShardState;

  constructor(state: ShardState, settings: { writeMs?: number; holdMs?: number; sweepMs?: number } = {}) {
    this.#state = state;
    this.shard = new Shard(
      's1',
      0,
      state,
      {
        pool: this.pool,
        secure: null,
        secret: 'secret',
        random: new Random(1),
        connectMs: 1000,
        holdMs: settings.holdMs ?? 1000,
        timeoutMs: 1000,
        writeMs: settings.writeMs ?? 2000,
        queueBound: 10_000,
        exclusiveBound: 8,
        sieveOf: () => this.sieve,
        onState: () => {},
        onLeaving: shard => void this.left.push(shard.state.epoch),
        onMoved: () => {},
      },
      this.cells,
    );
    this.#sweeper = setInterval(() => this.shard.sweep(performance.now()), settings.sweepMs ?? 20);
  }

  follow(change: Partial<ShardState>): void {
    this.#state = { ...this.#state, ...change };
    this.shard.follow(this.#state);
  }

  /** `words` of one command, or of several that are one request, with ` | ` between them. */
  send(words: string, options: SendOptions & { lane?: Lane; confirm?: number } = {}): Sent {
    const sent = new Sent(words, this.answered, options.onDone ?? (() => {}));
    const isWrite = options.write ?? !words.startsWith('GET ');
    const request = acquireRequest(sent, options.origin ?? null, isWrite, performance.now());
    if (options.confirm !== undefined) request.confirm = options.confirm;
    request.skip = options.skip ?? 0;
    const bytes = Buffer.concat(words.split(' | ').map(one => encodeCommand(one.split(' '))));
    (options.lane ?? this.shard.lane(0, 2)).send(request, bytes, 0, bytes.length);
    return sent;
  }

  close(): void {
    clearInterval(this.#sweeper);
    this.shard.close();
  }
}

/** Addresses of replicas that no proxy connects to. */
export const COPIES: readonly PrimaryAddress[] = ['c1', 'c2'].map(nodeId => ({
  nodeId,
  host: '127.0.0.1',
  port: 1,
  zone: nodeId,
  runId: nodeId.padEnd(40, '0'),
}));

export const stateOf = (primary: ScriptedPrimary, change: Partial<ShardState> = {}): ShardState => ({
  epoch: 1,
  primary: primary.address,
  inSync: COPIES,
  joining: null,
  paused: false,
  ...change,
});

/** Primaries and shards of one test, which end with it. */
export class Stage {
  readonly #primaries: ScriptedPrimary[] = [];
  readonly #stands: ShardStand[] = [];

  async startPrimary(name: string, info: Record<string, string> = {}): Promise<ScriptedPrimary> {
    const primary = await ScriptedPrimary.start(name, info);
    this.#primaries.push(primary);
    return primary;
  }

  /** A shard whose lane and barriers are logged in, and its primary. */
  async startShard(change: Partial<ShardState> = {}, settings: ConstructorParameters<typeof ShardStand>[1] = {}) {
    const primary = await this.startPrimary('p');
    const stand = this.take(new ShardStand(stateOf(primary, change), settings));
    await until('it is up', () => stand.shard.up);
    return { primary, stand };
  }

  /** The next primary, promoted out of the history of `before` when that had so many bytes. */
  successor(promotedAt: number, name = 'n', before = 'p'): Promise<ScriptedPrimary> {
    return this.startPrimary(name, { master_replid2: `h-${before}`, second_repl_offset: String(promotedAt + 1) });
  }

  take(stand: ShardStand): ShardStand {
    this.#stands.push(stand);
    return stand;
  }

  async end(): Promise<void> {
    for (const stand of this.#stands.splice(0)) stand.close();
    for (const { node } of this.#primaries.splice(0)) await node.stop();
  }
}

export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms));

export const allTold = (...sent: Sent[]): Promise<void> =>
  until('all are answered', () => sent.every(one => one.outcome !== null));
