import type { HostPort, TlsClient } from '../config/config.ts';
import type { Call, CallFailure, CallOutcome, Login, Reply, ReplyFailure } from './core/effect.ts';
import type { SupervisorIdentity } from './identity.ts';
import { LinkError, NodeLink } from './node-link.ts';

/**
 * Carries out what the deciding half asks of the nodes.
 *
 *   Call ──▶ channel of (node, incarnation, login): connect, log in, compare run_id, once ──▶ commands in one piece
 *
 * A channel that breaks, or leaves a call unanswered for longer than its limit, is gone with everything on it; the next
 * call opens another. Nothing is repeated here, and no login falls back to another one.
 */
export class NodeCalls {
  readonly #identity: SupervisorIdentity;
  readonly #tls: TlsClient | null;
  readonly #addressOf: (nodeId: string) => HostPort | null;
  readonly #channels = new Map<string, Channel>();
  #closed = false;

  /** `addressOf`: where a node is now; null: it is no longer of the cluster. */
  constructor(identity: SupervisorIdentity, tls: TlsClient | null, addressOf: (nodeId: string) => HostPort | null) {
    this.#identity = identity;
    this.#tls = tls;
    this.#addressOf = addressOf;
  }

  /** Never rejects. */
  async perform(call: Call): Promise<CallOutcome> {
    if (this.#closed) return failure('unreachable', 'this leadership is over');
    const address = this.#addressOf(call.nodeId);
    if (address === null) return failure('unreachable', `no node ${call.nodeId} is known`);
    return this.#channel(call, address).perform(call);
  }

  /** Breaks every channel off; calls that wait end as unreachable. */
  close(): void {
    this.#closed = true;
    for (const channel of [...this.#channels.values()]) channel.drop();
  }

  #channel({ nodeId, runId, as, limitMs }: Call, address: HostPort): Channel {
    const key = `${address.host}:${address.port} ${runId} ${as}`;
    const present = this.#channels.get(key);
    if (present !== undefined) return present;
    const door: Door = { nodeId, runId, as, address, tls: this.#tls };
    const channel = new Channel(door, this.#identity, limitMs, () => {
      if (this.#channels.get(key) === channel) this.#channels.delete(key);
    });
    this.#channels.set(key, channel);
    return channel;
  }
}

/** What a channel leads to. */
interface Door {
  readonly nodeId: string;
  readonly runId: string;
  readonly as: Login;
  readonly address: HostPort;
  readonly tls: TlsClient | null;
}

/** One connection to one incarnation under one login; used by any number of calls, in the order in which they came. */
class Channel {
  readonly #onOver: () => void;
  readonly #ready: Promise<NodeLink>;
  #link: NodeLink | null = null;
  #over = false;

  constructor(door: Door, identity: SupervisorIdentity, limitMs: number, onOver: () => void) {
    this.#onOver = onOver;
    this.#ready = this.#open(door, identity, limitMs);
    this.#ready.catch(() => this.drop());
  }

  async perform({ commands, limitMs, binary }: Call): Promise<CallOutcome> {
    const work = this.#ready.then(link => link.send(commands, binary)).then(succeeded, failed);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<CallOutcome>(resolve => {
      timer = setTimeout(() => resolve(failure('silent', `no answer within ${limitMs} ms`)), limitMs);
    });
    const outcome = await Promise.race([work, late]);
    clearTimeout(timer);
    if (!outcome.ok) this.drop();
    return outcome;
  }

  drop(): void {
    if (this.#over) return;
    this.#over = true;
    this.#onOver();
    this.#link?.drop();
  }

  async #open(door: Door, identity: SupervisorIdentity, limitMs: number): Promise<NodeLink> {
    const link = await NodeLink.open(door.address, door.tls, limitMs, () => this.drop());
    this.#link = link;
    // Whoever waited for it may have given up meanwhile; then nothing is sent any more.
    if (this.#over) link.drop();
    else await logIn(link, door, identity);
    return link;
  }
}

/** Throws `CallError` unless the incarnation at the other end lets us in and is the one that was meant. */
async function logIn(link: NodeLink, { nodeId, runId, as }: Door, identity: SupervisorIdentity): Promise<void> {
  const { username, password } = identity.login(as, runId);
  if (password !== '') {
    const [answer] = await link.send([['AUTH', username, password]]);
    if (isFailure(answer)) throw new CallError('denied', `${nodeId} does not let ${username} in: ${answer.error}`);
  }
  const [info] = await link.send([['INFO', 'server']]);
  if (isFailure(info)) {
    // A node whose script runs and runs answers nothing else than the login; the term's password fits one incarnation only.
    if (as === 'term' && info.error.startsWith('BUSY')) return;
    const isDenied = /^(NOAUTH|NOPERM|WRONGPASS)/.test(info.error);
    throw new CallError(isDenied ? 'denied' : 'unreachable', `${nodeId} does not say who it is: ${info.error}`);
  }
  const found = /^run_id:(\w+)/m.exec(String(info))?.[1] ?? 'nobody';
  if (found !== runId) throw new CallError('stranger', `${nodeId} is the incarnation ${found} now, not ${runId}`);
}

class CallError extends Error {
  override readonly name = 'CallError';
  readonly why: CallFailure;

  constructor(why: CallFailure, message: string) {
    super(message);
    this.why = why;
  }
}

function succeeded(replies: readonly Reply[]): CallOutcome {
  return { ok: true, replies };
}

function failed(error: unknown): CallOutcome {
  if (error instanceof CallError) return failure(error.why, error.message);
  if (error instanceof LinkError) return failure(error.trouble === 'silent' ? 'silent' : 'unreachable', error.message);
  throw error;
}

function failure(why: CallFailure, text: string): CallOutcome {
  return { ok: false, why, text };
}

function isFailure(reply: Reply | undefined): reply is ReplyFailure {
  return typeof reply === 'object' && reply !== null && 'error' in reply;
}
