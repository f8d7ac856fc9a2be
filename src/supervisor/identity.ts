import type { NodeAccess } from '../config/config.ts';
import { ADMIN_USER, passwordHash, pulledSetName, supervisorUser, userPassword } from '../topology/credentials.ts';
import type { Login } from './core/effect.ts';
import type { Credentials } from './core/engine.ts';

/**
 * Who a supervisor is to the nodes: its users and their passwords, for one cluster and one term.
 */
export interface NameAndPassword {
  readonly username: string;
  /** Empty: no login at all. */
  readonly password: string;
}

export class SupervisorIdentity implements Credentials {
  readonly #secret: string;
  readonly #cluster: string;
  readonly #access: NodeAccess;
  readonly term: number;

  constructor(secret: string, cluster: string, access: NodeAccess, term: number) {
    this.#secret = secret;
    this.#cluster = cluster;
    this.#access = access;
    this.term = term;
  }

  /** What one of the three logins presents to an incarnation of a node. */
  login(as: Login, runId: string): NameAndPassword {
    if (as === 'access') return this.#access;
    if (as === 'admin') return { username: ADMIN_USER, password: this.password(ADMIN_USER, this.#cluster) };
    const username = supervisorUser(this.term);
    return { username, password: this.password(username, runId) };
  }

  /** Whom a probe presents itself as, in this order; `runId`: the incarnation last seen, null: none. */
  logins(runId: string | null): readonly NameAndPassword[] {
    const ofTerm = runId === null ? [] : [this.login('term', runId)];
    return [...ofTerm, this.login('admin', ''), this.login('access', '')];
  }

  password(user: string, incarnation: string): string {
    return userPassword(this.#secret, user, incarnation);
  }

  hash(password: string): string {
    return passwordHash(password);
  }

  pulledSet(number: number): string {
    return pulledSetName(this.#secret, this.#cluster, number);
  }
}
