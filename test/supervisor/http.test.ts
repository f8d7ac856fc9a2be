import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { events as eventsCommand } from '../../src/cli/events.ts';
import { recover, switchover } from '../../src/cli/orders.ts';
import { status as statusCommand } from '../../src/cli/status.ts';
import type { Order } from '../../src/supervisor/core/engine.ts';
import { type HttpSource, SupervisorHttp } from '../../src/supervisor/http.ts';
import { Counts, exposition } from '../../src/supervisor/metrics.ts';
import { type ClusterStatus, clusterStatus } from '../../src/supervisor/status.ts';
import { feedToken } from '../../src/topology/credentials.ts';
import type { Topology, TopologyShard } from '../../src/topology/snapshot.ts';
import { freePorts } from '../support/ports.ts';

/**
 * A leader and a follower as they look from outside; what they know is made up here, and what they are asked is real.
 */
const SECRET = '0123456789abcdef0123456789abcdef';
const token = feedToken(SECRET, 'shop');
const bearer = { authorization: `Bearer ${token}` };

const shard: TopologyShard = {
  ...{ name: 's1', weight: 1, epoch: 1, primary: 'a', inSync: ['b'], joining: null, paused: false, nodes: ['a', 'b'] },
};
const first: Topology = {
  ...{ cluster: 'shop', version: 5, term: 2, shards: [shard] },
  ring: { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 256 },
  nodes: ['a', 'b'].map(id => ({ id, host: '127.0.0.1', port: 1, zone: 'z', runId: `run-${id}` })),
};

/** One supervisor: what it knows, changed by the tests. */
class Stub implements HttpSource {
  readonly url: string;
  readonly http: SupervisorHttp;
  known: Topology | null = first;
  isLeading = false;
  storeProblem: string | null = null;
  leaderUrl: string | null = null;
  orders: Order[] = [];
  accepts = true;
  asked = 0;

  constructor(port: number) {
    this.url = `http://127.0.0.1:${port}`;
    this.http = new SupervisorHttp(this, { token, openToRead: true, self: this.url });
  }

  topology(): Topology | null {
    return this.known;
  }

  status(leader: string | null): ClusterStatus {
    this.asked += 1;
    const engine = { term: 2, shards: [], nodes: [] };
    const leading = { engine, seen: new Map(), lagMs: () => 0, wallMs: (ms: number) => ms };
    const knowledge = { leader, knownBy: this.url, problems: [], leading: this.isLeading ? leading : null };
    return clusterStatus('shop', this.known, knowledge);
  }

  events(afterId: number) {
    const event = { atMs: 0, level: 'info' as const, event: 'test', shard: null, node: null, text: `of ${this.url}` };
    return [1, 2, 3].map(id => ({ ...event, id })).filter(({ id }) => id > afterId);
  }

  metrics(): Promise<string> {
    return exposition(this.status(this.leaderUrl), new Counts());
  }

  async leader(): Promise<string | null> {
    return this.leaderUrl;
  }

  order(order: Order) {
    if (!this.isLeading) return null;
    this.orders.push(order);
    if (!this.accepts) return { accepted: false, text: 'no copy is in sync' };
    if (order.kind === 'switchover') {
      const next = { ...shard, primary: 'b', inSync: ['a'], epoch: 2 };
      setTimeout(() => {
        this.known = { ...first, version: 6, shards: [next] };
      }, 50);
    }
    return { accepted: true, text: 'begun' };
  }
}

let directory = '';
let config = '';
let leader: Stub;
let follower: Stub;
let out = '';

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-http-'));
  const port = await freePorts(2);
  leader = new Stub(port);
  follower = new Stub(port + 1);
  leader.isLeading = true;
  leader.leaderUrl = leader.url;
  follower.leaderUrl = leader.url;
  await leader.http.listen('127.0.0.1', port);
  await follower.http.listen('127.0.0.1', port + 1);
  config = join(directory, 'ringside.yaml');
  writeFileSync(
    config,
    `cluster: shop
secret: ${SECRET}
nodes: [ { id: a, address: 127.0.0.1:${port + 100} }, { id: b, address: 127.0.0.1:${port + 101} } ]
shards: [ { name: s1, nodes: [a, b] } ]
supervisor: { peers: ["${follower.url}", "${leader.url}"] }
`,
  );
  out = '';
  vi.spyOn(process.stdout, 'write').mockImplementation(text => {
    out += String(text);
    return true;
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  await leader.http.close();
  await follower.http.close();
  rmSync(directory, { recursive: true, force: true });
});

function post(url: string, body: unknown, headers: Record<string, string> = bearer): Promise<Response> {
  const json = { 'content-type': 'application/json' };
  return fetch(url, {
    method: 'POST',
    headers: { ...json, ...headers },
    body: JSON.stringify(body),
    redirect: 'manual',
  });
}

const said = async (response: Response) => ((await response.json()) as { error: string }).error;

describe('orders over HTTP', () => {
  test('the leader takes them, and says what is wrong with others', async () => {
    const at = `${leader.url}/v1/shards`;
    expect((await post(`${at}/s1/switchover`, { to: 'b' })).status).toBe(202);
    expect((await post(`${at}/s1/switchover`, {})).status).toBe(202);
    expect((await post(`${at}/s1/recover`, { acceptLoss: true })).status).toBe(202);
    expect(leader.orders).toEqual([
      { kind: 'switchover', shard: 's1', to: 'b' },
      { kind: 'switchover', shard: 's1', to: null },
      { kind: 'recover', shard: 's1', acceptLoss: true },
    ]);
    const loss = await post(`${at}/s1/recover`, {});
    expect([loss.status, await said(loss)]).toEqual([400, expect.stringContaining('"acceptLoss": true')]);
    expect((await post(`${at}/s1/switchover`, { to: 3 })).status).toBe(400);
    expect((await post(`${at}/s1/resign`, {})).status).toBe(404);
    const missing = await post(`${at}/s9/switchover`, {});
    expect([missing.status, await said(missing)]).toEqual([404, 'there is no shard s9; there are s1']);
    leader.accepts = false;
    const refused = await post(`${at}/s1/switchover`, {});
    expect([refused.status, await said(refused)]).toEqual([409, 'no copy is in sync']);
  });

  test('nobody gives an order without the token', async () => {
    const order = `${leader.url}/v1/shards/s1/switchover`;
    expect((await post(order, {}, {})).status).toBe(401);
    expect((await post(order, {}, { authorization: `Bearer ${'0'.repeat(64)}` })).status).toBe(401);
    expect(leader.orders).toEqual([]);
  });

  test('a follower names the leader, and says so when there is none', async () => {
    const response = await post(`${follower.url}/v1/shards/s1/switchover`, {});
    expect([response.status, response.headers.get('location')]).toEqual([307, `${leader.url}/v1/shards/s1/switchover`]);
    follower.leaderUrl = null;
    follower.storeProblem = 'etcd does not answer';
    const nobody = await post(`${follower.url}/v1/shards/s1/switchover`, {});
    expect(nobody.status).toBe(503);
    expect(await said(nobody)).toContain('nobody leads at this moment (etcd does not answer)');
    // What the store still names as the leader, while we lead no longer.
    follower.leaderUrl = follower.url;
    expect((await post(`${follower.url}/v1/shards/s1/switchover`, {})).status).toBe(503);
  });
});

describe('what a follower is asked', () => {
  test('it answers as the leader does, or with what it knows itself, saying so', async () => {
    const read = async (path: string) => (await fetch(follower.url + path)).json();
    expect(await read('/v1/status')).toMatchObject({ knownBy: leader.url, changesRoles: true });
    expect(await read('/v1/events?after=1')).toMatchObject({
      events: [{ id: 2, text: `of ${leader.url}` }, { id: 3 }],
    });
    await leader.http.close();
    expect(await read('/v1/status')).toMatchObject({ knownBy: follower.url, changesRoles: false, leader: leader.url });
    expect(await read('/v1/events')).toMatchObject({ events: [{ text: `of ${follower.url}` }, {}, {}] });
  });

  test('two that take each other for the leader do not ask each other for ever', async () => {
    leader.isLeading = false;
    leader.leaderUrl = follower.url;
    const answer = (await (await fetch(`${follower.url}/v1/status`)).json()) as ClusterStatus;
    expect(answer.knownBy).toBe(leader.url);
    expect(leader.asked + follower.asked).toBe(1);
  });

  test('a proxy is sent on to another supervisor while no topology is known', async () => {
    follower.known = null;
    follower.storeProblem = 'etcd does not answer';
    const feed = await fetch(`${follower.url}/v1/topology/feed`, { headers: bearer });
    expect([feed.status, await said(feed)]).toEqual([503, expect.stringContaining('etcd does not answer')]);
    expect((await fetch(`${follower.url}/v1/topology`)).status).toBe(503);
    const health = await (await fetch(`${follower.url}/healthz`)).json();
    expect(health).toEqual({ ok: true, leading: false, store: 'etcd does not answer' });
  });
});

test('metrics are for Prometheus, with the shards and their copies', async () => {
  const response = await fetch(`${leader.url}/metrics`);
  expect(response.headers.get('content-type')).toMatch(/^text\/plain/);
  const lines = (await response.text()).split('\n');
  expect(lines).toContain('ringside_supervisor_leading 1');
  expect(lines).toContain('ringside_supervisor_term 2');
  expect(lines).toContain('ringside_supervisor_shard_copies_in_sync{shard="s1"} 2');
  expect(lines).toContain('ringside_supervisor_failovers_total{shard="s1"} 0');
  expect(lines).toContain('# TYPE ringside_supervisor_rebuilds_total counter');
});

test('a failover, a switch-over and a rebuilt copy are counted as what they are', () => {
  const counts = new Counts();
  const of = (more: Partial<TopologyShard>): Topology => ({ ...first, shards: [{ ...shard, ...more }] });
  counts.published(of({}), of({ primary: 'b', inSync: [] }));
  counts.published(of({ joining: 'c' }), of({ inSync: ['b', 'c'] }));
  counts.published(of({ joining: 'c' }), of({ inSync: ['b'] }));
  counts.published(of({ paused: true }), of({ primary: 'b', inSync: ['a'] }));
  counts.published(of({ paused: true }), of({}));
  expect([counts.failovers.get('s1'), counts.switchovers.get('s1'), counts.rebuilds.get('s1')]).toEqual([1, 1, 1]);
});

describe('commands', () => {
  test('switchover finds the leader by itself, waits, and says who is the primary now', async () => {
    expect(await switchover('s1', 'b', { config })).toBe(0);
    expect(out).toBe('s1: the primary is b, was a (epoch 2)\n');
    expect(leader.orders).toEqual([{ kind: 'switchover', shard: 's1', to: 'b' }]);
  });

  test('a wrong call ends with 2, one that is not possible now with 1', async () => {
    await expect(switchover('s9', null, { config })).rejects.toMatchObject({ status: 2 });
    await expect(recover('s1', { config })).rejects.toMatchObject({
      status: 2,
      message: expect.stringContaining('--accept-loss'),
    });
    leader.accepts = false;
    await expect(switchover('s1', null, { config })).rejects.toMatchObject({
      status: 1,
      message: 'no copy is in sync',
    });
    await leader.http.close();
    follower.leaderUrl = null;
    await expect(switchover('s1', null, { config })).rejects.toMatchObject({
      status: 1,
      message: expect.stringContaining('nobody leads at this moment'),
    });
    const byUrl = switchover('s1', null, { config: follower.url });
    await expect(byUrl).rejects.toMatchObject({ status: 2, message: expect.stringContaining('--config FILE') });
  });

  test('recover says what was begun', async () => {
    expect(await recover('s1', { config, acceptLoss: true })).toBe(0);
    expect(out).toBe('begun\n');
    expect(leader.orders).toEqual([{ kind: 'recover', shard: 's1', acceptLoss: true }]);
  });

  test('events and status are those of the leader, whoever is asked', async () => {
    expect(await eventsCommand(null, { config, last: 2 })).toBe(0);
    expect(out).toBe(`1970-01-01T00:00:00.000Z test: of ${leader.url}\n`.repeat(2));
    out = '';
    expect(await statusCommand(follower.url, { config })).toBe(0);
    expect(out).toContain(`cluster shop, topology 5, term 2, leader ${leader.url}\n`);
  });
});
