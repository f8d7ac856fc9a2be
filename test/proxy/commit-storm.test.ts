/**
 * Anything happens to a shard while many clients write: what a client was told must be true at the end.
 *
 * Order on the sockets is the machine's, so a seed repeats the plan and not the run:
 * RINGSIDE_SEED=n npx vitest run test/proxy/commit-storm.test.ts
 */
import { expect, test } from 'vitest';
import { Random } from '../../src/base/random.ts';
import { encodeCommand } from '../../src/resp/encoder.ts';
import type { Lane } from '../../src/upstream/lane.ts';
import {
  acquireRequest,
  Failure,
  type Origin,
  type ReplyReceiver,
  type Request,
  releaseRequest,
} from '../../src/upstream/request.ts';
import { EFFORT, SEED } from '../fuzz/seed.ts';
import { until } from '../upstream/lane-stand.ts';
import { ShardStand } from './commit-stand.ts';
import { type Copy, StormPrimary } from './commit-storm.ts';

const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

/** One client: a pipeline of commands on one lane, whose answers it checks. */
class Writer implements Origin, ReplyReceiver {
  lostMark = 0;
  sent = 0;
  readonly name: string;
  readonly acknowledged: string[] = [];
  readonly uncertain: string[] = [];
  readonly refused: string[] = [];
  readonly wrong: string[] = [];
  readonly details: string[] = [];
  readonly #due = new Map<Request, string>();

  readonly #onAcknowledged: (id: string) => void;

  constructor(name: string, onAcknowledged: (id: string) => void = () => {}) {
    this.name = name;
    this.#onAcknowledged = onAcknowledged;
  }

  get due(): number {
    return this.#due.size;
  }

  send(lane: Lane, kind: 'W' | 'B' | 'R'): void {
    this.sent += 1;
    const id = `${this.name}-${this.sent}`;
    const request = acquireRequest(this, this, kind !== 'R', performance.now());
    request.skip = kind === 'B' ? 2 : 0;
    this.#due.set(request, kind + id);
    const bytes = encodeCommand([kind, id]);
    lane.send(request, bytes, 0, bytes.length);
  }

  onReply(request: Request, bytes: Buffer, from: number, to: number): void {
    const [kind, id] = this.#take(request);
    const reply = bytes.toString('latin1', from, to);
    if (reply !== `+${id}\r\n`) this.wrong.push(`${id} was answered ${reply}`);
    if (kind === 'R') return;
    this.acknowledged.push(id);
    this.#onAcknowledged(id);
  }

  onSkipped(): void {}

  onFailure(request: Request, failure: Failure, detail: string): void {
    const [kind, id] = this.#take(request);
    this.details.push(`${id}: ${failure} ${detail}`);
    if (kind === 'R') return;
    if (failure === Failure.Uncertain) this.uncertain.push(id);
    else this.refused.push(id);
  }

  #take(request: Request): [string, string] {
    const due = this.#due.get(request) ?? '?nobody';
    this.#due.delete(request);
    releaseRequest(request);
    return [due[0] as string, due.slice(1)];
  }
}

class Storm {
  readonly random: Random;
  readonly stand: ShardStand;
  readonly primaries: StormPrimary[];
  primary: StormPrimary;
  epoch = 1;
  #named = 0;
  /** In sync. */
  copies: Copy[];

  constructor(random: Random, first: StormPrimary) {
    this.random = random;
    this.primary = first;
    this.primaries = [first];
    this.copies = [this.makeCopy(0), this.makeCopy(0)];
    first.copies = this.copies;
    first.epochs.add(1);
    this.stand = new ShardStand(
      { epoch: 1, primary: first.address, inSync: this.copies.map(copy => copy.address), joining: null, paused: false },
      { writeMs: 400, holdMs: 400 },
    );
  }

  makeCopy(offset: number): Copy {
    this.#named += 1;
    const nodeId = `c${this.#named}`;
    const address = { nodeId, host: '127.0.0.1', port: 1, zone: '', runId: nodeId.padEnd(40, '0') };
    return { address, offset, linked: true };
  }

  /** Whether the primary and every copy in sync have a write (I1). */
  holds(id: string): boolean {
    const written = this.primary.history.findLast(one => one.id === id);
    return written !== undefined && this.copies.every(copy => copy.offset >= written.end);
  }

  publish(change: Parameters<ShardStand['follow']>[0] = {}): void {
    const inSync = this.copies.map(copy => copy.address);
    this.stand.follow({
      epoch: this.epoch,
      primary: this.primary.address,
      inSync,
      joining: null,
      paused: false,
      ...change,
    });
  }

  pause(mostMs: number): Promise<unknown> {
    return sleep(this.random.next() * mostMs);
  }

  /** R2. */
  async shrink(): Promise<void> {
    if (this.copies.length < 1) return;
    const [gone] = this.copies.splice(Math.floor(this.random.next() * this.copies.length), 1) as [Copy];
    // It has stood still for a while before anybody notices.
    gone.linked = false;
    await this.pause(60);
    this.primary.copies = this.primary.copies.filter(copy => copy !== gone);
    await this.pause(10);
    this.publish();
  }

  /** R3. */
  async grow(): Promise<void> {
    this.epoch += 1;
    this.primary.epochs.add(this.epoch);
    this.publish({ joining: 'new' });
    await this.leaving();
    this.primary.fence(this.epoch);
    const joined = this.makeCopy(this.primary.offset);
    this.primary.copies = [...this.primary.copies, joined];
    await this.pause(20);
    if (this.random.next() < 0.2) {
      this.primary.copies = this.primary.copies.filter(copy => copy !== joined);
      return this.publish();
    }
    this.copies = [...this.copies, joined];
    this.publish();
  }

  /** R4: the old primary may live on, heard by this proxy alone. */
  async failOver(): Promise<void> {
    if (this.copies.length === 0) return;
    const old = this.primary;
    const livesOn = this.random.next() < 0.5;
    if (!livesOn) await old.stop();
    for (const copy of this.copies) copy.linked = false;
    await this.pause(100);
    const at = Math.max(...this.copies.map(copy => copy.offset));
    const rest = [...this.copies].sort((a, b) => b.offset - a.offset).slice(1);
    await this.promote(at, rest);
    if (livesOn) old.fence(this.epoch);
    if (livesOn) await old.stop();
  }

  /** R5. */
  async switchOver(): Promise<void> {
    if (this.copies.length === 0) return;
    const old = this.primary;
    this.epoch += 1;
    this.publish({ paused: true });
    await this.leaving();
    old.fence(this.epoch);
    for (const copy of this.copies) {
      copy.offset = old.offset;
      copy.linked = false;
    }
    await this.promote(old.offset, this.copies.slice(1));
    await old.stop();
  }

  async promote(at: number, rest: readonly Copy[]): Promise<void> {
    this.epoch += 1;
    this.primary = await StormPrimary.start(`p${this.epoch}`, this.primary, at, this.random);
    this.primaries.push(this.primary);
    this.copies = rest.map(({ address }) => ({ address, offset: at, linked: true }));
    this.primary.copies = this.copies;
    this.primary.epochs.add(this.epoch);
    this.publish();
  }

  /** Until the proxy has left the older epochs, or the grace period is over. */
  async leaving(): Promise<void> {
    for (const endMs = performance.now() + 200; performance.now() < endMs; ) {
      if (this.primary.olderThan(this.epoch) === 0) return;
      await sleep(2);
    }
  }
}

/** What a storm did to its clients; `steps` are taken one after another while all of them write. */
async function weather(seed: number, steps: (storm: Storm, draw: number) => Promise<void> | void) {
  const random = new Random(seed);
  const storm = new Storm(random, await StormPrimary.start('p1', null, 0, random));
  const { stand } = storm;
  const { shard } = stand;
  const early: string[] = [];
  const onAcknowledged = (id: string): void => {
    if (!storm.holds(id)) early.push(id);
  };
  const writers = Array.from({ length: 12 }, (_, i) => new Writer(`w${i}`, onAcknowledged));
  const laneOf = (i: number) => (i % 3 === 0 ? shard.lane(0, 2) : i % 3 === 1 ? shard.lane(1, 2) : shard.lane(0, 3));
  const load = setInterval(() => {
    writers.forEach((writer, i) => {
      for (let n = Math.floor(random.next() * 4); n > 0 && writer.due < 8; n -= 1) {
        const draw = random.next();
        writer.send(laneOf(i), draw < 0.2 ? 'R' : draw < 0.4 ? 'B' : 'W');
      }
    });
  }, 2);
  try {
    for (let step = 0; step < 14; step += 1) {
      await storm.pause(60);
      await steps(storm, random.next());
    }
    clearInterval(load);
    await until('every client has heard of every command', () => writers.every(writer => writer.due === 0));
    const after = new Writer('after');
    after.send(shard.lane(0, 2), 'W');
    await until('it serves', () => after.due === 0);
    expect([after.acknowledged, after.details]).toEqual([['after-1'], []]);
    await until('nothing is held', () => stand.pool.heldBytes === 0);
    return { writers, early, history: storm.primary.history.map(written => written.id) };
  } finally {
    clearInterval(load);
    stand.close();
    for (const primary of storm.primaries) await primary.stop();
  }
}

/** What the clients were told, against what is there. */
function liesTold({ writers, early, history }: Awaited<ReturnType<typeof weather>>) {
  const times = new Map<string, number>();
  for (const id of history) times.set(id, (times.get(id) ?? 0) + 1);
  const isOrdered = ({ name }: Writer): boolean => {
    const own = history.filter(id => id.startsWith(`${name}-`)).map(id => Number(id.split('-')[1]));
    return own.every((n, i) => i === 0 || n > (own[i - 1] as number));
  };
  return {
    early,
    wrong: writers.flatMap(writer => writer.wrong),
    lost: writers.flatMap(writer => writer.acknowledged.filter(id => !times.has(id))),
    doubled: [...times].filter(([, count]) => count > 1).map(([id]) => id),
    denied: writers.flatMap(writer => writer.refused.filter(id => times.has(id))),
    disordered: writers.filter(writer => !isOrdered(writer)).map(writer => writer.name),
  };
}

const NONE = { early: [], wrong: [], lost: [], doubled: [], denied: [], disordered: [] };

for (let round = 0; round < 3 * EFFORT; round += 1) {
  const seed = SEED + round;
  test(`whatever happens, nobody is told what is not so (seed ${seed})`, { timeout: 60_000 }, async () => {
    const outcome = await weather(seed, (storm, draw) => {
      if (draw < 0.15) return storm.primary.cut(0.5);
      if (draw < 0.35) return storm.shrink();
      if (draw < 0.6 || storm.copies.length === 0) return storm.grow();
      return draw < 0.8 ? storm.failOver() : storm.switchOver();
    });
    expect(liesTold(outcome)).toEqual(NONE);
    expect(outcome.writers.flatMap(writer => writer.acknowledged).length).toBeGreaterThan(100);
  });
}

for (let round = 0; round < EFFORT; round += 1) {
  const seed = SEED + round;
  test(`planned changes, and replicas that come and go, cost nobody an answer (seed ${seed})`, {
    timeout: 60_000,
  }, async () => {
    const outcome = await weather(seed, (storm, draw) => {
      if (draw < 0.3) return storm.shrink();
      return draw < 0.6 || storm.copies.length === 0 ? storm.grow() : storm.switchOver();
    });
    expect(liesTold(outcome)).toEqual(NONE);
    expect(outcome.writers.flatMap(writer => writer.details)).toEqual([]);
  });
}
