/**
 * The processes of a test cluster that are not Redis nodes: proxies, supervisors, members of etcd.
 */
import path from 'node:path';
import { HANG_MS } from '../../support/patience.ts';
import { until } from '../faults/stand.ts';
import type { Host } from './host.ts';
import { TestProcess } from './process.ts';

/** A request that takes longer than this goes to a process that is hung, frozen or cut off. */
const REQUEST_MS = 5_000;

export interface RoleSettings {
  readonly name: string;
  readonly host: Host;
  /** Where it serves: RESP of a proxy, HTTP of a supervisor. */
  readonly port: number;
  /** Where it tells of itself by HTTP. */
  readonly adminPort: number;
  /** The built program. */
  readonly program: string;
  readonly kind: 'proxy' | 'supervisor';
  /** Its settings file. */
  readonly file: string;
  /** What it lets orders in with. */
  readonly token: string;
}

/** A proxy or a supervisor, which keeps its settings and its state over all its processes. */
export class Role {
  readonly #settings: RoleSettings;
  #process: TestProcess | null = null;
  #earlierLog = '';

  constructor(settings: RoleSettings) {
    this.#settings = settings;
  }

  get name(): string {
    return this.#settings.name;
  }

  get host(): Host {
    return this.#settings.host;
  }

  get port(): number {
    return this.#settings.port;
  }

  get url(): string {
    return `http://${this.host.address}:${this.#settings.adminPort}`;
  }

  get file(): string {
    return this.#settings.file;
  }

  /** Of all its processes so far. */
  get log(): string {
    return this.#earlierLog + (this.#process?.log ?? '');
  }

  get running(): boolean {
    return this.#process !== null && !this.#process.ended;
  }

  /** Starts a process; does not wait for it to be ready. */
  start(): void {
    this.#earlierLog = this.log;
    const { name, host, program, kind, file } = this.#settings;
    this.#process = new TestProcess(name, host, process.execPath, [program, kind, '--config', file]);
  }

  signal(name: NodeJS.Signals): void {
    this.#process?.signal(name);
  }

  /** Waits for the process to end by itself; its exit status, null when a signal ended it. */
  async exitStatus(limitMs = HANG_MS): Promise<number | null> {
    await until(
      () => `${this.name} ends; it said: ${this.log}`,
      () => !this.running,
      limitMs,
    );
    return this.#process?.exitStatus ?? null;
  }

  /** SIGKILL, to its workers as well. */
  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  async end(): Promise<void> {
    await this.#process?.end();
  }

  /** What it answers to a request; throws when that is no success. */
  async get<T>(path: string): Promise<T> {
    return this.#request(path, {});
  }

  async post<T>(path: string, body: object): Promise<T> {
    const headers = {
      'content-type': 'application/json',
      authorization: `Bearer ${this.#settings.token}`,
    };
    return this.#request(path, { method: 'POST', headers, body: JSON.stringify(body) }, 15_000);
  }

  async #request<T>(path: string, init: RequestInit, limitMs = REQUEST_MS): Promise<T> {
    const url = `${this.url}${path}`;
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(limitMs) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${url} answered ${response.status}: ${text}`);
    return (text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : text) as T;
  }
}

interface EtcdPlace {
  readonly host: Host;
  readonly port: number;
  readonly peerPort: number;
}

/** One member of an etcd cluster, which keeps its data over all its processes. */
export class EtcdMember {
  readonly #index: number;
  readonly #places: readonly EtcdPlace[];
  readonly #dir: string;
  #process: TestProcess | null = null;

  constructor(index: number, places: readonly EtcdPlace[], dir: string) {
    this.#index = index;
    this.#places = places;
    this.#dir = dir;
  }

  get #place(): EtcdPlace {
    return this.#places[this.#index] as EtcdPlace;
  }

  get host(): Host {
    return this.#place.host;
  }

  get url(): string {
    return `http://${this.#place.host.address}:${this.#place.port}`;
  }

  get log(): string {
    return this.#process?.log ?? '';
  }

  /** Resolves when it serves, or, when it is not the first start, at once: it may lack its quorum. */
  async start(): Promise<void> {
    const isFirst = this.#process === null;
    const peers = this.#places.map((place, i) => `e${i + 1}=${peerUrl(place)}`).join(',');
    const data = path.join(this.#dir, `etcd${this.#index + 1}`);
    const own = peerUrl(this.#place);
    const started = new TestProcess(`etcd${this.#index + 1}`, this.host, 'etcd', [
      ...['--name', `e${this.#index + 1}`, '--data-dir', data],
      ...['--listen-client-urls', this.url, '--advertise-client-urls', this.url],
      ...['--listen-peer-urls', own, '--initial-advertise-peer-urls', own, '--initial-cluster', peers],
      ...['--initial-cluster-token', this.#dir, '--heartbeat-interval', '50', '--election-timeout', '500'],
      ...['--log-level', 'error'],
    ]);
    this.#process = started;
    if (!isFirst) return;
    await until(
      () => `etcd serves; it said: ${started.log.slice(-1_000)}`,
      async () => {
        const health = await fetch(`${this.url}/health`, { signal: AbortSignal.timeout(500) }).catch(() => null);
        return health?.ok === true;
      },
    );
  }

  signal(name: NodeJS.Signals): void {
    this.#process?.signal(name);
  }

  async kill(): Promise<void> {
    await this.#process?.kill();
  }
}

function peerUrl({ host, peerPort }: EtcdPlace): string {
  return `http://${host.address}:${peerPort}`;
}
