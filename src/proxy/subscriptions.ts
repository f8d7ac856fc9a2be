import { Route } from '../commands/routes.ts';
import type { CommandRow } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { elementsOf } from '../resp/elements.ts';
import { array, bulk, integer, push } from '../resp/encoder.ts';
import { GREATER, SHARED } from '../resp/protocol.ts';
import { decodeReply, type ReplyValue } from '../resp/reply-value.ts';
import { ON_THE_MOVE } from '../ring/ring.ts';
import { keyOf } from './all-keys.ts';
import type { Client } from './client.ts';
import { toEveryShard } from './every-shard.ts';
import { anyShard, forward, Verdict } from './forward.ts';
import type { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';
import type { MessageKind } from './subscriber-feed.ts';
import { SubscriberLink, type Topic, WORDS } from './subscriber-link.ts';

/**
 * Who listens to what: clients share one upstream subscription per channel and shard.
 *
 * A channel or pattern is listened to on every shard's primary and a PUBLISH goes to one of them, so that each message
 * comes once, those of scripts, transactions and keyspace events included. A sharded channel is its owner's alone; while
 * it is on the move, it is listened to on both sides, since others may still publish where it comes from.
 *
 * SUBSCRIBE is answered when every reachable shard has confirmed: a message published after the answer is heard. None
 * is passed on before the answer: a client would take it for the answer. For the same reason SUBSCRIBE waits until all
 * earlier commands of its client are answered.
 */
export class SubscriptionHub {
  readonly #proxy: Proxy;
  readonly #listeners: Record<MessageKind, Map<string, Listeners>> = { c: new Map(), p: new Map(), s: new Map() };
  /** None before the first client listens; then one for each shard. */
  readonly #links = new Map<Shard, SubscriberLink>();
  /** To shards that are no longer part of the cluster. */
  readonly #leaving = new Set<SubscriberLink>();

  constructor(proxy: Proxy) {
    this.#proxy = proxy;
  }

  /** (P|S)SUBSCRIBE, (P|S)UNSUBSCRIBE, PUBSUB. */
  carryOut(client: Client, row: CommandRow, args: Arguments): Verdict {
    if (row.route === Route.PubSub) return this.#answerPubSub(client, row, args);
    const kind = row.route === Route.ShardSubscribe ? 's' : row.name.startsWith('p') ? 'p' : 'c';
    const isLeaving = row.name.includes('unsubscribe');
    if (!isLeaving && client.inFlight > 0) return Verdict.Defer;
    const names = namesOf(args);
    if (isLeaving) this.#unsubscribe(client, kind, names);
    else this.#subscribe(client, kind, names);
    return Verdict.Done;
  }

  /** The client is gone, or has said RESET. */
  forget(client: Client): void {
    for (const kind of ['c', 'p', 's'] as const) {
      for (const name of setOf(client, kind) ?? []) this.#drop(client, { kind, name });
    }
    client.channels = null;
    client.patterns = null;
    client.shardChannels = null;
  }

  /** How many clients of this proxy listen to a channel. */
  listeners(kind: MessageKind, name: string): number {
    return this.#listeners[kind].get(name)?.size ?? 0;
  }

  /** The shards, or the owners of sharded channels, are others now. */
  follow(): void {
    if (this.#links.size === 0) return;
    for (const [shard, link] of this.#links) {
      if (this.#proxy.shards.includes(shard)) continue;
      this.#links.delete(shard);
      this.#leaving.add(link);
      link.leave();
    }
    for (const link of this.#makeLinks()) {
      for (const kind of ['c', 'p'] as const) {
        for (const name of this.#listeners[kind].keys()) link.want({ kind, name }, null);
      }
    }
    for (const name of this.#listeners.s.keys()) {
      const topic: Topic = { kind: 's', name };
      const wanted = this.#linksFor(topic);
      for (const link of this.#links.values()) {
        if (wanted.includes(link)) link.want(topic, null);
        else link.drop(topic);
      }
    }
  }

  /** A shard's primary, or its epoch, is another. */
  onMoved(shard: Shard): void {
    this.#links.get(shard)?.reconnect('the primary is another');
  }

  /** Looks at the clock, some times a second: a node that has gone silent is not listened to for ever. */
  sweep(nowMs: number): void {
    const { timeoutMs } = this.#proxy.config.proxy;
    for (const link of this.#links.values()) link.sweep(nowMs, timeoutMs);
    for (const link of this.#leaving) {
      link.sweep(nowMs, timeoutMs);
      if (link.closed) this.#leaving.delete(link);
    }
  }

  close(): void {
    for (const link of [...this.#links.values(), ...this.#leaving]) link.close();
  }

  #subscribe(client: Client, kind: MessageKind, names: readonly string[]): void {
    const slot = client.reserve();
    const set = ensureSet(client, kind);
    const frames: Buffer[] = [];
    let due = 1;
    let answered = false;
    const answer = (): void => {
      if (answered) return;
      answered = true;
      clearTimeout(timer);
      if (client.gone) return;
      client.fulfil(slot, Buffer.concat(frames));
      for (const name of names) this.#listeners[kind].get(name)?.set(client, true);
      client.release();
    };
    const onConfirmed = (): void => {
      due -= 1;
      if (due === 0) answer();
    };
    // A shard that is away cannot be published to either; it is asked as soon as it is back.
    const timer = setTimeout(answer, this.#proxy.config.proxy.holdMs);
    client.held = true;
    for (const name of names) {
      set.add(name);
      const topic = { kind, name };
      this.#listen(client, topic);
      for (const link of this.#linksFor(topic)) {
        // Nobody publishes on one that is yet to be given its first key.
        const isAwaited = this.#proxy.holders.includes(link.shard);
        if (isAwaited) due += 1;
        link.want(topic, isAwaited ? onConfirmed : null);
      }
      frames.push(this.#confirmation(client, `${PREFIX[kind]}subscribe`, kind, name));
    }
    client.settle();
    onConfirmed();
  }

  #unsubscribe(client: Client, kind: MessageKind, names: readonly string[]): void {
    const word = `${PREFIX[kind]}unsubscribe`;
    const set = setOf(client, kind);
    const leaving = names.length > 0 ? names : [...(set ?? [])];
    const frames: Buffer[] = [];
    for (const name of leaving) {
      set?.delete(name);
      this.#drop(client, { kind, name });
      frames.push(this.#confirmation(client, word, kind, name));
    }
    if (leaving.length === 0) frames.push(this.#confirmation(client, word, kind, null));
    client.settle();
    client.reply(Buffer.concat(frames));
  }

  #confirmation(client: Client, word: string, kind: MessageKind, name: string | null): Buffer {
    const count =
      kind === 's' ? (client.shardChannels?.size ?? 0) : (client.channels?.size ?? 0) + (client.patterns?.size ?? 0);
    const nothing = client.protocol === 3 ? SHARED.null3 : SHARED.nullBulk;
    const named = name === null ? nothing : bulk(Buffer.from(name, 'latin1'));
    return push(client.protocol, [bulk(word), named, integer(count)]);
  }

  #listen(client: Client, topic: Topic): void {
    const listeners = this.#listeners[topic.kind];
    const clients = listeners.get(topic.name);
    if (clients === undefined) listeners.set(topic.name, new Map([[client, false]]));
    else if (!clients.has(client)) clients.set(client, false);
  }

  #drop(client: Client, topic: Topic): void {
    const clients = this.#listeners[topic.kind].get(topic.name);
    if (clients === undefined || !clients.delete(client) || clients.size > 0) return;
    this.#listeners[topic.kind].delete(topic.name);
    for (const link of this.#linksFor(topic)) link.drop(topic);
  }

  #linksFor(topic: Topic): SubscriberLink[] {
    this.#makeLinks();
    if (topic.kind !== 's') return [...this.#links.values()];
    const { ring, shards, moving } = this.#proxy;
    const name = Buffer.from(topic.name, 'latin1');
    const owner = ring.ownerOf(name, 0, name.length);
    const listened = [shards[owner % ON_THE_MOVE] as Shard];
    if (owner >= ON_THE_MOVE && moving !== null) listened.push(moving.giver);
    return listened.map(shard => this.#links.get(shard) as SubscriberLink);
  }

  /** Makes the links that lack; tells which. */
  #makeLinks(): SubscriberLink[] {
    const made: SubscriberLink[] = [];
    for (const shard of this.#proxy.shards) {
      if (this.#links.has(shard)) continue;
      const link = new SubscriberLink(shard, (kind, name, frame) => this.#onMessage(kind, name, frame));
      this.#links.set(shard, link);
      made.push(link);
    }
    return made;
  }

  #onMessage(kind: MessageKind, name: string, frame: Buffer): void {
    const clients = this.#listeners[kind].get(name);
    if (clients === undefined) return;
    let pushed: Buffer | null = null;
    for (const [client, answered] of clients) {
      if (!answered || client.ending) continue;
      if (client.protocol === 3) {
        pushed ??= asPush(frame);
        client.push(pushed);
      } else {
        client.push(frame);
      }
    }
  }

  #answerPubSub(client: Client, row: CommandRow, args: Arguments): Verdict {
    const bytes = args.bytes.subarray(args.from, args.to);
    const names = args
      .copyAll()
      .slice(2)
      .map(name => name.toString('latin1'));
    switch (row.name) {
      case 'pubsub|numsub':
        toEveryShard(this.#proxy, client, bytes, false, gather => this.#mergeCounts(gather, 'c', names));
        return Verdict.Done;
      case 'pubsub|shardnumsub':
        toEveryShard(this.#proxy, client, bytes, false, gather => this.#mergeCounts(gather, 's', names));
        return Verdict.Done;
      case 'pubsub|shardchannels':
        toEveryShard(this.#proxy, client, bytes, false, mergeNames);
        return Verdict.Done;
      default:
        // Every proxy listens to all of its channels and patterns on every shard, so that one shard knows them all.
        return forward(this.#proxy, client, row, args, anyShard(this.#proxy));
    }
  }

  /** A node counts this proxy as one listener, however many clients it stands for. */
  #mergeCounts(gather: Gather, kind: MessageKind, names: readonly string[]): void {
    const failed = gather.error;
    if (failed !== null) return gather.client.fulfil(gather.slot, failed);
    const answers = gather.parts.flatMap(part => (part.length > 0 ? [decodeReply(part) as ReplyValue[]] : []));
    const pieces = names.flatMap((name, i) => {
      const upstream = Math.max(0, ...answers.map(answer => Number(answer[i * 2 + 1] ?? 0)));
      const own = this.listeners(kind, name);
      const others = Math.max(0, upstream - (own > 0 ? 1 : 0));
      return [bulk(Buffer.from(name, 'latin1')), integer(own + others)];
    });
    gather.client.fulfil(gather.slot, array(pieces));
  }
}

/** Clients that listen to one topic, and whether their SUBSCRIBE is answered already. */
type Listeners = Map<Client, boolean>;

function mergeNames(gather: Gather): void {
  const failed = gather.error;
  const names = gather.parts.flatMap(part => (part.length > 0 ? elementsOf(part) : []));
  const known = new Map(names.map(name => [name.toString('latin1'), name]));
  // On the move, one may be listened to on two shards; and some are the proxies' own.
  const clients = [...known.values()].filter(name => !keyOf(name).toString('latin1').startsWith(WORDS));
  gather.client.fulfil(gather.slot, failed ?? array(clients));
}

/** The frame with the mark that RESP3 gives to what nobody asked for. */
function asPush(frame: Buffer): Buffer {
  const pushed = Buffer.from(frame);
  pushed[0] = GREATER;
  return pushed;
}

function namesOf(args: Arguments): string[] {
  const names: string[] = [];
  for (let i = 1; i < args.count; i += 1) names.push(args.text(i));
  return names;
}

function setOf(client: Client, kind: MessageKind): Set<string> | null {
  return kind === 'c' ? client.channels : kind === 'p' ? client.patterns : client.shardChannels;
}

function ensureSet(client: Client, kind: MessageKind): Set<string> {
  const present = setOf(client, kind);
  if (present !== null) return present;
  const made = new Set<string>();
  if (kind === 'c') client.channels = made;
  else if (kind === 'p') client.patterns = made;
  else client.shardChannels = made;
  return made;
}

const PREFIX: Readonly<Record<MessageKind, string>> = { c: '', p: 'p', s: 's' };
