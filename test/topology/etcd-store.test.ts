/** The topology in a real etcd: one leader at a time, whatever becomes of etcd, of the network or of the leader. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { Random } from '../../src/base/random.ts';
import type { EtcdStoreConfig } from '../../src/config/config.ts';
import { EtcdStore } from '../../src/topology/etcd-store.ts';
import { type Leadership, StoreError } from '../../src/topology/store.ts';
import { TestEtcd } from '../support/etcd.ts';
import { HANG_MS } from '../support/patience.ts';
import { Relay } from '../support/relay.ts';
import { watchForStarvation } from '../support/starvation.ts';
import { exampleTopology } from './example.ts';
import { storeContract } from './store-contract.ts';

const never = new AbortController().signal;
let prefixes = 0;

function configOf(endpoints: readonly string[], more: Partial<EtcdStoreConfig> = {}): EtcdStoreConfig {
  prefixes += 1;
  return { kind: 'etcd', endpoints, prefix: `/test-${prefixes}/`, auth: null, tls: null, ...more };
}

async function etcdctl(endpoint: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, ETCDCTL_API: '3' };
  return (await promisify(execFile)('etcdctl', ['--endpoints', endpoint, ...args], { env })).stdout;
}

let etcd: TestEtcd;
let stores: EtcdStore[] = [];
let relays: Relay[] = [];

beforeAll(async () => {
  etcd = await TestEtcd.start();
});

afterAll(() => etcd.remove());

beforeEach(() => {
  stores = [];
  relays = [];
});

afterEach(async () => {
  for (const store of stores) await store.close();
  for (const relay of relays) await relay.close();
});

interface Opened {
  readonly store: EtcdStore;
  /** What `onProblem` was told. */
  readonly problems: (string | null)[];
}

function open(config: EtcdStoreConfig, clock = systemClock, problems: (string | null)[] = []): Opened {
  const random = new Random(prefixes);
  const store = new EtcdStore(config, {
    cluster: 'shop',
    clock,
    random,
    onProblem: problem => void problems.push(problem),
  });
  stores.push(store);
  return { store, problems };
}

async function relayTo(endpoint: string): Promise<{ relay: Relay; endpoint: string }> {
  const relay = await Relay.to(Number(new URL(endpoint).port));
  relays.push(relay);
  return { relay, endpoint: `http://127.0.0.1:${relay.port}` };
}

function lostOf({ lost }: Leadership): Promise<number> {
  return new Promise(resolve => lost.addEventListener('abort', () => resolve(performance.now()), { once: true }));
}

storeContract('etcd', async () => {
  const config = configOf(etcd.endpoints);
  const endpoint = etcd.endpoints[0] as string;
  const key = (name: string): string => `${config.prefix}shop/${name}`;
  return {
    open: async problems => open(config, systemClock, problems).store,
    depose: async () => {
      await etcdctl(endpoint, 'del', key('leader'));
      await etcdctl(endpoint, 'put', key('leader'), 'http://another');
    },
    damage: async () => {
      await etcdctl(endpoint, 'put', key('topology'), '{"cluster":');
    },
    remove: async () => {
      await etcdctl(endpoint, 'del', '--prefix', config.prefix);
    },
  };
});

describe('of several supervisors', () => {
  test('one leads, the others wait, know it and see what it writes; the next leads at once when it gives up', async () => {
    const config = configOf(etcd.endpoints);
    const [a, b] = [open(config).store, open(config).store];
    const first = await a.campaign('http://a', never);
    const seen: number[] = [];
    b.watch(topology => void seen.push(topology.version));
    const waiting = b.campaign('http://b', never);
    await first.write(exampleTopology(1), 0);
    await expect.poll(() => seen).toEqual([1]);
    expect(await b.leader()).toBe('http://a');
    expect(await open(config).store.leader()).toBe('http://a');
    await first.resign();
    const second = await waiting;
    expect(second.term).toBe(first.term + 1);
    expect(await a.leader()).toBe('http://b');
    await second.write(exampleTopology(2), 1);
    await expect.poll(() => seen).toEqual([1, 2]);
    // One of them may be slow, on a busy machine; who waited until a lease has run out would be so each time.
    const tookMs: number[] = [];
    let leading = second;
    for (const next of [a, b, a, b]) {
      const campaign = next.campaign('http://next', never);
      await new Promise(resolve => setTimeout(resolve, 100));
      const sinceMs = performance.now();
      await leading.resign();
      leading = await campaign;
      tookMs.push(performance.now() - sinceMs);
    }
    expect(Math.min(...tookMs)).toBeLessThan(1500);
  });

  test('many that campaign at once get different terms, one after another', async () => {
    const config = configOf(etcd.endpoints);
    const terms = await Promise.all(
      Array.from({ length: 6 }, async (_, index) => {
        const leadership = await open(config).store.campaign(`http://${index}`, never);
        await leadership.resign();
        return leadership.term;
      }),
    );
    expect(terms.sort()).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('one that is cut off knows that it leads no more before another does, and writes nothing when it is back', async () => {
    const { relay, endpoint } = await relayTo(etcd.endpoints[0] as string);
    const config = configOf([endpoint]);
    const cutOff = open(config);
    const other = open({ ...config, endpoints: etcd.endpoints }).store;
    const first = await cutOff.store.campaign('http://a', never);
    await first.write(exampleTopology(1), 0);
    const lost = lostOf(first);
    relay.freeze();
    const second = await other.campaign('http://b', never);
    const secondMs = performance.now();
    expect(await lost).toBeLessThan(secondMs);
    expect((first.lost.reason as Error).message).toMatch(/etcd has not renewed it/);
    await second.write(exampleTopology(2), 1);
    relay.heal();
    await expect(first.write(exampleTopology(2), 1)).rejects.toThrow(/term 1 is over/);
    expect((await other.read())?.version).toBe(2);
    await second.resign();
    expect((await cutOff.store.campaign('http://a', never)).term).toBe(3);
  });

  test('one that leads writes over nothing that was changed behind its back', async () => {
    const config = configOf(etcd.endpoints);
    const { store } = open(config);
    const leadership = await store.campaign('http://a', never);
    await leadership.write(exampleTopology(1), 0);
    const by = JSON.stringify(exampleTopology(7));
    await etcdctl(etcd.endpoints[0] as string, 'put', `${config.prefix}shop/topology`, by);
    await expect(leadership.write(exampleTopology(2), 1)).rejects.toMatchObject({ name: 'StoreConflict', present: 7 });
    expect((await store.read())?.version).toBe(7);
  });

  test('one that slept knows it as soon as it wakes', async () => {
    let sleptMs = 0;
    const clock = { nowMs: () => systemClock.nowMs() + sleptMs, wallMs: systemClock.wallMs };
    const { store } = open(configOf(etcd.endpoints), clock);
    const leadership = await store.campaign('http://a', never);
    await leadership.write(exampleTopology(1), 0);
    sleptMs = 60_000;
    await expect(leadership.write(exampleTopology(2), 1)).rejects.toThrow(/term 1 is over/);
    expect(leadership.lost.aborted).toBe(true);
    expect((await store.read())?.version).toBe(1);
  });

  test('one that goes without a word is followed within the time of a lease', async () => {
    const { relay, endpoint } = await relayTo(etcd.endpoints[0] as string);
    const config = configOf([endpoint]);
    await open(config).store.campaign('http://a', never);
    relay.cut();
    const sinceMs = performance.now();
    const next = await open({ ...config, endpoints: etcd.endpoints }).store.campaign('http://b', never);
    expect(next.term).toBe(2);
    expect(performance.now() - sinceMs).toBeLessThan(HANG_MS);
  });
});

describe('while etcd', () => {
  test('is away, it is said once, tried again and again, and used when it is back', async () => {
    const { relay, endpoint } = await relayTo(etcd.endpoints[0] as string);
    const config = configOf([endpoint]);
    relay.cut();
    const { store, problems } = open(config);
    await expect(store.read()).rejects.toThrow(/^etcd at http:\/\/127\.0\.0\.1:\d+ does not answer: see that/);
    expect(await store.leader()).toBeNull();
    const seen: number[] = [];
    store.watch(topology => void seen.push(topology.version));
    const campaign = store.campaign('http://a', never);
    await new Promise(resolve => setTimeout(resolve, 2000));
    expect(problems).toEqual([expect.stringMatching(/does not answer/)]);
    relay.heal();
    const leadership = await campaign;
    await expect.poll(() => problems.length).toBe(2);
    expect(problems[1]).toBeNull();
    await leadership.write(exampleTopology(1), 0);
    await expect.poll(() => seen).toEqual([1]);
  });

  test('was away and has forgotten its history, who watches still sees the last version', async () => {
    const endpoint = etcd.endpoints[0] as string;
    const cable = await relayTo(endpoint);
    const config = configOf([cable.endpoint]);
    const leadership = await open({ ...config, endpoints: etcd.endpoints }).store.campaign('http://a', never);
    await leadership.write(exampleTopology(1), 0);
    const seen: number[] = [];
    open(config).store.watch(topology => void seen.push(topology.version));
    await expect.poll(() => seen).toEqual([1]);
    cable.relay.cut();
    for (let version = 2; version <= 20; version += 1) await leadership.write(exampleTopology(version), version - 1);
    const status = JSON.parse(await etcdctl(endpoint, 'endpoint', 'status', '-w', 'json')) as [
      { Status: { header: { revision: number } } },
    ];
    await etcdctl(endpoint, 'compact', String(status[0].Status.header.revision));
    cable.relay.heal();
    await expect.poll(() => seen.at(-1)).toBe(20);
    await leadership.write(exampleTopology(21), 20);
    await expect.poll(() => seen.at(-1)).toBe(21);
  });

  test('falls silent without a word, who watches finds out', async () => {
    const cable = await relayTo(etcd.endpoints[0] as string);
    const config = configOf([cable.endpoint]);
    const leadership = await open({ ...config, endpoints: etcd.endpoints }).store.campaign('http://a', never);
    await leadership.write(exampleTopology(1), 0);
    const seen: number[] = [];
    const { store, problems } = open({ ...config, endpoints: [cable.endpoint, ...etcd.endpoints] });
    store.watch(topology => void seen.push(topology.version));
    await expect.poll(() => seen).toEqual([1]);
    cable.relay.freeze();
    await leadership.write(exampleTopology(2), 1);
    await expect.poll(() => seen.at(-1)).toBe(2);
    expect(problems.at(0)).toMatch(/does not answer/);
    await expect.poll(() => problems.at(-1)).toBeNull();
  });

  test('keeps a write that it did not confirm, nobody goes on leading', async () => {
    const cable = await relayTo(etcd.endpoints[0] as string);
    const { store } = open(configOf([cable.endpoint]));
    const leadership = await store.campaign('http://a', never);
    await leadership.write(exampleTopology(1), 0);
    cable.relay.freeze();
    await expect(leadership.write(exampleTopology(2), 1)).rejects.toThrow(/version 2 may or may not have been written/);
    expect(leadership.lost.aborted).toBe(true);
  });

  test('lets read and refuses writes, it is said once, and the leadership comes when it accepts them', async () => {
    const full = await TestEtcd.start();
    try {
      const endpoint = full.endpoints[0] as string;
      const config = configOf(full.endpoints);
      // Reads pass, and whoever campaigns is refused: here for want of the right to write.
      await etcdctl(endpoint, 'user', 'add', 'root:secret');
      await etcdctl(endpoint, 'user', 'grant-role', 'root', 'root').catch(() => undefined);
      await etcdctl(endpoint, 'role', 'add', 'reader');
      await etcdctl(endpoint, 'role', 'grant-permission', 'reader', '--prefix=true', 'read', config.prefix);
      await etcdctl(endpoint, 'user', 'add', 'reader:secret');
      await etcdctl(endpoint, 'user', 'grant-role', 'reader', 'reader');
      await etcdctl(endpoint, 'auth', 'enable');
      const reader = open({ ...config, auth: { username: 'reader', password: 'secret' } });
      reader.store.watch(() => undefined);
      const campaign = reader.store.campaign('http://a', never);
      const refusal = expect.stringMatching(/does not let this user read and write/);
      await expect.poll(() => reader.problems).toContainEqual(refusal);
      await new Promise(resolve => setTimeout(resolve, 2500));
      // A machine that is short of time may add that etcd does not answer.
      expect(reader.problems.filter((problem, i) => problem === reader.problems[i - 1])).toEqual([]);
      const grant = ['role', 'grant-permission', 'reader', '--prefix=true', 'readwrite', config.prefix];
      await etcdctl(endpoint, '--user', 'root:secret', ...grant);
      await campaign;
      await expect.poll(() => reader.problems.at(-1)).toBeNull();
    } finally {
      await full.remove();
    }
  });

  test('is used by a store that is closed, nothing is left behind', async () => {
    const { relay, endpoint } = await relayTo(etcd.endpoints[0] as string);
    const config = configOf([endpoint]);
    const { store } = open(config);
    store.watch(() => undefined);
    const leadership = await store.campaign('http://a', never);
    await leadership.write(exampleTopology(1), 0);
    const waiting = open(config).store;
    const campaign = waiting.campaign('http://b', never);
    campaign.catch(() => undefined);
    await expect.poll(() => waiting.leader()).toBe('http://a');
    expect(relay.connections).toBeGreaterThan(1);
    await waiting.close();
    await expect(campaign).rejects.toThrow('the store was closed');
    await store.close();
    await expect.poll(() => relay.connections).toBe(0);
    await new Promise(resolve => setTimeout(resolve, 1000));
    expect(relay.connections).toBe(0);
  });
});

describe('an etcd of three members', () => {
  let three: TestEtcd;

  beforeAll(async () => {
    three = await TestEtcd.start(3);
  });

  afterAll(() => three.remove());

  test.each(['SIGKILL', 'SIGSTOP'] as const)('loses one by %s: who leads goes on', async signal => {
    // The store uses the first one; it is the one to go.
    const { store } = open(configOf(three.endpoints));
    let leadership = await store.campaign('http://a', never);
    await leadership.write(exampleTopology(1), 0);
    const endWatch = watchForStarvation();
    await three.signal(0, signal);
    await new Promise(resolve => setTimeout(resolve, 4000));
    // Nobody renews a lease in time whom the machine does not let run.
    if (endWatch() && leadership.lost.aborted) leadership = await store.campaign('http://a', never);
    expect(leadership.lost.aborted).toBe(false);
    await leadership.write(exampleTopology(2), 1);
    if (signal === 'SIGSTOP') await three.signal(0, 'SIGCONT');
    else await three.startMember(0);
  });

  test('loses two: nobody leads, nothing is written; with the majority back all goes on', async () => {
    const { store, problems } = open(configOf(three.endpoints));
    const leadership = await store.campaign('http://a', never);
    await leadership.write(exampleTopology(1), 0);
    const lost = lostOf(leadership);
    await Promise.all([three.signal(1, 'SIGKILL'), three.signal(2, 'SIGKILL')]);
    await lost;
    await expect(store.read()).rejects.toBeInstanceOf(StoreError);
    const again = store.campaign('http://a', never);
    await expect.poll(() => problems.at(-1)).toMatch(/does not answer: see that a majority/);
    await Promise.all([three.startMember(1), three.startMember(2)]);
    const next = await again;
    expect(next.term).toBe(2);
    await next.write(exampleTopology(2), 1);
    await expect.poll(() => problems.at(-1)).toBeNull();
  });
});

describe('an etcd that asks for a login', () => {
  let guarded: TestEtcd;

  beforeAll(async () => {
    guarded = await TestEtcd.start();
    const endpoint = guarded.endpoints[0] as string;
    await etcdctl(endpoint, 'user', 'add', 'root:secret');
    await etcdctl(endpoint, 'user', 'grant-role', 'root', 'root').catch(() => undefined);
    await etcdctl(endpoint, 'user', 'add', 'stranger:secret');
    await etcdctl(endpoint, 'auth', 'enable');
  });

  afterAll(() => guarded.remove());

  test('serves who has it, and each who has not hears what to do', async () => {
    const of = (username: string, password: string): EtcdStore =>
      open(configOf(guarded.endpoints, { auth: { username, password } })).store;
    const leadership = await of('root', 'secret').campaign('http://a', never);
    await leadership.write(exampleTopology(1), 0);
    await expect(of('root', 'wrong').read()).rejects.toThrow(
      /refuses the login: correct .*etcd\.username and password/,
    );
    await expect(of('stranger', 'secret').read()).rejects.toThrow(
      /does not let this user .*grant it the keys that begin with \/test-\d+\//,
    );
    await expect(open(configOf(guarded.endpoints)).store.read()).rejects.toThrow(/asks for a login: set/);
    const needless = configOf(etcd.endpoints, { auth: { username: 'root', password: 'secret' } });
    await expect(open(needless).store.read()).rejects.toThrow(/has no authentication enabled: .*or take/);
  });
});
