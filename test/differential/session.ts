/**
 * Plays steps into the subject and into the reference and holds the two answers against each other.
 *
 * The subject goes first. Where it was free to choose, or refused what a single server would have done, the reference
 * is told so in its place; so both hold the same data after every step.
 */

import { HANG_MS } from '../support/patience.ts';
import { type Allowed, allowedFor, CROSS_SHARD, namesOf, refusalOf } from './allowed.ts';
import type { Command, Step } from './generator.ts';
import { type Difference, describe, Judge } from './judge.ts';
import { playPubsub } from './pubsub.ts';
import { parseReply, printable, type Reply } from './reader.ts';
import { type Endpoint, encode, Silent, Wire } from './wire.ts';

export interface SessionOptions {
  readonly subject: Endpoint;
  readonly reference: Endpoint;
  readonly clients: number;
  /** The subject is a proxy over several shards, not a stock server. */
  readonly proxy: boolean;
  /** The shard of a key, where the test knows it; without it only the hash tags are looked at. */
  readonly shardOf: ((key: Buffer) => number) | null;
  /** How often each allowed difference was needed. */
  readonly needed: Map<string, number>;
}

/** A client's pair of connections, and the transaction that is open on both. */
interface Pair {
  subject: Wire;
  reference: Wire;
  queued: Command[] | null;
  /** The commands of the watch and of the open transaction, whose keys must lie on one shard. */
  block: Command[];
}

/** A command that a server refuses while it queues: it stands for what the subject refused to queue. */
const REFUSED_IN_QUEUE: readonly Buffer[] = [Buffer.from('GET')];
/** Between two looks at who waits. */
const LOOK_MS = 2;
/** Where the servers behind a proxy are not known, a client that it counts as waiting waits in its server by then. */
const WAITER_PAUSE_MS = 50;

export class Session {
  readonly #options: SessionOptions;
  readonly #pairs: Pair[] = [];
  readonly #judge: Judge;
  #asker: Wire | null = null;
  /** Ask who waits. */
  readonly #lookers: Record<'subject' | 'reference', Wire[]> = { subject: [], reference: [] };
  /** Commands sent to the subject. */
  commands = 0;
  /** The last commands of each client, newest last. */
  readonly history: string[][] = [];

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#judge = new Judge(options.proxy, options.needed);
    for (let i = 0; i < options.clients; i += 1) this.history.push([]);
  }

  /** Connects the clients to servers emptied of data, scripts and functions. */
  async open(): Promise<void> {
    for (const endpoint of [this.#options.subject, this.#options.reference]) {
      const wire = await Wire.open(endpoint);
      for (const words of [['FLUSHALL'], ['SCRIPT', 'FLUSH'], ['FUNCTION', 'FLUSH']]) {
        const reply = await wire.ask(...words);
        if (reply.toString() !== '+OK\r\n') throw new Silent(`${words.join(' ')} was answered ${printable(reply)}`);
      }
      wire.close();
    }
    this.#asker = await Wire.open(this.#options.reference);
    for (const side of ['subject', 'reference'] as const) {
      const { nodes = [this.#options[side]] } = this.#options[side];
      for (const node of nodes) this.#lookers[side].push(await Wire.open(node));
    }
    for (let i = 0; i < this.#options.clients; i += 1) this.#pairs.push(await this.#connect());
  }

  async #connect(): Promise<Pair> {
    const subject = await Wire.open(this.#options.subject);
    return { subject, reference: await Wire.open(this.#options.reference), queued: null, block: [] };
  }

  close(): void {
    for (const pair of this.#pairs) {
      pair.subject.close();
      pair.reference.close();
    }
    this.#asker?.close();
    for (const wire of [...this.#lookers.subject, ...this.#lookers.reference]) wire.close();
  }

  /** Plays one step; the differences that it showed. */
  async play(step: Step): Promise<Difference[]> {
    this.#judge.found.length = 0;
    try {
      await this.#play(step);
    } catch (error) {
      if (!(error instanceof Silent)) throw error;
      this.#judge.report(
        `${step.kind} step`,
        error.message,
        '(answered)',
        `${step.kind} ${error.message.split(';')[0]}`,
      );
    }
    return [...this.#judge.found];
  }

  async #play(step: Step): Promise<void> {
    switch (step.kind) {
      case 'pipeline':
        return this.#pipeline(step.client, step.commands, step.cut);
      case 'reconnect':
        return this.#reconnect(step.client, step.quit);
      case 'broken':
        return this.#broken(step);
      case 'scan':
        return this.#scan(step.client, step.args);
      case 'dump':
        return this.#dump(step.client, step.from, step.to);
      case 'functions':
        return this.#functions(step.client, step.policy);
      case 'blocking':
        return this.#blocking(step);
      case 'pubsub':
        return this.#pubsub(step);
    }
  }

  #pair(client: number): Pair {
    return this.#pairs[client] as Pair;
  }

  #note(client: number, command: Command): void {
    this.commands += 1;
    const list = this.history[client] as string[];
    list.push(describe(command));
    if (list.length > 60) list.shift();
  }

  async #pipeline(client: number, commands: readonly Command[], cut?: Parameters<Wire['send']>[1]): Promise<void> {
    const pair = this.#pair(client);
    for (const command of commands) this.#note(client, command);
    await pair.subject.send(Buffer.concat(commands.map(encode)), cut);
    const answered = commands.filter(command => command.answered);
    const replies = (await pair.subject.take(answered.length)).map(parseReply);
    const asked = await this.#translate(pair, commands, replies);
    const sent = asked.filter(one => one.args !== null);
    const bytes = sent.map(({ command, args }) =>
      encode({ ...command, inline: false, args: args as readonly Buffer[] }),
    );
    await pair.reference.send(Buffer.concat(bytes));
    const references = (await this.#referenceTake(pair, sent.filter(one => one.command.answered).length)).map(
      parseReply,
    );
    this.#hold(pair, asked, replies, references);
  }

  async #referenceTake(pair: Pair, count: number): Promise<Buffer[]> {
    try {
      return await pair.reference.take(count);
    } catch (error) {
      throw error instanceof Silent ? new Error(`the reference: ${error.message}`) : error;
    }
  }

  /** What the reference is asked for each command of the subject; null: nothing. */
  async #translate(pair: Pair, commands: readonly Command[], replies: readonly Reply[]): Promise<Asked[]> {
    const asked: Asked[] = [];
    let at = 0;
    let open = pair.queued !== null;
    for (const command of commands) {
      const reply = command.answered ? (replies[at++] as Reply) : null;
      const unsent = reply === null || !this.#options.proxy ? null : await this.#unsent(pair, command, reply, open);
      const name = namesOf(command)[0];
      if (unsent !== null) {
        asked.push({ command, args: open ? REFUSED_IN_QUEUE : null, unsent, followed: null });
        continue;
      }
      const allowed = reply === null || open ? null : allowedFor(command);
      const follow = reply === null ? null : (allowed?.follow?.(command.args, reply) ?? null);
      const args = follow?.map(word => (typeof word === 'string' ? Buffer.from(word) : word)) ?? command.args;
      asked.push({ command, args, unsent: null, followed: follow === null ? null : allowed });
      if (reply !== null) open = this.#trackBlock(pair, name, command, reply, open);
    }
    return asked;
  }

  /** Follows transactions and watches, for the keys that must lie together. */
  #trackBlock(pair: Pair, name: string, command: Command, reply: Reply, open: boolean): boolean {
    const fine = reply.type !== '-';
    if (name === 'MULTI' && fine) return true;
    const ended = open && (name === 'EXEC' || (name === 'DISCARD' && fine));
    if (ended || (name === 'RESET' && fine)) {
      pair.block = [];
      return false;
    }
    if (name === 'UNWATCH' && fine && !open) pair.block = [];
    if (name === 'WATCH' && fine) pair.block.push(command);
    if (open && fine) pair.block.push(command);
    return open;
  }

  async #unsent(pair: Pair, command: Command, reply: Reply, open: boolean): Promise<string | null> {
    const refusal = refusalOf(command, reply, open, pair.block.length > 0);
    if (refusal !== null) return refusal.name;
    const [name] = namesOf(command);
    if (!reply.raw.toString('latin1', 0, 10).startsWith('-CROSSSLOT')) return null;
    const together = await this.#keysOf(command);
    if (open || name === 'WATCH') for (const other of pair.block) together.push(...(await this.#keysOf(other)));
    return name.startsWith('SORT') || this.#apart(together) ? CROSS_SHARD.name : null;
  }

  /** The keys of a command, by the reference's own word. */
  async #keysOf(command: Command): Promise<Buffer[]> {
    const reply = parseReply(await (this.#asker as Wire).ask('COMMAND', 'GETKEYS', ...command.args));
    // Redis finds no keys where an optional second range is empty (PFMERGE with one key).
    if (reply.type === '-') return command.args.slice(1, 2);
    return reply.items.map(item => item.text);
  }

  #apart(keys: readonly Buffer[]): boolean {
    const placeOf: (key: Buffer) => number | string = this.#options.shardOf ?? tagOf;
    return new Set(keys.map(placeOf)).size > 1;
  }

  #hold(pair: Pair, asked: readonly Asked[], subjects: readonly Reply[], references: readonly Reply[]): void {
    let at = 0;
    let referenceAt = 0;
    for (const one of asked) {
      if (!one.command.answered) continue;
      const subject = subjects[at++] as Reply;
      const reference = one.args === null ? null : (references[referenceAt++] as Reply);
      if (one.unsent !== null) this.#judge.need(one.unsent);
      else if (reference !== null) this.#judgeCommand(pair, one, subject, reference);
    }
  }

  #judgeCommand(pair: Pair, one: Asked, subject: Reply, reference: Reply): void {
    const name = namesOf(one.command)[0];
    const queued = pair.queued;
    if (name === 'MULTI' && reference.type === '+') pair.queued ??= [];
    else if (queued !== null && reference.raw.toString() === '+QUEUED\r\n') queued.push(one.command);
    else if (name === 'EXEC' || name === 'DISCARD' || name === 'RESET') {
      if (name !== 'DISCARD' || reference.type === '+') pair.queued = null;
      if (name === 'EXEC' && queued !== null) {
        this.#judgeBlock(queued, one, subject, reference);
        return;
      }
    }
    this.#judge.one(one.command, one.followed, subject, reference);
  }

  #judgeBlock(queued: readonly Command[], one: Asked, subject: Reply, reference: Reply): void {
    if (subject.type !== '*' || subject.items.length !== queued.length || reference.items.length !== queued.length) {
      this.#judge.one(one.command, null, subject, reference);
      return;
    }
    queued.forEach((command, i) => {
      this.#judge.one(command, null, subject.items[i] as Reply, reference.items[i] as Reply, 'in EXEC: ');
    });
  }

  async #reconnect(client: number, quit: boolean): Promise<void> {
    const old = this.#pair(client);
    if (quit) {
      const command = { args: [Buffer.from('QUIT')], inline: false, lead: '', answered: true };
      await old.subject.send(encode(command));
      await old.reference.send(encode(command));
      this.#judge.same('QUIT', await old.subject.takeAll(), await old.reference.takeAll());
    }
    old.subject.close();
    old.reference.close();
    this.#pairs[client] = await this.#connect();
    this.history[client] = [];
  }

  async #broken(step: Extract<Step, { kind: 'broken' }>): Promise<void> {
    const pair = await this.#connect();
    this.commands += 1;
    try {
      await pair.reference.send(step.bytes);
      const reference = await pair.reference.takeAll();
      await pair.subject.send(step.bytes, step.cut);
      this.#judge.same(`broken input ${printable(step.bytes, 80)}`, await pair.subject.takeAll(), reference);
    } finally {
      pair.subject.close();
      pair.reference.close();
    }
  }

  /** The keys of a whole walk of the subject against those of the reference. */
  async #scan(client: number, args: readonly Buffer[]): Promise<void> {
    const pair = this.#pair(client);
    const [subject, reference] = [await this.#walk(pair.subject, args), await this.#walk(pair.reference, args)];
    const [a, b] = [[...subject].sort().join('\n'), [...reference].sort().join('\n')];
    const what = `whole SCAN ${args.map(arg => printable(arg)).join(' ')}`;
    if (a !== b) this.#judge.report(what, printable(Buffer.from(a)), printable(Buffer.from(b)), 'whole SCAN');
  }

  async #walk(wire: Wire, args: readonly Buffer[]): Promise<Set<string>> {
    const keys = new Set<string>();
    let cursor = '0';
    for (let turn = 0; turn < 20_000; turn += 1) {
      this.commands += 1;
      const reply = parseReply(await wire.ask('SCAN', cursor, ...args));
      const [next, page] = reply.items;
      if (!next || !page) throw new Silent(`SCAN ${cursor} was answered ${printable(reply.raw)}`);
      for (const item of page.items) keys.add(item.text.toString('latin1'));
      cursor = next.text.toString();
      if (cursor === '0') return keys;
      if (!/^\d{1,16}$/.test(cursor) || Number(cursor) > Number.MAX_SAFE_INTEGER) throw new Silent(`cursor ${cursor}`);
    }
    throw new Silent('SCAN comes to no end');
  }

  /** `DUMP`, then `RESTORE` of the subject's bytes on both. */
  async #dump(client: number, from: Buffer, to: Buffer): Promise<void> {
    const pair = this.#pair(client);
    this.commands += 2;
    const dumped = parseReply(await pair.subject.ask('DUMP', from));
    if (dumped.type !== '$' || dumped.isNull) return;
    const words = ['RESTORE', to, '0', dumped.text, 'REPLACE'] as const;
    this.#judge.same('RESTORE of a DUMP', [await pair.subject.ask(...words)], [await pair.reference.ask(...words)]);
  }

  /** `FUNCTION DUMP`, then `FUNCTION RESTORE` of the subject's bytes on both. */
  async #functions(client: number, policy: string): Promise<void> {
    const pair = this.#pair(client);
    this.commands += 2;
    const dumped = parseReply(await pair.subject.ask('FUNCTION', 'DUMP'));
    const words = ['FUNCTION', 'RESTORE', dumped.text, policy] as const;
    const [subject, reference] = [await pair.subject.ask(...words), await pair.reference.ask(...words)];
    const command = {
      args: ['FUNCTION', 'RESTORE', '', policy].map(word => Buffer.from(word)),
      inline: false,
      lead: '',
      answered: true,
    };
    this.#judge.one(command, null, parseReply(subject), parseReply(reference));
  }

  async #blocking(step: Extract<Step, { kind: 'blocking' }>): Promise<void> {
    const answers: Buffer[][] = [];
    for (const side of ['subject', 'reference'] as const) {
      const got: Buffer[] = [];
      const [clear, ...pushes] = step.pushes as [Command, ...Command[]];
      for (const client of [step.client, ...step.waiters.map(waiter => waiter.client)]) {
        const pair = this.#pair(client);
        await pair[side].ask('UNWATCH');
        await pair[side].ask('SELECT', '0');
        pair.block = [];
      }
      got.push(await this.#pair(step.client)[side].exchange(clear));
      for (const [index, waiter] of step.waiters.entries()) {
        const wires = step.waiters.slice(0, index + 1).map(({ client }) => this.#pair(client)[side]);
        await this.#pair(waiter.client)[side].send(encode(waiter.command));
        await this.#eachWaits(side, wires);
      }
      for (const push of pushes) got.push(await this.#pair(step.client)[side].exchange(push));
      for (const waiter of step.waiters) got.push(...(await this.#pair(waiter.client)[side].take(1)));
      answers.push(got);
    }
    for (const waiter of step.waiters) this.#note(waiter.client, waiter.command);
    for (const push of step.pushes) this.#note(step.client, push);
    const all = [...step.pushes, ...step.waiters.map(waiter => waiter.command)];
    all.forEach((command, i) => {
      const [subject, reference] = [answers[0]?.[i], answers[1]?.[i]] as [Buffer, Buffer];
      this.#judge.one(command, null, parseReply(subject), parseReply(reference), 'blocking: ');
    });
  }

  /** Until each of these clients waits for data, or has its answer; what waits is served in the order of its coming. */
  async #eachWaits(side: 'subject' | 'reference', wires: readonly Wire[]): Promise<void> {
    const { nodes } = this.#options[side];
    for (const endMs = performance.now() + HANG_MS; performance.now() < endMs; await pause(LOOK_MS)) {
      const infos = await Promise.all(this.#lookers[side].map(wire => wire.ask('INFO', 'clients')));
      const counts = infos.map(info => Number(/\r\nblocked_clients:(\d+)/.exec(info.toString())?.[1]));
      const blocked = counts.reduce((sum, count) => sum + count, 0);
      if (blocked + wires.filter(wire => wire.waiting > 0).length >= wires.length) break;
    }
    if (side === 'subject' && this.#options.proxy && nodes === undefined) await pause(WAITER_PAUSE_MS);
  }

  async #pubsub(step: Extract<Step, { kind: 'pubsub' }>): Promise<void> {
    const second = step.second === null ? null : this.#pair(step.second);
    await playPubsub(step, this.#pair(step.listener), second, this.#pair(step.client), this.#judge);
    for (const command of [...step.subscribe, ...step.within, ...step.unsubscribe]) this.#note(step.listener, command);
    for (const command of step.publish) this.#note(step.client, command);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}

interface Asked {
  readonly command: Command;
  /** What the reference is sent; null: nothing. */
  readonly args: readonly Buffer[] | null;
  /** Why it is not sent what the subject was. */
  readonly unsent: string | null;
  readonly followed: Allowed | null;
}

/** The part of a key that decides its place: what stands in the first pair of braces, or all of it. */
export function tagOf(key: Buffer): string {
  const text = key.toString('latin1');
  const open = text.indexOf('{');
  const end = open < 0 ? -1 : text.indexOf('}', open + 1);
  return end > open + 1 ? text.slice(open + 1, end) : text;
}
