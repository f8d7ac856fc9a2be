/** One raw connection of the test: bytes out in chosen pieces, whole frames in. */
import { connect, type Socket } from 'node:net';
import { Random } from '../../src/base/random.ts';
import { HANG_MS } from '../support/patience.ts';
import type { Command, Cut } from './generator.ts';
import { FrameReader, printable } from './reader.ts';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** Of a proxy, where known: the servers in which its clients wait for data in the end. */
  readonly nodes?: readonly Endpoint[];
}

/** A server that did not answer as often as it was asked, or at all. */
export class Silent extends Error {
  override readonly name = 'Silent';
}

const MOST_WRITES = 400;

/** The wire form of a command: an array of bulk strings, or a line with what needs it in quotes. */
export function encode(command: Command): Buffer {
  const parts: Buffer[] = [Buffer.from(command.lead)];
  if (command.inline) {
    parts.push(Buffer.from(`${command.args.map(quoted).join(' ')}\r\n`, 'latin1'));
  } else {
    parts.push(Buffer.from(`*${command.args.length}\r\n`));
    for (const arg of command.args) parts.push(Buffer.from(`$${arg.length}\r\n`), arg, Buffer.from('\r\n'));
  }
  return Buffer.concat(parts);
}

function quoted(arg: Buffer): string {
  if (arg.length > 0 && /^[\w{}.:|-]+$/.test(arg.toString('latin1'))) return arg.toString('latin1');
  let text = '"';
  for (const byte of arg) {
    const plain = byte >= 32 && byte < 127 && byte !== 34 && byte !== 92;
    text += plain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return `${text}"`;
}

/** The bytes in pieces, as the cut says. */
export function pieces(bytes: Buffer, cut: Cut): Buffer[] {
  if (cut.everyByte && bytes.length <= MOST_WRITES) return [...bytes].map(byte => Buffer.from([byte]));
  const random = new Random(cut.seed);
  const marks = new Set<number>();
  for (let left = random.below(5); left > 0; left -= 1) marks.add(1 + random.below(Math.max(1, bytes.length - 1)));
  const list: Buffer[] = [];
  let from = 0;
  for (const mark of [...marks].sort((a, b) => a - b)) {
    list.push(bytes.subarray(from, mark));
    from = mark;
  }
  list.push(bytes.subarray(from));
  return list;
}

export class Wire {
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  readonly #patienceMs: number;
  #frames: Buffer[] = [];
  #ended: string | null = null;
  #wake: (() => void) | null = null;

  private constructor(socket: Socket, patienceMs: number) {
    this.#socket = socket;
    this.#patienceMs = patienceMs;
    socket.setNoDelay(true);
    socket.on('data', chunk => {
      try {
        this.#frames.push(...this.#reader.feed(chunk));
      } catch (error) {
        this.#ended = `sent what is no RESP: ${String(error)}`;
        socket.destroy();
      }
      this.#wake?.();
    });
    socket.on('error', error => this.#end(error.message));
    socket.on('close', () => this.#end('closed by the server'));
  }

  static open(endpoint: Endpoint, patienceMs = HANG_MS): Promise<Wire> {
    return new Promise((resolve, reject) => {
      const socket = connect(endpoint.port, endpoint.host, () => {
        socket.off('error', reject);
        resolve(new Wire(socket, patienceMs));
      });
      socket.once('error', reject);
    });
  }

  #end(why: string): void {
    this.#ended ??= why;
    this.#wake?.();
  }

  /** Frames that arrived and were not taken. */
  get waiting(): number {
    return this.#frames.length;
  }

  async send(bytes: Buffer, cut?: Cut): Promise<void> {
    for (const piece of cut === undefined ? [bytes] : pieces(bytes, cut)) {
      if (this.#ended !== null) return;
      this.#socket.write(piece);
      if (cut !== undefined) await new Promise(resolve => setImmediate(resolve));
    }
  }

  /** Takes the next `count` frames, waiting for them. */
  async take(count: number): Promise<Buffer[]> {
    const deadline = Date.now() + this.#patienceMs;
    while (this.#frames.length < count) {
      if (this.#ended !== null) throw new Silent(`${this.#ended}; ${this.#state(count)}`);
      const left = deadline - Date.now();
      if (left <= 0) throw new Silent(`no answer within ${this.#patienceMs} ms; ${this.#state(count)}`);
      await this.#more(left);
    }
    return this.#frames.splice(0, count);
  }

  /** Takes the frames up to and with the first that is the last one asked for. */
  async takeUntil(isLast: (frame: Buffer) => boolean): Promise<Buffer[]> {
    const taken: Buffer[] = [];
    for (;;) {
      const [frame] = (await this.take(1)) as [Buffer];
      taken.push(frame);
      if (isLast(frame)) return taken;
    }
  }

  /** Everything until the server closes the connection. */
  async takeAll(): Promise<Buffer[]> {
    const deadline = Date.now() + this.#patienceMs;
    while (this.#ended === null) {
      const left = deadline - Date.now();
      if (left <= 0) throw new Silent(`the connection was to be closed and was not; ${this.#state(0)}`);
      await this.#more(left);
    }
    return this.#frames.splice(0);
  }

  async #more(mostMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>(resolve => {
      this.#wake = resolve;
      timer = setTimeout(resolve, mostMs);
    });
    clearTimeout(timer);
    this.#wake = null;
  }

  #state(count: number): string {
    const got = this.#frames
      .map(frame => printable(frame, 60))
      .slice(0, 3)
      .join(' | ');
    return `${this.#frames.length} of ${count} replies, ${this.#reader.pendingBytes} bytes of the next: ${got}`;
  }

  /** Sends one command and takes its reply. */
  async exchange(command: Command): Promise<Buffer> {
    await this.send(encode(command));
    return ((await this.take(1)) as [Buffer])[0];
  }

  /** As `exchange`, for words that go as an array. */
  async ask(...words: (string | Buffer)[]): Promise<Buffer> {
    const args = words.map(word => (typeof word === 'string' ? Buffer.from(word) : word));
    return this.exchange({ args, inline: false, lead: '', answered: true });
  }

  close(): void {
    this.#socket.destroy();
  }
}
