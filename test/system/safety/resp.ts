/**
 * A plain RESP2 connection: what is sent is what the test says, nothing is tried twice, and a connection that breaks
 * says so for each command that it leaves unanswered.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { HANG_MS } from '../../support/patience.ts';
import { frame } from '../faults/raw-client.ts';

/** An error reply: Redis's words, which begin with a code. */
export class ErrorReply {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** The first word. */
  get code(): string {
    return this.text.split(' ', 1)[0] ?? '';
  }
}

export type Reply = string | number | null | ErrorReply | Reply[];

/** The connection ended, or was too slow, before this command was answered: nobody knows what became of it. */
export class ConnectionLost extends Error {}

interface Waiting {
  resolve(reply: Reply): void;
  reject(error: Error): void;
}

export class RespConnection {
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];
  readonly #reader = new ReplyReader();
  #lost: Error | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', bytes => this.#receive(bytes));
    socket.on('error', error => this.#end(error.message));
    socket.on('close', () => this.#end('closed'));
  }

  /** Rejects with `ConnectionLost` when nobody accepts within the limit. */
  static async open(host: string, port: number, limitMs = HANG_MS): Promise<RespConnection> {
    const socket = connect(port, host);
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(limitMs) });
    } catch (error) {
      socket.on('error', () => undefined);
      socket.destroy();
      throw new ConnectionLost(`no connection to ${host}:${port}: ${String(error)}`);
    }
    return new RespConnection(socket);
  }

  get lost(): boolean {
    return this.#lost !== null;
  }

  /** Sends a command; the reply, error replies included. Rejects with `ConnectionLost` when it never comes. */
  call(...words: (string | Buffer)[]): Promise<Reply> {
    return this.#send(frame(...words), 1).then(replies => replies[0] as Reply);
  }

  /** Sends commands in one piece; their replies. */
  pipeline(...commands: readonly (readonly string[])[]): Promise<Reply[]> {
    return this.#send(Buffer.concat(commands.map(words => frame(...words))), commands.length);
  }

  /** As `call`; an error reply is an exception here. */
  async must(...words: string[]): Promise<Exclude<Reply, ErrorReply>> {
    const reply = await this.call(...words);
    if (reply instanceof ErrorReply) throw new Error(`${words.slice(0, 3).join(' ')}: ${reply.text}`);
    return reply;
  }

  /** Gives the connection up when a command stays unanswered for so long. */
  giveUpAfter(limitMs: number): void {
    this.#socket.setTimeout(limitMs, () => {
      if (this.#waiting.length > 0) this.#end(`no answer within ${limitMs} ms`);
    });
  }

  close(): void {
    this.#end('closed by the test');
  }

  #send(bytes: Buffer, count: number): Promise<Reply[]> {
    if (this.#lost !== null) return Promise.reject(this.#lost);
    const replies = Array.from(
      { length: count },
      () => new Promise<Reply>((resolve, reject) => this.#waiting.push({ resolve, reject })),
    );
    this.#socket.write(bytes);
    return Promise.all(replies);
  }

  #receive(bytes: Buffer): void {
    this.#reader.push(bytes);
    for (let reply = this.#reader.next(); reply !== undefined; reply = this.#reader.next())
      this.#waiting.shift()?.resolve(reply);
  }

  #end(why: string): void {
    if (this.#lost !== null) return;
    this.#lost = new ConnectionLost(why);
    this.#socket.destroy();
    for (const { reject } of this.#waiting.splice(0)) reject(this.#lost);
  }
}

/** Cuts a stream into replies. */
class ReplyReader {
  #bytes = Buffer.alloc(0);
  #at = 0;

  push(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes.subarray(this.#at), bytes]);
    this.#at = 0;
  }

  /** The next reply; undefined while it is not whole. */
  next(): Reply | undefined {
    const start = this.#at;
    const reply = this.#read();
    if (reply === undefined) this.#at = start;
    return reply;
  }

  #read(): Reply | undefined {
    const line = this.#line();
    if (line === undefined) return undefined;
    const rest = line.slice(1);
    switch (line[0]) {
      case '+':
        return rest;
      case '-':
        return new ErrorReply(rest);
      case ':':
        return Number(rest);
      case '$':
        return Number(rest) < 0 ? null : this.#bulk(Number(rest));
      case '*':
        return Number(rest) < 0 ? null : this.#array(Number(rest));
      default:
        throw new Error(`this is no RESP2 reply: ${JSON.stringify(line)}`);
    }
  }

  #line(): string | undefined {
    const end = this.#bytes.indexOf('\r\n', this.#at, 'latin1');
    if (end < 0) return undefined;
    const line = this.#bytes.toString('latin1', this.#at, end);
    this.#at = end + 2;
    return line;
  }

  /** One character per byte: payloads of DUMP survive it. */
  #bulk(length: number): string | undefined {
    if (this.#bytes.length < this.#at + length + 2) return undefined;
    const text = this.#bytes.toString('latin1', this.#at, this.#at + length);
    this.#at += length + 2;
    return text;
  }

  #array(length: number): Reply[] | undefined {
    const items: Reply[] = [];
    for (let index = 0; index < length; index += 1) {
      const item = this.#read();
      if (item === undefined) return undefined;
      items.push(item);
    }
    return items;
  }
}
