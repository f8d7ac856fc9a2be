import type { Socket } from 'node:net';
import { coarse, tick } from '../base/coarse-clock.ts';
import { Fifo } from '../base/fifo.ts';
import { type Flushable, scheduleFlush } from '../base/flush-queue.ts';
import { readAccepted } from '../base/socket-reads.ts';
import { Client, type ClientPort, type EndReason } from '../proxy/client.ts';
import { letGo } from '../proxy/client-unblock.ts';
import { dispatch } from '../proxy/dispatch.ts';
import { refuseOverload, Verdict } from '../proxy/forward.ts';
import type { Proxy } from '../proxy/proxy.ts';
import { CommandDecoder, Framed } from '../resp/command-decoder.ts';
import { error } from '../resp/encoder.ts';
import type { Request, Segment } from '../upstream/request.ts';

/**
 * One client's socket: bytes in, commands out to dispatch; replies in, one write a turn.
 *
 * A client's commands are looked at as long as nothing stands against it: none that must be waited for (`held`,
 * `#awaitsIdle`), not too many in flight, not too many replies unread. Meanwhile its bytes are kept up to a bound, then
 * its socket is not read any more: the client waits, nobody else does.
 */
export class Session implements Flushable, ClientPort {
  flushScheduled = false;
  readonly remoteAddress: string;
  readonly localAddress: string;
  readonly connectedMs: number;
  readonly client: Client;
  readonly #socket: Socket;
  readonly #proxy: Proxy;
  readonly #decoder: CommandDecoder;
  readonly #onEnd: (session: Session) => void;
  readonly #onWritten: () => void;
  /** Buffers whose bytes have not all left the process, in the order of writing. */
  readonly #writing = new Fifo<Buffer>(NO_BUFFER, 2);
  #unread = 0;
  /** The next command waits until all earlier ones are answered. */
  #awaitsIdle = false;
  #processing = false;
  #readingPaused = false;
  #ended = false;
  /** When the client last took something of what it was sent. */
  #takenMs: number;

  /** `unixPath`: where it listens, when that is a path; empty for TCP. */
  constructor(socket: Socket, proxy: Proxy, unixPath: string, onEnd: (session: Session) => void) {
    const { limits, auth } = proxy.config.proxy;
    this.#socket = socket;
    this.#proxy = proxy;
    this.#onEnd = onEnd;
    this.remoteAddress = addressOf(socket.remoteAddress, socket.remotePort, unixPath);
    this.localAddress = addressOf(socket.localAddress, socket.localPort, unixPath);
    this.connectedMs = performance.now();
    this.#takenMs = this.connectedMs;
    this.#decoder = new CommandDecoder(limits, proxy.pool);
    this.client = new Client(proxy.nextClientId(), this, proxy.pool, proxy.metrics.clients);
    this.#onWritten = () => this.#releaseWritten();
    if (auth !== null) {
      this.client.authenticated = false;
      this.#decoder.authenticated = false;
      this.client.settle();
    }
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    readAccepted(socket, (length, bytes) => this.#onBytes(length, bytes));
    socket.on('error', () => this.end('client'));
    socket.on('end', () => this.#onClientEnd());
    socket.on('close', () => this.end('client'));
  }

  wake(): void {
    scheduleFlush(this);
  }

  write(buffer: Buffer, used: number): void {
    if (this.#ended) {
      this.#proxy.pool.release(buffer);
      return;
    }
    if (this.#unread === 0) this.#takenMs = this.#proxy.nowMs;
    this.#writing.push(buffer);
    this.#socket.write(used === buffer.length ? buffer : buffer.subarray(0, used), this.#onWritten);
  }

  takeOwned(): Buffer | null {
    return this.#decoder.takeOwned();
  }

  setAuthenticated(authenticated: boolean): void {
    this.#decoder.authenticated = authenticated;
  }

  onAnswered(request: Request): void {
    if (request.arrivedMs === 0) return;
    const tookMs = coarse.nowMs - request.arrivedMs;
    answered += 1;
    if ((answered & SAMPLE_MASK) === 0) {
      const { latency } = this.#proxy.metrics;
      (request.isWrite ? latency.write : latency.read).observe(tookMs * 1000);
    }
    const { overMs, keep } = this.#proxy.config.proxy.slowlog;
    if (tookMs >= overMs && keep > 0 && request.segment !== null) this.#logSlow(request, tookMs);
  }

  #logSlow(request: Request, tookMs: number): void {
    const { buffer } = request.segment as Segment;
    const bytes = buffer.subarray(request.from, Math.min(request.to, request.from + MOST_SLOWLOG_BYTES));
    this.#proxy.slowlog.add(tookMs, slowlogWords(bytes), this.remoteAddress, this.client.name);
  }

  onError(reply: Buffer): void {
    const space = reply.indexOf(0x20);
    this.#proxy.metrics.errors.count(reply.toString('latin1', 1, space < 0 ? reply.length - 2 : space));
  }

  /** Ends the connection at once. */
  end(reason: EndReason): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#proxy.metrics.closed[CLOSED_CELL[reason]] += 1;
    this.#proxy.pool.unreadBytes -= this.#unread;
    this.#unread = 0;
    if (this.#readingPaused) this.#proxy.metrics.clients.paused -= 1;
    this.client.close();
    this.#decoder.close();
    this.#socket.destroy();
    while (this.#writing.length > 0) this.#proxy.pool.release(this.#writing.shift());
    this.#onEnd(this);
  }

  /**
   * Ends behind the next answer, or when the client stays silent: what it has just sent may still be on its way, most of
   * all the first command of a connection that was accepted a moment ago.
   */
  drain(nowMs: number): void {
    this.#drainedMs = nowMs;
    this.#answeredBefore = this.client.commands;
    if (this.client.inFlight > 0) this.#answeredBefore -= 1;
    letGo(this.#proxy, this.client);
  }
  /** When draining began; 0: it has not. */
  #drainedMs = 0;
  #answeredBefore = 0;

  /** Looks at the clock: a client that does not read its replies is ended. */
  sweep(nowMs: number): void {
    if (this.#drainedMs > 0 && this.#isSilent(nowMs)) this.client.ending = true;
    if (this.client.ending) this.wake();
    if (this.#unread === 0) return;
    this.#countUnread();
    const { limits, timeoutMs } = this.#proxy.config.proxy;
    if (this.#unread <= limits.unreadBytes) return;
    const stalled = nowMs - this.#takenMs > timeoutMs;
    if (stalled || this.#unread > limits.unreadBytes + limits.bulkBytes) {
      this.#proxy.metrics.overloaded.unreadBytes += 1;
      this.end('slow');
    }
  }

  flush(): void {
    if (this.#ended) return;
    const { client } = this;
    if (this.#mayProcess()) this.#process();
    if (this.#ended) return;
    const pieces = client.outPieces;
    if (pieces > 0) {
      if (pieces > 1) this.#socket.cork();
      client.takeOut();
      if (pieces > 1) this.#socket.uncork();
      this.#countUnread();
      if (this.#unread > this.#proxy.config.proxy.limits.unreadBytes) this.sweep(this.#proxy.nowMs);
    }
    if (this.#ended) return;
    if (this.#drainedMs > 0 && client.inFlight === 0 && client.commands > this.#answeredBefore && !client.held) {
      if (this.#decoder.pendingBytes === 0) client.ending = true;
    }
    const idle = client.inFlight === 0 && client.borrowed === null && !client.held;
    if (client.ending ? client.inFlight === 0 && client.borrowed === null : this.#inputEnded && idle) this.#endSoon();
  }

  #isSilent(nowMs: number): boolean {
    if (this.client.inFlight > 0 || this.#decoder.pendingBytes > 0 || this.client.held) return false;
    const patienceMs = this.client.commands === 0 ? DRAIN_NEW_MS : DRAIN_IDLE_MS;
    return nowMs - Math.max(this.#drainedMs, this.client.lastActiveMs) >= patienceMs;
  }

  #onBytes(length: number, bytes: Buffer): void {
    if (this.#ended) return;
    const proxy = this.#proxy;
    const nowMs = tick();
    proxy.metrics.clients.bytesIn += length;
    this.client.lastActiveMs = nowMs;
    this.#decoder.feed(bytes, length);
    this.#starved = false;
    if (this.#mayProcess()) this.#process();
    if (this.#ended) return;
    this.#decoder.keepRest();
    if (!this.#mayProcess() && this.#decoder.pendingBytes > MOST_KEPT_BYTES) this.#pauseReading();
  }

  /** Dispatches commands until there is none whole, or one must be waited for. */
  #process(): void {
    if (this.#processing) return;
    this.#processing = true;
    this.#awaitsIdle = false;
    const decoder = this.#decoder;
    const client = this.client;
    for (;;) {
      const framed = decoder.next();
      if (framed === Framed.Command) {
        client.commands += 1;
        if (dispatch(this.#proxy, client, decoder.args) === Verdict.Defer) {
          decoder.unread();
          this.#awaitsIdle = true;
          break;
        }
        if (client.held || client.ending || client.inFlight >= MOST_IN_FLIGHT || this.#ended) break;
        continue;
      }
      if (framed === Framed.Overloaded) {
        refuseOverload(this.#proxy, client, 'heldBytes');
        continue;
      }
      if (framed === Framed.Malformed) {
        client.reply(error(`ERR Protocol error: ${decoder.problem}`));
        client.ending = true;
        this.#malformed = true;
        break;
      }
      this.#starved = true;
      break;
    }
    this.#processing = false;
    if (this.#ended) return;
    // What is kept may be one large command, of which the rest is still to be read.
    if (this.#readingPaused && (this.#starved || decoder.pendingBytes <= MOST_KEPT_BYTES)) this.#resumeReading();
  }
  /** No whole command is left in what was read. */
  #starved = false;
  #malformed = false;

  #mayProcess(): boolean {
    const { client } = this;
    if (client.held || client.ending || this.#processing) return false;
    if (this.#awaitsIdle && client.inFlight > 0) return false;
    return (
      client.inFlight < MOST_IN_FLIGHT && this.#unread + client.keptBytes <= this.#proxy.config.proxy.limits.unreadBytes
    );
  }

  #countUnread(): void {
    const unread = this.#socket.writableLength;
    if (unread === this.#unread) return;
    if (unread < this.#unread) this.#takenMs = this.#proxy.nowMs;
    this.#proxy.pool.unreadBytes += unread - this.#unread;
    this.#unread = unread;
  }

  /** One write has left the process; buffers come back in the order in which they were written. */
  #releaseWritten(): void {
    if (this.#ended) return;
    this.#proxy.pool.release(this.#writing.shift());
    if (this.#unread === 0) return;
    this.#takenMs = performance.now();
    this.#countUnread();
    this.wake();
  }

  /** The client will send nothing more: what it has sent is answered, unless it waits for data that may never come. */
  #onClientEnd(): void {
    if (this.client.borrowed !== null || this.client.subscriptions > 0) return this.end('client');
    this.#inputEnded = true;
    this.wake();
  }
  #inputEnded = false;

  #pauseReading(): void {
    if (this.#readingPaused) return;
    this.#readingPaused = true;
    this.#proxy.metrics.clients.paused += 1;
    this.#socket.pause();
  }

  #resumeReading(): void {
    this.#readingPaused = false;
    this.#proxy.metrics.clients.paused -= 1;
    this.#socket.resume();
  }

  #endReason(): EndReason {
    if (this.#malformed) return 'protocol';
    if (this.#drainedMs > 0) return 'drained';
    return this.#inputEnded ? 'client' : 'quit';
  }

  /** Ends the connection when all that was written has left. */
  #endSoon(): void {
    const reason = this.#endReason();
    if (this.#socket.writableLength === 0) {
      // A plain destroy would reset the connection under bytes of the client that nobody reads any more.
      this.#socket.end();
      this.end(reason);
      return;
    }
    if (this.#endingSoon) return;
    this.#endingSoon = true;
    this.#socket.end(() => this.end(reason));
  }
  #endingSoon = false;
}

/** As Redis writes addresses: `127.0.0.1:6379`, `[::1]:6379`, `/path:0`. */
function addressOf(host: string | undefined, port: number | undefined, unixPath: string): string {
  if (host === undefined) return `${unixPath}:0`;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** One command in 64 goes into the latency histograms. */
const SAMPLE_MASK = 63;
let answered = 0;
const NO_BUFFER = Buffer.alloc(0);
/** Commands of one client that are under way; more wait in its buffer. */
const MOST_IN_FLIGHT = 16384;
/** Bytes of commands kept for a client that must wait, before its socket is left alone. */
const MOST_KEPT_BYTES = 1024 * 1024;
/** How long a client must be silent before draining ends its connection: one that is new, and any other. */
const DRAIN_NEW_MS = 1000;
const DRAIN_IDLE_MS = 100;
/** As Redis has it by default (`tcp-keepalive 300`). */
const KEEP_ALIVE_MS = 300_000;
const MOST_SLOWLOG_BYTES = 4096;

const CLOSED_CELL = {
  client: 'byClient',
  quit: 'quit',
  killed: 'killed',
  protocol: 'protocolError',
  slow: 'slowReader',
  drained: 'drained',
  broken: 'byClient',
} as const;

/** The first arguments of a command, as many as its first bytes hold. */
function slowlogWords(bytes: Buffer): Buffer[] {
  const words: Buffer[] = [];
  let at = bytes.indexOf('\r\n') + 2;
  while (at > 1 && at < bytes.length && words.length < 32) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) break;
    const length = Number(bytes.toString('latin1', at + 1, lineEnd));
    words.push(Buffer.from(bytes.subarray(lineEnd + 2, lineEnd + 2 + Math.min(length, 128))));
    at = lineEnd + 2 + length + 2;
  }
  return words;
}
