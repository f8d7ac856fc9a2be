import { Effect } from '../commands/row.ts';
import { elementsOf } from '../resp/elements.ts';
import { encodeCommand, nil } from '../resp/encoder.ts';
import { CR, SHARED } from '../resp/protocol.ts';
import { decodeReply } from '../resp/reply-value.ts';
import type { Client } from './client.ts';
import { sendParts } from './every-shard.ts';
import { Verdict } from './forward.ts';
import { Gather } from './gather.ts';
import type { Proxy } from './proxy.ts';
import { askPulled, mayBeRemainder, ownKeyIn } from './pulled-keys.ts';
import type { Shard } from './shard.ts';
import { mergeSum } from './split.ts';

/**
 * KEYS, DBSIZE and RANDOMKEY over several shards, while a portion of the keys may be on its way from one to another.
 *
 * A key of the portion is on its giver, or on its taker, or for a moment on both; it goes one way only. So the giver is
 * asked before the taker: a key that it no longer has is with the taker by then. What both tell of is told of once. When
 * a portion begins or ends meanwhile, keys have gone other ways, and all is asked anew.
 */

/** KEYS pattern; `command` is kept. */
export function sendKeys(proxy: Proxy, client: Client, command: Buffer): Verdict {
  const slot = client.reserve();
  // It may be asked anew, and must not see what this client writes next.
  const holds = proxy.topology.move !== null;
  client.held = holds;
  proxy.metrics.commands.split += 1;
  new KeysCall(proxy, client, slot, command, reply => {
    client.fulfil(slot, reply);
    if (holds) client.release();
  }).ask();
  return Verdict.Done;
}

class KeysCall {
  readonly #proxy: Proxy;
  readonly #client: Client;
  readonly #slot: Gather['slot'];
  readonly #command: Buffer;
  readonly #answer: (reply: Buffer) => void;
  #version = 0;

  constructor(proxy: Proxy, client: Client, slot: Gather['slot'], command: Buffer, answer: (reply: Buffer) => void) {
    this.#proxy = proxy;
    this.#client = client;
    this.#slot = slot;
    this.#command = command;
    this.#answer = answer;
  }

  ask(): void {
    const { moving, holders, ownersVersion } = this.#proxy;
    this.#version = ownersVersion;
    const first = holders.filter(shard => shard !== moving?.taker);
    this.#askShards(first, lists => {
      if (moving === null) return this.#answer(arrayOf(lists));
      const at = first.indexOf(moving.giver);
      const given = this.#clientKeys(lists[at] ?? SHARED.emptyArray, moving.giver);
      const others = lists.filter((_, i) => i !== at);
      this.#withoutRemainders(given, moving.giver, kept => {
        this.#askShards([moving.taker], ([list]) => {
          const seen = new Set(kept.map(element => element.toString('latin1')));
          const taken = this.#clientKeys(list as Buffer, moving.taker);
          const fresh = taken.filter(element => !seen.has(element.toString('latin1')));
          this.#answer(arrayOf([...others, encodedArray([...kept, ...fresh])]));
        });
      });
    });
  }

  #askShards(shards: readonly Shard[], onLists: (lists: readonly Buffer[]) => void): void {
    if (shards.length === 0) return onLists([]);
    const gather = new Gather(this.#client, this.#slot, ({ parts, error }) => {
      if (this.#client.gone) return;
      if (this.#version !== this.#proxy.ownersVersion) this.ask();
      else if (error !== null) this.#answer(error);
      else onLists(parts);
    });
    sendParts(this.#proxy, gather, shards, this.#command, false, Effect.Read);
  }

  /** The elements of a shard's list, still encoded, but for a key of Ringside's own. */
  #clientKeys(list: Buffer, shard: Shard): Buffer[] {
    const own = ownKeyIn(this.#proxy, shard, this.#client.database);
    const elements = list.length === 0 ? [] : elementsOf(list);
    return own === '' ? elements : elements.filter(element => keyOf(element).toString('latin1') !== own);
  }

  #withoutRemainders(elements: readonly Buffer[], giver: Shard, onKept: (kept: readonly Buffer[]) => void): void {
    const isSuspect = elements.map(element => mayBeRemainder(this.#proxy, giver, keyOf(element)));
    const suspects = elements.filter((_, i) => isSuspect[i]).map(keyOf);
    askPulled(this.#proxy, this.#client, this.#slot, suspects, pulled => {
      if (this.#client.gone) return;
      if (this.#version !== this.#proxy.ownersVersion) return this.ask();
      let next = 0;
      onKept(
        elements.filter((_, i) => {
          if (!isSuspect[i]) return true;
          next += 1;
          return pulled?.[next - 1] !== true;
        }),
      );
    });
  }
}

/** The key in an encoded element of a list of keys. */
export function keyOf(element: Buffer): Buffer {
  return element.subarray(element.indexOf(CR) + 2, element.length - 2);
}

/** One array of the elements of several. */
function arrayOf(lists: readonly Buffer[]): Buffer {
  let count = 0;
  const bodies: Buffer[] = [];
  for (const list of lists) {
    // Its shard has left meanwhile.
    if (list.length === 0) continue;
    const lineEnd = list.indexOf(CR);
    count += Number(list.toString('latin1', 1, lineEnd));
    bodies.push(list.subarray(lineEnd + 2));
  }
  return Buffer.concat([Buffer.from(`*${count}\r\n`), ...bodies]);
}

export function encodedArray(elements: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from(`*${elements.length}\r\n`), ...elements]);
}

/**
 * DBSIZE: the sum. While keys are on the move it may be off: by those that are just between giver and taker (counted
 * twice, or not at all, a few at a time), and after a fail-over of the giver by those that it has given away before, until
 * they are dropped there again.
 */
export function sendDbSize(proxy: Proxy, client: Client): Verdict {
  proxy.metrics.commands.split += 1;
  askSizes(proxy, client, client.reserve(), mergeSum);
  return Verdict.Done;
}

/** How many keys of clients each shard has. */
function askSizes(proxy: Proxy, client: Client, slot: Gather['slot'], onSizes: (sizes: Gather) => void): void {
  const sizeOf = (shard: Shard): Buffer => {
    const own = ownKeyIn(proxy, shard, client.database);
    return own === '' ? DBSIZE : encodeCommand(['EVAL', DBSIZE_BUT_ONE, '1', own]);
  };
  sendParts(proxy, new Gather(client, slot, onSizes), proxy.holders, sizeOf, false);
}

const DBSIZE = encodeCommand(['DBSIZE']);
const DBSIZE_BUT_ONE = "return redis.call('DBSIZE') - redis.call('EXISTS', KEYS[1])";
const RANDOMKEY = encodeCommand(['RANDOMKEY']);

/**
 * RANDOMKEY: a shard drawn in proportion to its number of keys, then a key of it; drawn again where that is none of the
 * clients'. The nodes are asked twice and more, so the client's next command waits: it must not come in between.
 */
export function sendRandomKey(proxy: Proxy, client: Client): Verdict {
  client.held = true;
  const slot = client.reserve();
  new RandomKeyCall(proxy, client, slot).ask();
  return Verdict.Done;
}

class RandomKeyCall {
  readonly #proxy: Proxy;
  readonly #client: Client;
  readonly #slot: Gather['slot'];
  #draws = 0;

  constructor(proxy: Proxy, client: Client, slot: Gather['slot']) {
    this.#proxy = proxy;
    this.#client = client;
    this.#slot = slot;
  }

  ask(): void {
    const proxy = this.#proxy;
    const { holders } = proxy;
    this.#draws += 1;
    if (this.#draws > MOST_DRAWS) return this.#answer(nil(this.#client.protocol));
    askSizes(proxy, this.#client, this.#slot, sizes => {
      if (this.#client.gone) return;
      if (sizes.error !== null) return this.#answer(sizes.error);
      const counts = sizes.parts.map(part => Number(part.toString('latin1', 1, part.length - 2)));
      let place = proxy.random() * counts.reduce((sum, count) => sum + count, 0);
      const index = counts.findIndex(count => {
        place -= count;
        return place < 0;
      });
      if (index < 0) return this.#answer(nil(this.#client.protocol));
      const shard = holders[index] as Shard;
      const drawn = new Gather(this.#client, this.#slot, one => this.#onDrawn(shard, one.parts[0] as Buffer));
      sendParts(proxy, drawn, [shard], RANDOMKEY, false, Effect.Read);
    });
  }

  #onDrawn(shard: Shard, reply: Buffer): void {
    const proxy = this.#proxy;
    const client = this.#client;
    if (client.gone) return;
    const key = decodeReply(reply);
    if (proxy.moving === null || !Buffer.isBuffer(key)) return this.#answer(reply);
    if (key.toString('latin1') === ownKeyIn(proxy, shard, client.database)) return this.ask();
    if (!mayBeRemainder(proxy, shard, key)) return this.#answer(reply);
    askPulled(proxy, client, this.#slot, [key], pulled => {
      if (client.gone) return;
      if (pulled?.[0] === true) this.ask();
      else this.#answer(reply);
    });
  }

  #answer(reply: Buffer): void {
    this.#client.fulfil(this.#slot, reply);
    this.#client.release();
  }
}

/** After so many that were none of the clients', there are hardly any others. */
const MOST_DRAWS = 64;
