import { proxyUser } from '../../src/topology/credentials.ts';
import type { History } from '../../src/upstream/login.ts';
import { password } from './act.ts';
import { errorOf, infoField, NodeClient } from './client.ts';
import type { Network } from './network.ts';
import type { Actor } from './world.ts';

/** Where a shard's primary is, and as whom a proxy may log in there. */
export interface Place {
  readonly nodeId: string;
  readonly address: string;
  readonly runId: string;
  readonly epoch: number;
}

/**
 * A proxy's connection to a primary: logged in as its epoch's user, on the incarnation that the topology names, before
 * anything else is sent.
 */
export class PrimaryLink {
  readonly place: Place;
  readonly client: NodeClient;
  /** What the login told; null until then. */
  history: History | null = null;
  onReady: (history: History) => void = () => {};
  onEnded: () => void = () => {};

  constructor(network: Network, host: string, owner: Actor, place: Place) {
    this.place = place;
    this.client = new NodeClient(network, host, owner, place.address, () => this.#logIn());
    this.client.onClose = () => this.onEnded();
    network.world.afterFor(owner, CONNECT_MS, () => {
      if (this.history === null) this.client.close();
    });
  }

  get isReady(): boolean {
    return this.history !== null && !this.client.isClosed;
  }

  #logIn(): void {
    const { epoch, runId } = this.place;
    const user = proxyUser(epoch);
    let isIn = false;
    this.client.send(['AUTH', user, password(user, runId)], reply => {
      isIn = reply === 'OK';
    });
    this.client.send(['INFO', 'server', 'replication', 'persistence'], reply => {
      if (reply === undefined) return;
      const history = isIn && errorOf(reply) === null ? historyOf(String(reply), runId) : null;
      if (history === null) return this.client.close();
      this.history = history;
      this.onReady(history);
    });
  }
}

const CONNECT_MS = 500;

/** Null: this is not the primary that was meant. */
function historyOf(info: string, runId: string): History | null {
  if (infoField(info, 'run_id') !== runId) return null;
  if (infoField(info, 'role') !== 'master' || infoField(info, 'loading') !== '0') return null;
  const previousId = infoField(info, 'master_replid2');
  return {
    runId,
    replicationId: infoField(info, 'master_replid'),
    offset: Number(infoField(info, 'master_repl_offset')),
    previousId: /^0*$/.test(previousId) ? '' : previousId,
    promotedAt: Math.max(-1, Number(infoField(info, 'second_repl_offset')) - 1),
    hasBacklog: infoField(info, 'repl_backlog_active') === '1',
  };
}

/** A connection for barriers; one at a time. */
export class SimBarrier {
  readonly link: PrimaryLink;
  isBusy = false;
  /** What was required when the one under way was sent. */
  required = 0;
  /** Answers up to this number are covered by it. */
  upTo = 0;

  constructor(link: PrimaryLink) {
    this.link = link;
  }

  /** `withWord`: as it must be; without it `WAIT` covers nothing that other connections wrote. */
  ask(required: number, upTo: number, withWord: boolean, on: BarrierAnswers): void {
    this.isBusy = true;
    this.required = required;
    this.upTo = upTo;
    const { client } = this.link;
    if (withWord) client.send(['SPUBLISH', 'ringside:barrier', ''], reply => this.#refused(errorOf(reply)));
    client.send(['ROLE'], reply => {
      if (Array.isArray(reply) && reply[0] === 'master') on.offset(Number(reply[1]));
      else if (reply !== undefined) client.close();
    });
    client.send(['WAIT', String(required), String(WAIT_MS)], (reply, sentMs) => {
      this.isBusy = false;
      if (typeof reply === 'number') on.count(reply, sentMs);
      else if (reply !== undefined) client.close();
    });
  }

  #refused(error: string | null): void {
    if (error !== null) this.link.client.close();
  }
}

export interface BarrierAnswers {
  readonly offset: (offset: number) => void;
  readonly count: (count: number, sentMs: number) => void;
}

const WAIT_MS = 100;
