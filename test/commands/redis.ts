/** A stock redis-server of the test's own on a free port, with a connection that answers errors as values. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HANG_MS } from '../support/patience.ts';
import { freePorts } from '../support/ports.ts';
import { argumentsOf, type Word } from './arguments-of.ts';

export type Reply = Buffer | number | null | Error | Reply[];

export class RedisUnderTest {
  readonly #process: ChildProcess;
  readonly #directory: string;
  readonly #socket: Socket;
  readonly #waiting: ((reply: Reply) => void)[] = [];
  #unread = Buffer.alloc(0);

  private constructor(process: ChildProcess, directory: string, socket: Socket) {
    this.#process = process;
    this.#directory = directory;
    this.#socket = socket;
    socket.on('data', bytes => this.#read(bytes));
  }

  static async start(): Promise<RedisUnderTest> {
    const port = await freePorts(1);
    const directory = mkdtempSync(join(tmpdir(), 'ringside-commands-'));
    const place = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory];
    const options = [...place, '--save', '', '--appendonly', 'no'];
    const server = spawn('redis-server', options, { stdio: 'ignore' });
    for (const endMs = performance.now() + HANG_MS; ; ) {
      const socket = connect(port, '127.0.0.1');
      try {
        await once(socket, 'connect');
        return new RedisUnderTest(server, directory, socket);
      } catch (error) {
        if (performance.now() > endMs) throw error;
        await new Promise(resolve => setTimeout(resolve, 20));
      }
    }
  }

  /** The reply, strings as Buffers; an error reply is an Error whose message is the line (latin1) without "-". */
  call(...words: Word[]): Promise<Reply> {
    this.#socket.write(argumentsOf(...words).bytes);
    return new Promise(resolve => this.#waiting.push(resolve));
  }

  /** The error line of the reply; null when it is no error. */
  async errorOf(...words: Word[]): Promise<string | null> {
    const reply = await this.call(...words);
    return reply instanceof Error ? reply.message : null;
  }

  async stop(): Promise<void> {
    this.#socket.destroy();
    this.#process.kill();
    await once(this.#process, 'exit');
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #read(bytes: Buffer): void {
    this.#unread = Buffer.concat([this.#unread, bytes]);
    let from = 0;
    for (;;) {
      const found = readReply(this.#unread, from);
      if (found === null) break;
      from = found.end;
      this.#waiting.shift()?.(found.reply);
    }
    this.#unread = this.#unread.subarray(from);
  }
}

/** The RESP2 reply that begins at `at`, and where it ends; null while it is not whole. */
function readReply(bytes: Buffer, at: number): { reply: Reply; end: number } | null {
  const lineEnd = bytes.indexOf('\r\n', at);
  if (lineEnd < 0) return null;
  const type = String.fromCharCode(bytes[at] as number);
  const line = bytes.subarray(at + 1, lineEnd);
  const end = lineEnd + 2;
  if (type === '+') return { reply: Buffer.from(line), end };
  if (type === '-') return { reply: new Error(line.toString('latin1')), end };
  const number = Number(line.toString('latin1'));
  if (type === ':') return { reply: number, end };
  if (number < 0) return { reply: null, end };
  if (type === '$') {
    if (bytes.length < end + number + 2) return null;
    return { reply: Buffer.from(bytes.subarray(end, end + number)), end: end + number + 2 };
  }
  if (type !== '*') throw new Error(`not RESP2: ${type}`);
  return readList(bytes, end, number);
}

function readList(bytes: Buffer, at: number, count: number): { reply: Reply; end: number } | null {
  const list: Reply[] = [];
  let end = at;
  for (let i = 0; i < count; i += 1) {
    const element = readReply(bytes, end);
    if (element === null) return null;
    list.push(element.reply);
    end = element.end;
  }
  return { reply: list, end };
}
