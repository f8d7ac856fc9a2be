import type { Clock } from '../base/clock.ts';
import type { HostPort, TlsClient } from '../config/config.ts';
import type { Observation, Reply } from './core/effect.ts';
import { parseNodeReport, reportCommand } from './core/node-report.ts';
import type { NameAndPassword } from './identity.ts';
import { LinkError, NodeLink } from './node-link.ts';

/**
 * Asks one node about itself, at a steady pace, over one connection as long as that holds; concludes nothing.
 *
 *   every pace: idle ──▶ ask; still asking ──▶ `silent`, again and again; asking for long ──▶ another connection
 *   connection lost: ask at once over another one ──▶ a process that died is `refused` within milliseconds
 *
 * Every answer names the `run_id`, so that the first one on a connection tells whose it is.
 */
export interface ProbeOptions {
  readonly node: HostPort;
  readonly tls: TlsClient | null;
  readonly everyMs: number;
  readonly clock: Clock;
  /** Whom to present to a new connection, in this order; `runId` is the incarnation last seen. */
  readonly logins: (runId: string | null) => readonly NameAndPassword[];
  /** `askedMs`: when the question was sent; the answer may be older than what was done since. */
  readonly onObservation: (observation: Observation, askedMs: number) => void;
}

/**
 * A question that waits so long is asked anew over another connection: after a cut network, the old one is heard of
 * only when the system sends again, seconds later. Doubled each time, since a hung process collects what is opened.
 */
const RENEW_MS = 500;
const RENEW_CAP_MS = 4000;
/** Who was denied asks more rarely, as each try leaves lines in the node's ACL log. */
const DENIED_PAUSE_MS = 500;

export class NodeProbe {
  readonly #options: ProbeOptions;
  #link: NodeLink | null = null;
  #pace: NodeJS.Timeout | null = null;
  #stopped = false;
  /** Counts questions: the answer to one that was given up is no news. */
  #question = 0;
  #isAsking = false;
  #askedMs = 0;
  /** When the node was first left without an answer; null: it answered last. */
  #silentSinceMs: number | null = null;
  #renewMs = RENEW_MS;
  #notBeforeMs = 0;
  #runId: string | null;

  /** `runId`: the incarnation on record, for the login. */
  constructor(options: ProbeOptions, runId: string | null) {
    this.#options = options;
    this.#runId = runId;
  }

  start(): void {
    // The answer that came while this process was busy is read first: what waits in a socket is not silence.
    this.#pace = setInterval(() => setImmediate(() => this.#atPace()), this.#options.everyMs);
    void this.#ask();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#pace !== null) clearInterval(this.#pace);
    this.#link?.drop();
  }

  #atPace(): void {
    const nowMs = this.#options.clock.nowMs();
    if (this.#stopped || nowMs < this.#notBeforeMs) return;
    if (!this.#isAsking) {
      void this.#ask();
      return;
    }
    const waitedMs = nowMs - this.#askedMs;
    if (waitedMs < this.#options.everyMs) return;
    this.#silentSinceMs ??= this.#askedMs;
    const silentMs = Math.round(nowMs - this.#silentSinceMs);
    this.#options.onObservation({ kind: 'silent', text: `no answer for ${silentMs} ms` }, nowMs);
    if (waitedMs < this.#renewMs || this.#stopped) return;
    this.#renewMs = Math.min(2 * this.#renewMs, RENEW_CAP_MS);
    this.#leave();
    void this.#ask();
  }

  async #ask(): Promise<void> {
    const question = ++this.#question;
    this.#isAsking = true;
    this.#askedMs = this.#options.clock.nowMs();
    const askedMs = this.#askedMs;
    const hadLink = this.#link !== null;
    const seen = await this.#look(question);
    if (this.#stopped || question !== this.#question) return;
    this.#isAsking = false;
    if (seen.kind !== 'report' && seen.kind !== 'busy') this.#leave();
    // What ended the old connection may have been a `CLIENT KILL`: only a new one tells.
    if (seen.kind === 'refused' && hadLink) return this.#ask();
    if (seen.kind === 'denied') this.#notBeforeMs = this.#options.clock.nowMs() + DENIED_PAUSE_MS;
    if (seen.kind === 'report') {
      this.#runId = seen.report.runId;
      this.#silentSinceMs = null;
      this.#renewMs = RENEW_MS;
    }
    this.#options.onObservation(seen, askedMs);
  }

  /** Never throws but for mistakes of this program. */
  async #look(question: number): Promise<Observation> {
    try {
      if (this.#link !== null) {
        const [reply] = await this.#link.send([reportCommand]);
        return observationOf(reply);
      }
      const { node, tls } = this.#options;
      const link = await NodeLink.open(node, tls, RENEW_CAP_MS, () => this.#onEnd(link));
      if (this.#stopped || question !== this.#question) {
        link.drop();
        return { kind: 'silent', text: 'given up' };
      }
      this.#link = link;
      return await this.#logInAndLook(link);
    } catch (error) {
      return troubleOf(error);
    }
  }

  async #logInAndLook(link: NodeLink): Promise<Observation> {
    let seen: Observation = { kind: 'denied', text: 'no login is known for this node' };
    for (const { username, password } of this.#options.logins(this.#runId)) {
      if (password === '') {
        seen = observationOf((await link.send([reportCommand]))[0]);
      } else {
        const [answer, report] = await link.send([['AUTH', username, password], reportCommand]);
        const refusal = errorOf(answer);
        seen = refusal === null ? observationOf(report) : { kind: 'denied', text: refusal };
      }
      if (seen.kind !== 'denied') return seen;
    }
    return seen;
  }

  /** The other end has closed the connection, or it broke. */
  #onEnd(link: NodeLink): void {
    if (this.#stopped || this.#link !== link) return;
    this.#link = null;
    // A question that waits for it fails by itself. Who closes each connection as soon as it is idle is asked at the pace.
    const sinceMs = this.#options.clock.nowMs() - this.#askedMs;
    if (!this.#isAsking && sinceMs >= Math.min(5, this.#options.everyMs)) void this.#ask();
  }

  #leave(): void {
    this.#link?.drop();
    this.#link = null;
  }
}

function observationOf(reply: Reply | undefined): Observation {
  const error = errorOf(reply);
  if (error?.startsWith('BUSY')) return { kind: 'busy', text: error };
  // Whatever else it refuses us with, it is there, and its clients may be served.
  if (error !== null) return { kind: 'denied', text: error };
  try {
    return { kind: 'report', report: parseNodeReport(String(reply)) };
  } catch (trouble) {
    return { kind: 'denied', text: trouble instanceof Error ? trouble.message : String(trouble) };
  }
}

function troubleOf(error: unknown): Observation {
  if (!(error instanceof LinkError)) throw error;
  const kind = error.trouble === 'unusable' ? 'denied' : error.trouble;
  return { kind, text: error.message };
}

function errorOf(reply: Reply | undefined): string | null {
  return typeof reply === 'object' && reply !== null && 'error' in reply ? reply.error : null;
}
