import { Route } from '../commands/routes.ts';
import type { CommandRow } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { elementsOf } from '../resp/elements.ts';
import { array, bulk, integer, push } from '../resp/encoder.ts';
import { GREATER, SHARED } from '../resp/protocol.ts';
import { decodeReply, type ReplyValue } from '../resp/reply-value.ts';
import type { Client } from './client.ts';
import { toEveryShard } from './everywhere.ts';
import { anyShard, forward, Verdict } from './forward.ts';
import type { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import type { Shard } from './shard.ts';
import { type MessageKind, SubscriberLink, type Topic } from './subscriber-link.ts';

/**
 * Who listens to what: clients share one upstream subscription per channel and shard.
 *
 * A channel or pattern is listened to on every shard's primary and a PUBLISH goes to one of them, so that each message
 * comes once, those of scripts, transactions and keyspace events included. A sharded channel is its owner's alone.
 *
 * SUBSCRIBE is answered when every reachable shard has confirmed: a message published after the answer is heard. None
 * is passed on before the answer: a client would take it for the answer. For the same reason SUBSCRIBE waits until all
 * earlier commands of its client are answered.
 */
export class SubscriptionHub {
  readonly #proxy: Proxy;
  readonly #listeners: Record<MessageKind, Map<string, Listeners>> = { c: new Map(), p: new Map(), s: new Map() };
  #links: SubscriberLink[] = [];

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
    if (this.#links.length === 0) return;
    const old = new Map(this.#links.map(link => [link.shard, link]));
    this.#links = this.#proxy.shards.map(shard => old.get(shard) ?? this.#makeLink(shard));
    for (const link of old.values()) if (!this.#links.includes(link)) link.close();
    for (const kind of ['c', 'p', 's'] as const) {
      for (const name of this.#listeners[kind].keys()) {
        const wanted = this.#linksFor({ kind, name });
        for (const link of this.#links) {
          if (wanted.includes(link)) link.want({ kind, name }, () => {});
          else link.drop({ kind, name });
        }
      }
    }
  }

  /** A shard's primary is another. */
  onMoved(shard: Shard): void {
    this.#links[shard.index]?.reconnect('the primary is another');
  }

  /** Looks at the clock, some times a second: a node that has gone silent is not listened to for ever. */
  sweep(nowMs: number): void {
    for (const link of this.#links) link.sweep(nowMs, this.#proxy.config.proxy.timeoutMs);
  }

  close(): void {
    for (const link of this.#links) link.close();
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
      const links = this.#linksFor(topic);
      due += links.length;
      this.#listen(client, topic);
      for (const link of links) link.want(topic, onConfirmed);
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
    if (this.#links.length === 0) this.#links = this.#proxy.shards.map(shard => this.#makeLink(shard));
    if (topic.kind !== 's') return this.#links;
    const name = Buffer.from(topic.name, 'latin1');
    return [this.#links[this.#proxy.ring.ownerOf(name, 0, name.length)] as SubscriberLink];
  }

  #makeLink(shard: Shard): SubscriberLink {
    return new SubscriberLink(shard, (kind, name, frame) => this.#onMessage(kind, name, frame));
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
    const answers = gather.parts.map(part => decodeReply(part) as ReplyValue[]);
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
  gather.client.fulfil(gather.slot, failed ?? array(gather.parts.flatMap(elementsOf)));
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
