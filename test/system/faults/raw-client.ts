/** A connection that sends exactly these bytes and keeps exactly what comes back. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { HANG_MS } from '../../support/patience.ts';

export class RawClient {
  readonly socket: Socket;
  #pieces: Buffer[] = [];
  #length = 0;
  closed = false;
  #changed: () => void = () => {};

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', piece => {
      this.#pieces.push(piece);
      this.#length += piece.length;
      this.#changed();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.closed = true;
      this.#changed();
    });
  }

  static async open(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1');
    const client = new RawClient(socket);
    await once(socket, 'connect');
    return client;
  }

  send(bytes: string | Buffer): void {
    this.socket.write(bytes);
  }

  /** How many bytes came so far. */
  get length(): number {
    return this.#length;
  }

  /** Everything that came so far, one character per byte. */
  get text(): string {
    const all = Buffer.concat(this.#pieces);
    this.#pieces = [all];
    return all.toString('latin1');
  }

  /** Waits until the condition holds or the connection has ended; fails when neither happens. */
  async until(condition: () => boolean, limitMs = HANG_MS): Promise<void> {
    const deadline = Date.now() + limitMs;
    while (!condition() && !this.closed) {
      const leftMs = deadline - Date.now();
      if (leftMs <= 0)
        throw new Error(`not within ${limitMs} ms; came so far: ${JSON.stringify(this.text.slice(-500))}`);
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, leftMs);
        this.#changed = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Waits for the text that ends with `ending`. */
  async textEndingWith(ending: string, limitMs = HANG_MS): Promise<string> {
    await this.until(() => this.text.endsWith(ending), limitMs);
    return this.text;
  }

  async untilClosed(limitMs = HANG_MS): Promise<void> {
    await this.until(() => this.closed, limitMs);
  }

  close(): void {
    this.socket.destroy();
  }
}

export interface Answer {
  readonly text: string;
  /** Whether the server has hung up. */
  readonly closed: boolean;
}

/** What two servers answer to these bytes, each on a new connection: ours, and the stock one that is the measure. */
export async function answersOf(ours: number, stock: number, bytes: string | Buffer): Promise<[Answer, Answer]> {
  const right = await answerOf(stock, bytes);
  return [await answerOf(ours, bytes, right), right];
}

/** What a server answers, which is at least as much as `right`, unless it never does. */
export async function answerOf(port: number, bytes: string | Buffer, right: Answer | null = null): Promise<Answer> {
  const client = await RawClient.open(port);
  client.send(bytes);
  const isEnough = (): boolean =>
    right === null ? client.length > 0 : client.length >= right.text.length && (client.closed || !right.closed);
  // Some are never answered: whoever is silent for so long will stay so, also where the machine is busy.
  await client.until(isEnough, right === null ? SILENT_MS : HANG_MS).catch(() => undefined);
  let before = -1;
  // Quiet for a while: whatever was to come has come.
  while (!client.closed && client.length !== before) {
    before = client.length;
    await new Promise(resolve => setTimeout(resolve, QUIET_MS));
  }
  const { text, closed } = client;
  client.close();
  return { text, closed };
}

const SILENT_MS = 2_000;
const QUIET_MS = 120;

/** The words of a command as Redis clients send them. */
export function frame(...words: (string | Buffer)[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${words.length}\r\n`)];
  for (const word of words) {
    const bytes = Buffer.from(word);
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, CRLF);
  }
  return Buffer.concat(parts);
}

const CRLF = Buffer.from('\r\n');
