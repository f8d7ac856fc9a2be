import type { Observation, Reply } from '../../src/supervisor/core/effect.ts';
import { parseNodeReport, reportCommand } from '../../src/supervisor/core/node-report.ts';
import { loginOf } from './act.ts';
import { errorOf, NodeClient } from './client.ts';
import type { Network } from './network.ts';
import type { Actor } from './world.ts';

/**
 * Asks a simulated node about itself at a steady pace, as a supervisor does: by the users that it may have, the admin
 * first; over one connection while it holds, over a new one at once when it breaks.
 */
export class SimProbe {
  readonly #network: Network;
  readonly #host: string;
  readonly #owner: Actor;
  readonly #address: string;
  readonly #everyMs: number;
  readonly #nowMs: () => number;
  readonly #onObservation: (observation: Observation, askedMs: number) => void;
  #client: NodeClient | null = null;
  #askedMs = 0;
  /** The same by the supervisor's own clock. */
  #askedByClockMs = 0;
  #isAsking = false;
  #stopped = false;

  constructor(
    network: Network,
    host: string,
    owner: Actor,
    address: string,
    everyMs: number,
    nowMs: () => number,
    onObservation: (observation: Observation, askedMs: number) => void,
  ) {
    this.#network = network;
    this.#host = host;
    this.#owner = owner;
    this.#address = address;
    this.#everyMs = everyMs;
    this.#nowMs = nowMs;
    this.#onObservation = onObservation;
    this.#pace();
  }

  stop(): void {
    this.#stopped = true;
    this.#client?.reset();
    this.#client = null;
  }

  #pace(): void {
    const { world } = this.#network;
    world.afterFor(this.#owner, this.#everyMs * world.between(0.9, 1.1), () => {
      if (this.#stopped) return;
      this.#atPace();
      this.#pace();
    });
  }

  #atPace(): void {
    if (!this.#isAsking) return this.#ask();
    const waitedMs = this.#network.world.nowMs - this.#askedMs;
    if (waitedMs < this.#everyMs * 0.8) return;
    this.#onObservation({ kind: 'silent', text: `no answer for ${Math.round(waitedMs)} ms` }, this.#nowMs());
    if (waitedMs < RENEW_MS) return;
    this.#leave();
    this.#ask();
  }

  #leave(): void {
    const client = this.#client;
    this.#client = null;
    this.#isAsking = false;
    client?.reset();
  }

  #ask(): void {
    if (this.#stopped) return;
    this.#isAsking = true;
    this.#askedMs = this.#network.world.nowMs;
    this.#askedByClockMs = this.#nowMs();
    if (this.#client !== null) return this.#look(this.#client, null, true);
    const client = new NodeClient(this.#network, this.#host, this.#owner, this.#address, () => this.#logIn(client));
    client.onClose = wasRefused => this.#onClose(client, wasRefused);
    this.#client = client;
  }

  #logIn(client: NodeClient): void {
    this.#look(client, loginOf('admin', 0, ''), false);
  }

  #look(client: NodeClient, login: readonly string[] | null, isLast: boolean): void {
    let denied: string | null = null;
    if (login !== null) {
      client.send(login, reply => {
        denied = errorOf(reply);
      });
    }
    client.send(reportCommand, reply => {
      if (reply === undefined || this.#client !== client) return;
      const seen = observationOf(reply, denied);
      // A node that nobody has closed yet lets everybody in who does not log in.
      if (seen.kind === 'denied' && !isLast) return this.#look(client, null, true);
      this.#isAsking = false;
      this.#onObservation(seen, this.#askedByClockMs);
    });
  }

  #onClose(client: NodeClient, wasRefused: boolean): void {
    if (this.#client !== client || this.#stopped) return;
    this.#client = null;
    this.#isAsking = false;
    if (wasRefused) this.#onObservation({ kind: 'refused', text: 'connection refused' }, this.#nowMs());
    else this.#ask();
  }
}

const RENEW_MS = 500;

function observationOf(reply: Reply, denied: string | null): Observation {
  const error = denied ?? errorOf(reply);
  if (error?.startsWith('BUSY')) return { kind: 'busy', text: error };
  if (error !== null) return { kind: 'denied', text: error };
  return { kind: 'report', report: parseNodeReport(String(reply)) };
}
