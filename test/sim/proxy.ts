import {
  confirms,
  dropReadings,
  fateUnder,
  goOn,
  isSameHistory,
  mayAsk,
  needsNone,
  newEra,
  noteReading,
  type Requirement,
  upperBound,
} from '../../src/proxy/commit-rules.ts';
import type { Reply } from '../../src/supervisor/core/effect.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import type { Era } from '../../src/upstream/guard.ts';
import type { History } from '../../src/upstream/login.ts';
import { type Place, PrimaryLink, SimBarrier } from './barrier.ts';
import { errorOf } from './client.ts';
import type { Network } from './network.ts';
import type { Answer, ProxyHabits, Request } from './request.ts';
import type { Actor } from './world.ts';

/**
 * One shard as one proxy of the simulation serves it: the data path's rules (R1), with the judgements of the real one.
 *
 *   waiting ──sent──► sent ──answered──► kept ──confirmed by a barrier──► acknowledged
 *                      └── connection lost ── open, until the next login tells: kept again, waiting again, or uncertain
 */
export class ProxyShard {
  readonly #network: Network;
  readonly #host: string;
  readonly #actor: Actor;
  readonly #name: string;
  readonly #addressOf: (nodeId: string) => string;
  readonly #habits: ProxyHabits;
  #requirement: Requirement = { epoch: 0, required: 0, held: false };
  /** Where commands go now; null: nowhere. */
  #place: Place | null = null;
  #lane: PrimaryLink | null = null;
  #isLeaving = false;
  /** A planned change of primary begins. */
  #isEnding = false;
  #barriers: SimBarrier[] = [];
  #era: Era | null = null;
  #provenEpoch = -1;
  #lastNumber = 0;
  #confirmed = 0;
  #covered = 0;
  /** Whether a command may still be sent to this shard; what may not is handed on (`REPLICATION.md`, M1). */
  belongs: (command: readonly string[]) => boolean = () => true;
  handOn: (request: Request) => void = () => {};
  /** Not sent yet. */
  readonly #waiting: Request[] = [];
  /** Sent, not answered. */
  #sent: Request[] = [];
  /** Answered, not confirmed. */
  #kept: Request[] = [];
  /** Sent on a connection that was lost. */
  #open: Request[] = [];

  constructor(
    network: Network,
    host: string,
    actor: Actor,
    name: string,
    addressOf: (nodeId: string) => string,
    habits: ProxyHabits,
  ) {
    this.#network = network;
    this.#host = host;
    this.#actor = actor;
    this.#name = name;
    this.#addressOf = addressOf;
    this.#habits = habits;
    this.#sweep();
  }

  /** Everything that is under way, and why it stands; for a failing seed. */
  describe(): string {
    const { epoch, required, held } = this.#requirement;
    return `epoch ${epoch} required ${required} held ${held} lane ${this.#lane?.isReady} waiting ${this.#waiting.length} sent ${this.#sent.length} kept ${this.#kept.length} open ${this.#open.length}`;
  }

  submit(command: readonly string[], timeoutMs: number, onDone: (answer: Answer) => void): void {
    const untilMs = this.#network.world.nowMs + timeoutMs;
    this.#waiting.push({ command, untilMs, onDone, lower: -1, number: 0, era: null, reply: null, saidMs: 0 });
    this.#go();
  }

  /** Where this shard's primary is, in its present epoch; null: nowhere. */
  get place(): Place | null {
    return this.#place;
  }

  get epoch(): number {
    return this.#requirement.epoch;
  }

  follow(topology: Topology): void {
    const shard = topology.shards.find(one => one.name === this.#name);
    const primary = topology.nodes.find(node => node.id === shard?.primary);
    if (shard === undefined || primary === undefined) return;
    this.#isEnding = shard.paused && this.#place !== null && this.#place.runId === primary.runId;
    if (this.#isEnding) return this.#go();
    const before = this.#requirement;
    const held = shard.joining !== null && !this.#habits.withoutHold;
    this.#requirement = { epoch: shard.epoch, required: shard.inSync.length, held };
    const { runId } = primary;
    const isOff = shard.paused || runId === null;
    const place = isOff
      ? null
      : { nodeId: primary.id, address: this.#addressOf(primary.id), runId, epoch: shard.epoch };
    const isNew = before.epoch !== shard.epoch || place === null || this.#place?.runId !== place.runId;
    this.#place = place;
    if (isNew) this.#leave(place);
    // What is under way is judged by what it was asked for; what is asked from now on by what is known now.
    this.#covered = this.#confirmed;
    this.#go();
  }

  /** Finishes what is sent on the old connection, then goes on in the new epoch. */
  #leave(place: Place | null): void {
    this.#isLeaving = true;
    const isElsewhere = (link: PrimaryLink): boolean => place !== null && link.place.runId !== place.runId;
    if (this.#lane !== null && isElsewhere(this.#lane)) this.#lane.client.close();
    for (const { link, isBusy } of [...this.#barriers]) {
      if (isElsewhere(link) || (place !== null && !isBusy)) link.client.close();
    }
    this.#left();
  }

  #left(): void {
    if (!this.#isLeaving || this.#sent.length > 0) return;
    this.#isLeaving = false;
    this.#close();
  }

  #close(): void {
    const lane = this.#lane;
    this.#lane = null;
    lane?.client.close();
    if (this.#place === null) for (const barrier of [...this.#barriers]) barrier.link.client.close();
  }

  /** Nothing more is sent; what was answered is confirmed by the epoch that ends, then it leaves. */
  #end(): void {
    this.#ask();
    if (this.#sent.length > 0 || this.#kept.length > 0) return;
    this.#isEnding = false;
    this.#place = null;
    this.#close();
  }

  #go(): void {
    this.#left();
    if (this.#isEnding) return this.#end();
    if (this.#place === null || this.#isLeaving) return;
    if (this.#lane === null) this.#connect(this.#place);
    const lane = this.#lane;
    if (lane?.isReady) {
      for (const request of this.#waiting.splice(0)) {
        if (this.belongs(request.command)) this.#send(lane, request);
        else this.handOn(request);
      }
    }
    this.#ask();
  }

  #connect(place: Place): void {
    const lane = new PrimaryLink(this.#network, this.#host, this.#actor, place);
    this.#lane = lane;
    lane.onReady = history => {
      this.#begin(history, place.epoch);
      this.#go();
    };
    lane.onEnded = () => {
      if (this.#lane !== lane && this.#sent.every(({ lane: other }) => other !== lane)) return;
      this.#lose(lane);
    };
  }

  #lose(lane: PrimaryLink): void {
    if (this.#lane === lane) this.#lane = null;
    this.#open.push(...this.#sent.splice(0));
    this.#left();
    this.#network.world.afterFor(this.#actor, this.#network.world.between(5, 60), () => this.#go());
  }

  #send(lane: PrimaryLink, request: Request): void {
    request.era = this.#era;
    request.lower = this.#era?.known ?? -1;
    request.number = 0;
    request.lane = lane;
    this.#sent.push(request);
    lane.client.send(request.command, (reply, sentMs) => {
      if (reply !== undefined) this.#onReply(lane, request, reply, sentMs);
    });
  }

  #onReply(lane: PrimaryLink, request: Request, reply: Reply, saidMs: number): void {
    this.#sent = this.#sent.filter(one => one !== request);
    const error = errorOf(reply);
    if (error !== null) {
      // Refused, so surely not done: it waits for a primary that does it.
      this.#waiting.unshift(request);
      lane.client.close();
      this.#lose(lane);
      return;
    }
    request.reply = reply;
    request.saidMs = saidMs;
    if (needsNone(this.#requirement, lane.place.epoch)) this.#acknowledge(request, lane.history as History, saidMs, 0);
    else this.#keep(request);
    this.#go();
  }

  #keep(request: Request): void {
    this.#lastNumber += 1;
    request.number = this.#lastNumber;
    this.#kept.push(request);
  }

  /** A login: the same history goes on, or another has begun, under which what is unsettled is judged. */
  #begin(history: History, epoch: number): void {
    const was = this.#era;
    if (was !== null && goOn(was, history)) {
      this.#provenEpoch = Math.max(this.#provenEpoch, epoch);
      // Without an answer nobody knows whether it was done.
      for (const request of this.#open.splice(0)) this.#give(request, 'uncertain');
      return;
    }
    this.#era = newEra(history);
    this.#provenEpoch = epoch;
    this.#confirmed = this.#lastNumber;
    this.#covered = this.#lastNumber;
    const again: Request[] = [];
    for (const request of [...this.#kept.splice(0), ...this.#open.splice(0)]) {
      const fate = this.#fateOf(request, history);
      if (fate === 'gone') again.push(request);
      else if (fate === 'survived') this.#keepAnew(request);
      else this.#give(request, 'uncertain');
    }
    this.#waiting.unshift(...again);
  }

  #fateOf(request: Request, history: History): 'gone' | 'survived' | 'open' {
    const { era, lower, number } = request;
    if (this.#habits.sendsAgain) return 'gone';
    if (era === null) return 'open';
    return fateUnder(lower, number > 0 ? upperBound(era, number) : -1, era.history, history);
  }

  #keepAnew(request: Request): void {
    request.era = this.#era;
    request.lower = -1;
    // What it stands on from now on is what the new primary has just said of itself.
    request.saidMs = this.#network.world.nowMs;
    this.#keep(request);
  }

  #ask(): void {
    const era = this.#era;
    if (era === null || this.#kept.length === 0) return;
    const requirement = this.#requirement;
    if (needsNone(requirement, this.#provenEpoch)) {
      for (const request of this.#kept.splice(0)) this.#acknowledge(request, era.history, request.saidMs, 0);
      this.#confirmed = this.#lastNumber;
      return;
    }
    if (this.#place === null || !mayAsk(requirement) || this.#covered === this.#lastNumber) return;
    const place = this.#place;
    const mine = this.#barriers.filter(
      ({ link }) => link.place.epoch === place.epoch && link.place.runId === place.runId,
    );
    const free = mine.find(
      ({ isBusy, link }) => !isBusy && link.isReady && isSameHistory(link.history as History, era.history),
    );
    if (free === undefined) {
      if (mine.length < MOST_BARRIERS && mine.every(({ isBusy }) => isBusy)) this.#openBarrier(place);
      return;
    }
    this.#covered = this.#lastNumber;
    this.#askOn(free, era);
  }

  #askOn(barrier: SimBarrier, era: Era): void {
    const { epoch, required } = this.#requirement;
    const upTo = this.#lastNumber;
    barrier.ask(required, upTo, !this.#habits.withoutWord, {
      offset: offset => noteReading(era, upTo, offset),
      count: (count, saidMs) => {
        const judge = this.#habits.judgesByPresent ? this.#requirement : { epoch, required };
        if (era === this.#era && confirms(judge, count)) this.#confirm(upTo, era, saidMs, judge.required);
        else this.#covered = this.#confirmed;
        if (barrier.link.place.epoch !== this.#requirement.epoch) barrier.link.client.close();
        this.#go();
      },
    });
  }

  #openBarrier(place: Place): void {
    const barrier = new SimBarrier(new PrimaryLink(this.#network, this.#host, this.#actor, place));
    this.#barriers.push(barrier);
    barrier.link.onReady = history => {
      this.#begin(history, place.epoch);
      this.#go();
    };
    barrier.link.onEnded = () => {
      this.#barriers = this.#barriers.filter(one => one !== barrier);
      this.#covered = this.#confirmed;
      this.#network.world.afterFor(this.#actor, this.#network.world.between(5, 60), () => this.#go());
    };
  }

  #confirm(upTo: number, era: Era, saidMs: number, required: number): void {
    const done = this.#kept.filter(({ number }) => number <= upTo);
    this.#kept = this.#kept.filter(({ number }) => number > upTo);
    this.#confirmed = Math.max(this.#confirmed, upTo);
    dropReadings(era, upTo);
    for (const request of done) this.#acknowledge(request, era.history, saidMs, required);
  }

  #acknowledge(request: Request, by: History, saidMs: number, required: number): void {
    const reign = `${by.runId.slice(0, 6)}/${by.replicationId.slice(0, 6)}`;
    request.onDone({ kind: 'acknowledged', reply: request.reply, reign, saidMs, required });
  }

  #give(request: Request, kind: 'uncertain' | 'refused'): void {
    request.onDone({ kind });
  }

  /** Gives up what has taken too long. */
  #sweep(): void {
    this.#network.world.afterFor(this.#actor, 50, () => this.#sweep());
    const { nowMs } = this.#network.world;
    const isOver = ({ untilMs }: Request): boolean => nowMs > untilMs;
    const isLate = this.#sent.some(isOver);
    const late = [...this.#sent, ...this.#kept, ...this.#open].filter(isOver);
    this.#sent = this.#sent.filter(one => !isOver(one));
    this.#kept = this.#kept.filter(one => !isOver(one));
    this.#open = this.#open.filter(one => !isOver(one));
    for (const request of late) this.#give(request, 'uncertain');
    const unsent = this.#waiting.filter(isOver);
    for (const request of unsent) {
      this.#waiting.splice(this.#waiting.indexOf(request), 1);
      this.#give(request, 'refused');
    }
    // A lane with an answer outstanding that nobody waits for is of no use any more.
    if (isLate) this.#lane?.client.close();
    this.#go();
  }
}

const MOST_BARRIERS = 4;
