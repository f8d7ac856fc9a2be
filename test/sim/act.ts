import type { Call, CallFailure, CallOutcome, Login, Reply } from '../../src/supervisor/core/effect.ts';
import type { Credentials } from '../../src/supervisor/core/engine.ts';
import {
  ADMIN_USER,
  passwordHash,
  pulledSetName,
  supervisorUser,
  userPassword,
} from '../../src/topology/credentials.ts';
import { errorOf, infoField, NodeClient } from './client.ts';
import type { Network } from './network.ts';
import type { Actor } from './world.ts';

/**
 * Carries out a supervisor's calls: one connection per node, incarnation and login, which is logged in and compared
 * before anything else is sent on it, and thrown away with everything on it as soon as anything goes wrong.
 */
export class SimCalls {
  readonly #network: Network;
  readonly #host: string;
  readonly #owner: Actor;
  readonly #term: number;
  readonly #addressOf: (nodeId: string) => string;
  readonly #channels = new Map<string, Channel>();
  #closed = false;

  constructor(network: Network, host: string, owner: Actor, term: number, addressOf: (nodeId: string) => string) {
    this.#network = network;
    this.#host = host;
    this.#owner = owner;
    this.#term = term;
    this.#addressOf = addressOf;
  }

  perform(call: Call, onOutcome: (outcome: CallOutcome) => void): void {
    if (this.#closed) return;
    const key = `${call.nodeId} ${call.runId} ${call.as}`;
    let channel = this.#channels.get(key);
    if (channel === undefined || channel.isOver) {
      channel = this.#open(call, key);
      this.#channels.set(key, channel);
    }
    let isTold = false;
    const tell = (outcome: CallOutcome): void => {
      if (isTold || this.#closed) return;
      isTold = true;
      if (!outcome.ok) channel.drop();
      onOutcome(outcome);
    };
    channel.perform(call.commands, tell);
    this.#network.world.afterFor(this.#owner, call.limitMs, () => {
      tell({ ok: false, why: 'silent', text: `no answer within ${call.limitMs} ms` });
    });
  }

  close(): void {
    this.#closed = true;
    for (const channel of this.#channels.values()) channel.drop();
  }

  #open(call: Call, key: string): Channel {
    const login = loginOf(call.as, this.#term, call.runId);
    const channel: Channel = new Channel(
      this.#network,
      this.#host,
      this.#owner,
      this.#addressOf(call.nodeId),
      call.runId,
      login,
    );
    channel.onOver = () => {
      if (this.#channels.get(key) === channel) this.#channels.delete(key);
    };
    return channel;
  }
}

interface Waiting {
  readonly commands: Call['commands'];
  readonly tell: (outcome: CallOutcome) => void;
}

class Channel {
  isOver = false;
  onOver: () => void = () => {};
  readonly #client: NodeClient;
  #isReady = false;
  readonly #waiting: Waiting[] = [];

  constructor(
    network: Network,
    host: string,
    owner: Actor,
    address: string,
    runId: string,
    login: readonly string[] | null,
  ) {
    this.#client = new NodeClient(network, host, owner, address, () => this.#logIn(login, runId));
    this.#client.onClose = () => this.#fail('unreachable', 'the connection ended');
  }

  perform(commands: Call['commands'], tell: (outcome: CallOutcome) => void): void {
    this.#waiting.push({ commands, tell });
    if (this.#isReady) this.#flush();
  }

  drop(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.onOver();
    this.#client.reset();
  }

  #logIn(login: readonly string[] | null, runId: string): void {
    let denied: string | null = null;
    if (login !== null) {
      this.#client.send(login, reply => {
        denied = errorOf(reply);
      });
    }
    this.#client.send(['INFO', 'server'], reply => {
      if (reply === undefined) return;
      const trouble = denied ?? errorOf(reply);
      if (trouble?.startsWith('BUSY') === false) return this.#fail('denied', trouble);
      const found = infoField(String(reply), 'run_id');
      if (trouble === null && found !== runId) return this.#fail('stranger', `it is ${found} now`);
      this.#isReady = true;
      this.#flush();
    });
  }

  #flush(): void {
    for (const { commands, tell } of this.#waiting.splice(0)) {
      const replies: Reply[] = [];
      for (const command of commands) {
        this.#client.send(command, reply => {
          if (reply === undefined) return tell({ ok: false, why: 'unreachable', text: 'the connection ended' });
          replies.push(reply);
          if (replies.length === commands.length) tell({ ok: true, replies });
        });
      }
    }
  }

  #fail(why: CallFailure, text: string): void {
    const waiting = this.#waiting.splice(0);
    this.drop();
    for (const { tell } of waiting) tell({ ok: false, why, text });
  }
}

export const SECRET = 'a secret of the simulation';
export const CLUSTER = 'sim';

/** The words of a login; null: none, as on a node that nobody has closed yet. */
export function loginOf(as: Login, term: number, runId: string): readonly string[] | null {
  if (as === 'access') return null;
  if (as === 'admin') return ['AUTH', ADMIN_USER, password(ADMIN_USER, CLUSTER)];
  return ['AUTH', supervisorUser(term), password(supervisorUser(term), runId)];
}

const known = new Map<string, string>();

/** Kept, since the same few are asked for all the time. */
export function password(user: string, incarnation: string): string {
  const key = `${user} ${incarnation}`;
  const found = known.get(key) ?? userPassword(SECRET, user, incarnation);
  known.set(key, found);
  return found;
}

export const credentials: Credentials = {
  password,
  hash: passwordHash,
  pulledSet: number => pulledSetName(SECRET, 'sim', number),
};
