import type { CommandRow } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import type { Protocol } from '../resp/protocol.ts';
import { ON_THE_MOVE } from '../ring/ring.ts';
import { Failure, type Origin, type Request } from '../upstream/request.ts';
import { Client } from './client.ts';
import { failureReply } from './failures.ts';
import { anyShard, databasesOf, KEYS, KEYS_APART, type PlacedKey, refuse, Verdict } from './forward.ts';
import type { Proxy } from './proxy.ts';
import type { Waiter } from './pull.ts';
import { type Needs, ownerOfSent } from './sent-commands.ts';
import type { Shard } from './shard.ts';

/**
 * Where everything waits that needs keys of the portion on the move: until the portion is prepared, and then until those
 * keys were pulled (`Moving`), for at most `proxy.hold`.
 *
 *   a client's next command     is put back, and presented again when it may go on
 *   a wait that begins anew     a blocked command that was let go, since its connection was to be left
 *   what was queued elsewhere   on a lane of the shard that had the keys until now
 *
 * Nothing that waits here was sent to any node. Whatever ends the wait, owners are looked up anew.
 */
export class Gate {
  readonly #proxy: Proxy;
  readonly #clients = new Map<Client, ClientWait>();
  readonly #waits = new Set<KeysWait>();
  /** What was queued for shards that have given its keys away, in the order of each client. */
  readonly #lines = new Map<Origin | Request, Rerouted[]>();

  constructor(proxy: Proxy) {
    this.#proxy = proxy;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#clients.size + this.#waits.size;
  }

  /** For a command with one key, of the portion; null: it may go to the taker. */
  passKey(client: Client, bytes: Buffer, start: number, length: number): Verdict | null {
    const { moving } = this.#proxy;
    if (moving === null || moving.has(client.database, bytes, start, length)) return null;
    return this.hold(client, [{ database: client.database, key: Buffer.from(bytes.subarray(start, start + length)) }]);
  }

  /** For the command whose keys `ownerOfKeys` has found in `args`; null: all of them may be used where it says. */
  passKeys(client: Client, row: CommandRow, args: Arguments): Verdict | null {
    const missing = this.missingKeys(client.database, row, args);
    return missing.length === 0 ? null : this.hold(client, missing);
  }

  /** For a message to the shards' own channels: one of the portion waits until all proxies listen at the taker too. */
  passChannels(client: Client): Verdict | null {
    return this.#proxy.moving?.phase === 'preparing' ? this.hold(client, []) : null;
  }

  /**
   * Of the keys that `ownerOfKeys` has found in `args`, those that are on the move and not known to have arrived; of very
   * many only some, since the command looks again when it has those.
   */
  missingKeys(database: number, row: CommandRow, args: Arguments): PlacedKey[] {
    const { moving, ring } = this.#proxy;
    if (moving === null) return [];
    const missing: PlacedKey[] = [];
    for (let i = 0; i < KEYS.count && missing.length < MOST_AT_ONCE; i += 1) {
      const key = KEYS.at[i] as number;
      const start = args.starts[key] as number;
      const length = args.lengths[key] as number;
      if (ring.ownerOf(args.bytes, start, length) < ON_THE_MOVE) continue;
      for (const where of databasesOf(this.#proxy, row, args, key, database)) {
        if (!moving.has(where, args.bytes, start, length)) missing.push({ database: where, key: args.copy(key) });
      }
    }
    return missing;
  }

  /** For what concerns all keys: waits until no portion is under way. */
  awaitEnd(client: Client): Verdict | null {
    return this.#proxy.moving === null ? null : this.hold(client, [], false);
  }

  /**
   * Calls back as soon as nothing that is needed is on the move and missing, at once where nothing is; or with a problem
   * in words, at `untilMs` at the latest (on the clock of `Proxy.nowMs`). Ends without a call by `drop`.
   */
  whenHere(needs: Needed, untilMs: number, settle: (problem: string) => void): KeysWait {
    const wait = new KeysWait(this, needs, untilMs, settle);
    this.look(wait);
    return wait;
  }

  /** Nobody waits for it any more. */
  drop(wait: KeysWait): void {
    wait.over = true;
    this.#waits.delete(wait);
  }

  /**
   * Sends what was made for another shard to the one that owns its keys now, when these may be used. The request stands
   * in no lane; of one client all such requests keep their order. Where keys are apart, or do not come in time, it fails
   * (`Failure.Moved`). The bytes are copied.
   */
  reroute(request: Request, bytes: Buffer, from: number, to: number, database: number, protocol: Protocol): void {
    const needs: Needs = { database, keys: [], end: false };
    const copy = Buffer.from(bytes.subarray(from, to));
    ownerOfSent(this.#proxy, copy, 0, copy.length, needs);
    const rerouted: Rerouted = { request, bytes: copy, protocol, needs, isReady: false, problem: '' };
    const origin = request.origin ?? request;
    const line = this.#lines.get(origin) ?? [];
    this.#lines.set(origin, line);
    line.push(rerouted);
    this.#await(origin, rerouted);
  }

  /** Another topology is followed: whoever waits looks again. */
  follow(): void {
    for (const wait of [...this.#clients.values()]) this.release(wait);
    for (const wait of [...this.#waits]) this.look(wait);
  }

  /** A client is gone. */
  forget(client: Client): void {
    const wait = this.#clients.get(client);
    if (wait !== undefined) wait.over = true;
    this.#clients.delete(client);
  }

  /** Looks at the clock. */
  sweep(nowMs: number): void {
    const { holdMs } = this.#proxy.config.proxy;
    for (const wait of [...this.#clients.values()]) if (wait.sinceMs + holdMs <= nowMs) this.release(wait);
    for (const wait of [...this.#waits]) if (wait.untilMs <= nowMs) wait.settle(this.#problem());
    this.#proxy.metrics.moving.waiting = this.waiting;
  }

  /** Lets the client's command be presented again. */
  release(wait: ClientWait): void {
    if (wait.over) return;
    wait.over = true;
    this.#clients.delete(wait.client);
    wait.client.release();
  }

  /** See `whenHere`. */
  look(wait: KeysWait): void {
    const { moving, nowMs } = this.#proxy;
    if (!this.#lacks(wait.needs)) return wait.settle('');
    if (wait.untilMs <= nowMs) return wait.settle(this.#problem());
    this.#waits.add(wait);
    const missing = wait.needs.keys.filter(key => this.#isMissing(key));
    wait.left = missing.length;
    if (moving?.phase === 'moving') for (const { database, key } of missing) moving.want(database, key, wait);
  }

  #lacks({ keys, end }: Needed): boolean {
    if (end && this.#proxy.moving !== null) return true;
    return keys.some(key => this.#isMissing(key));
  }

  #isMissing({ database, key }: PlacedKey): boolean {
    const { moving } = this.#proxy;
    return moving?.owns(key, 0, key.length) === true && !moving.has(database, key, 0, key.length);
  }

  /**
   * Puts the client's command back, to be presented again when the keys `missing` (as `missingKeys` tells them) have come;
   * refuses it when it has waited for as long as it may.
   */
  hold(client: Client, missing: readonly PlacedKey[], pulls = true): Verdict {
    const proxy = this.#proxy;
    const { moving, nowMs } = proxy;
    // A command that is presented again is the very next one.
    const waited = client.waited !== null && client.waited.as === client.commands - 1 ? client.waited : null;
    const sinceMs = waited?.sinceMs ?? nowMs;
    const problem = waited?.problem ?? '';
    if (problem !== '' || sinceMs + proxy.config.proxy.holdMs <= nowMs) {
      client.waited = null;
      return refuse(proxy, client, failureReply(Failure.Moved, problem === '' ? this.#problem() : problem));
    }
    const wait = new ClientWait(this, client, sinceMs);
    client.waited = wait;
    client.held = true;
    this.#clients.set(client, wait);
    wait.left = missing.length;
    if (pulls && moving?.phase === 'moving') {
      for (const { database, key } of missing) moving.want(database, key, wait);
    }
    return Verdict.Defer;
  }

  /** Why what has waited too long still does. */
  #problem(): string {
    const { moving, config } = this.#proxy;
    const waited = `it has waited for ${config.proxy.holdMs} ms (proxy.hold)`;
    if (moving === null) return waited;
    const { giver, taker, phase, problem } = moving;
    const route = `from shard ${giver.name} to shard ${taker.name}`;
    if (phase === 'preparing') return `${waited}, the move ${route} is being prepared`;
    return `${waited}, ${route}${problem === '' ? '' : `: ${problem}`}`;
  }

  #await(origin: Origin | Request, rerouted: Rerouted): void {
    const untilMs = rerouted.request.arrivedMs + this.#proxy.config.proxy.holdMs;
    this.whenHere(rerouted.needs, untilMs, problem => {
      rerouted.isReady = true;
      rerouted.problem = problem;
      this.#advance(origin);
    });
  }

  /** Sends what is ready and first in its client's line. */
  #advance(origin: Origin | Request): void {
    const line = this.#lines.get(origin);
    if (line === undefined) return;
    for (let first = line[0]; first?.isReady === true; first = line[0]) {
      if (first.problem === '' && this.#lacks(first.needs)) {
        // Others were put in its way while it waited for its turn.
        first.isReady = false;
        this.#await(origin, first);
        return;
      }
      line.shift();
      this.#send(first);
    }
    if (line.length === 0) this.#lines.delete(origin);
  }

  #send({ request, bytes, needs, protocol, problem }: Rerouted): void {
    const proxy = this.#proxy;
    const owner = problem === '' ? ownerOfSent(proxy, bytes, 0, bytes.length) : KEYS_APART;
    if (owner === KEYS_APART) {
      const detail = problem === '' ? 'its keys are on several shards now' : problem;
      return request.receiver.onFailure(request, Failure.Moved, detail);
    }
    const shard = owner < 0 ? anyShard(proxy) : (proxy.shards[owner % ON_THE_MOVE] as Shard);
    const lane = shard.lane(needs.database, protocol);
    if (lane.full) {
      proxy.metrics.overloaded.laneQueue += 1;
      return request.receiver.onFailure(request, Failure.Overloaded, 'proxy.limits.laneQueue is reached');
    }
    const { origin } = request;
    const isLax = request.isWrite && request.confirm === 0 && proxy.rules.readsCopies;
    if (isLax && origin instanceof Client) {
      origin.unconfirmed ??= new Set();
      origin.unconfirmed.add(shard);
    }
    lane.send(request, bytes, 0, bytes.length);
  }
}

/** See `Needs`. */
type Needed = Pick<Needs, 'keys' | 'end'>;

/** Keys that one command waits for at a time. */
const MOST_AT_ONCE = 1024;

/** A client whose next command waits. */
export class ClientWait implements Waiter {
  left = 0;
  over = false;
  /** Why its keys cannot be had; empty: nothing is known to stand against it. */
  problem = '';
  readonly client: Client;
  /** Since when this very command has waited, and how many commands the client had presented then. */
  readonly sinceMs: number;
  readonly as: number;
  readonly #gate: Gate;

  constructor(gate: Gate, client: Client, sinceMs: number) {
    this.#gate = gate;
    this.client = client;
    this.sinceMs = sinceMs;
    this.as = client.commands;
  }

  onArrived(problem: string): void {
    this.problem = problem;
    this.#gate.release(this);
  }
}

/** Something that waits for keys with its client held already, or on no client's behalf. */
export class KeysWait implements Waiter {
  left = 0;
  over = false;
  readonly needs: Needed;
  readonly untilMs: number;
  readonly #gate: Gate;
  readonly #settle: (problem: string) => void;

  constructor(gate: Gate, needs: Needed, untilMs: number, settle: (problem: string) => void) {
    this.#gate = gate;
    this.needs = needs;
    this.untilMs = untilMs;
    this.#settle = settle;
  }

  onArrived(problem: string): void {
    if (problem === '') this.#gate.look(this);
    else this.settle(problem);
  }

  settle(problem: string): void {
    if (this.over) return;
    this.#gate.drop(this);
    this.#settle(problem);
  }
}

/** A request on its way to another shard than it was made for. */
interface Rerouted {
  readonly request: Request;
  readonly bytes: Buffer;
  readonly protocol: Protocol;
  readonly needs: Needs;
  /** Its keys may be used, or cannot be had. */
  isReady: boolean;
  problem: string;
}
