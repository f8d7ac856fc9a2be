import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { events as eventsCommand } from '../../src/cli/events.ts';
import { moveOrder, moveStatus } from '../../src/cli/move.ts';
import { emptyNode } from '../../src/cli/node-empty.ts';
import { recover, switchover } from '../../src/cli/orders.ts';
import { apply as applyCommand, plan as planCommand } from '../../src/cli/plan.ts';
import type { Wish } from '../../src/cli/proposals.ts';
import { status as statusCommand } from '../../src/cli/status.ts';
import type { EmptyingStatus, Holdings, Order } from '../../src/supervisor/core/engine.ts';
import type { EmptyAnswer } from '../../src/supervisor/emptying.ts';
import { type HttpSource, SupervisorHttp } from '../../src/supervisor/http.ts';
import { Counts, exposition } from '../../src/supervisor/metrics.ts';
import type { EmptyWish } from '../../src/supervisor/orders.ts';
import { type MovePlan, makePlan, type ShardSample } from '../../src/supervisor/plan.ts';
import { basisOf, draft } from '../../src/supervisor/plan-draft.ts';
import type { Leave } from '../../src/supervisor/planner.ts';
import { type Proposal, proposalInForce } from '../../src/supervisor/proposal.ts';
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
  nodes: ['a', 'b', 'x', 'y'].map((id, port) => {
    return { id, host: '127.0.0.1', port: port + 1, zone: 'z', runId: `run-${id}`, draining: false };
  }),
  move: null,
};
/** A move of one portion, as far as the topology tells of it. */
const moving: Topology = {
  ...first,
  shards: [shard, { ...shard, name: 's2', weight: 0, primary: 'x', inSync: ['y'], nodes: ['x', 'y'] }],
  move: {
    ...{ id: 6, ring: first.ring, weights: { s1: 1, s2: 1 }, moved: 0, aborting: false, paused: null },
    portions: [{ source: 's1', target: 's2', part: 0, parts: 1, keys: 500 }],
    current: { index: 0, phase: 'moving', way: 'there', set: 1, thereSet: null },
    ...{ keysPerSecond: null, allowStalls: false },
  },
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
  /** With which the plan is to be accepted. */
  applied: { proposal: Proposal; leave: Leave }[] = [];
  largeBytes = 0;
  holds: Holdings = { runId: 'run-x', databases: [], libraries: [], mark: null };
  wishes: { node: string; wish: EmptyWish }[] = [];
  /** Of node x. */
  emptying: EmptyingStatus | null = null;
  /** What comes of emptying, some time after it was ordered. */
  emptied: EmptyingStatus = { step: 'empty', why: '' };

  constructor(port: number) {
    this.url = `http://127.0.0.1:${port}`;
    this.http = new SupervisorHttp(this, { token, openToRead: true, self: this.url });
  }

  topology(): Topology | null {
    return this.known;
  }

  status(leader: string | null): ClusterStatus {
    this.asked += 1;
    const nodes = (this.emptying === null ? [] : ['x']).map(id => ({
      ...{ id, health: 'up' as const, ready: true, report: null, reportedAtMs: null, lagBytes: null },
      ...{ needs: null, drain: null, emptying: this.emptying },
    }));
    const engine = { term: 2, shards: [], nodes, move: null };
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

  async empty(node: string, wish: EmptyWish): Promise<EmptyAnswer | null> {
    if (!this.isLeading) return null;
    this.wishes.push({ node, wish });
    if (!this.accepts) return { accepted: false, text: 'it is a member of s1' };
    if (wish.confirmed !== null) {
      this.emptying = { step: 'empties', why: 'begun' };
      setTimeout(() => {
        this.emptying = this.emptied;
      }, 100);
    }
    return { accepted: true, text: 'it is a spare', holds: this.holds };
  }

  async plan(proposal: Proposal): Promise<MovePlan | null> {
    if (!this.isLeading || this.known === null) return null;
    const large = { database: 0, key: 'huge', bytes: this.largeBytes };
    const sample: ShardSample = { shard: 's1', keys: 1000, sampled: [large, large] };
    const sight = { samples: new Map([['s1', sample]]), nodes: new Map(), troubled: new Map() };
    const settings = {
      keysPerSecond: 1000,
      workPercent: 100,
      portionKeys: 500,
      bigKeyBytes: 1000,
      stallMs: 10,
      addedLatencyMs: 5,
    };
    return makePlan(this.known, draft(this.known, proposal, new Map()), sight, settings);
  }

  async apply(proposal: Proposal, leave: Leave) {
    if (!this.isLeading || this.known === null) return null;
    if (leave.basis !== basisOf(this.known)) return { accepted: false, text: 'something has changed' };
    this.applied.push({ proposal, leave });
    this.known = { ...moving, version: 6 };
    return { accepted: true, text: 'begun' };
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
nodes: [ { id: a, address: 127.0.0.1:1, zone: z }, { id: b, address: 127.0.0.1:2, zone: z } ]
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

  test('those about a move and about nodes as well', async () => {
    const at = `${leader.url}/v1`;
    const accepted: [string, unknown, object][] = [
      ['move/pause', {}, { kind: 'move', what: 'pause', keysPerSecond: null }],
      ['move/abort', {}, { kind: 'move', what: 'abort', keysPerSecond: null }],
      ['move/resume', {}, { kind: 'move', what: 'resume', keysPerSecond: null, allowStalls: false }],
      ['move/resume', { allowStalls: true }, { kind: 'move', what: 'resume', keysPerSecond: null, allowStalls: true }],
      ['move/throttle', { keysPerSecond: 50 }, { kind: 'move', what: 'throttle', keysPerSecond: 50 }],
      ['move/throttle', { keysPerSecond: null }, { kind: 'move', what: 'throttle', keysPerSecond: null }],
      ['nodes/a/drain', {}, { kind: 'drain', node: 'a', to: null, zone: null }],
      ['nodes/a/drain', { to: 'x' }, { kind: 'drain', node: 'a', to: 'x', zone: null }],
      ['nodes/a/drain', { zone: 'z' }, { kind: 'drain', node: 'a', to: null, zone: 'z' }],
      ['nodes/a/undrain', {}, { kind: 'undrain', node: 'a' }],
    ];
    for (const [path, body] of accepted) expect((await post(`${at}/${path}`, body)).status, path).toBe(202);
    expect(leader.orders).toEqual(accepted.map(([, , order]) => order));
    const wrong: [string, unknown, number, string][] = [
      ['move/pause', { for: 3 }, 400, 'pause takes no words'],
      ['move/resume', { allowStalls: 'yes' }, 400, '"allowStalls": true'],
      ['move/throttle', {}, 400, '"keysPerSecond": N'],
      ['move/throttle', { keysPerSecond: 0 }, 400, '"keysPerSecond": N'],
      ['move/hurry', {}, 404, 'there are pause, resume, throttle and abort'],
      ['nodes/a/drain', { to: 3 }, 400, '"to": NODE'],
      ['nodes/a/undrain', { to: 'b' }, 400, 'undrain takes no words'],
      ['nodes/a/stop', {}, 404, 'there are drain, undrain and empty'],
      ['nodes/a/empty', { confirmed: 3 }, 400, '"confirmed": { "runId", "keys" }'],
      ['nodes/a/empty', { confirmed: { runId: 'r', keys: -1 } }, 400, '"confirmed"'],
      ['nodes/nobody/drain', {}, 404, 'there is no node nobody; there are a, b, x, y'],
    ];
    for (const [path, body, status, words] of wrong) {
      const response = await post(`${at}/${path}`, body);
      expect([response.status, await said(response)], path).toEqual([status, expect.stringContaining(words)]);
    }
    leader.accepts = false;
    expect((await post(`${at}/move/pause`, {})).status).toBe(409);
    for (const path of ['move/pause', 'nodes/a/drain', 'nodes/a/empty', 'nodes/nobody/drain', 'plan', 'apply'])
      expect((await post(`${leader.url}/v1/${path}`, {}, {})).status, path).toBe(401);
    for (const path of ['move/pause', 'nodes/a/drain', 'nodes/x/empty']) {
      const response = await post(`${follower.url}/v1/${path}`, {});
      expect([response.status, response.headers.get('location')]).toEqual([307, `${leader.url}/v1/${path}`]);
    }
  });

  test('a plan is made and begun by the leader only; what is malformed is told', async () => {
    const proposal = proposalInForce(first);
    const plan = await (await post(`${leader.url}/v1/plan`, { proposal })).json();
    expect(plan).toMatchObject({ isEmpty: true, basis: basisOf(first) });
    expect((await post(`${leader.url}/v1/plan`, { proposal: { ...proposal, more: 1 } })).status).toBe(400);
    expect((await post(`${leader.url}/v1/plan`, null)).status).toBe(400);
    expect((await post(`${leader.url}/v1/apply`, { proposal })).status).toBe(400);
    const stale = await post(`${leader.url}/v1/apply`, { proposal, basis: 'another' });
    expect([stale.status, await said(stale)]).toEqual([409, 'something has changed']);
    const body = { proposal, basis: basisOf(first), allowStalls: true };
    const response = await post(`${follower.url}/v1/apply`, body);
    expect([response.status, response.headers.get('location')]).toEqual([307, `${leader.url}/v1/apply`]);
    expect((await post(`${follower.url}/v1/plan`, { proposal })).status).toBe(307);
    expect((await post(`${leader.url}/v1/apply`, body)).status).toBe(202);
    expect(leader.applied).toEqual([{ proposal, leave: { basis: basisOf(first), allowStalls: true } }]);
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

test('metrics tell of the move that is on', async () => {
  const read = async () => (await (await fetch(`${leader.url}/metrics`)).text()).split('\n');
  expect(await read()).toContain('ringside_supervisor_move 0');
  expect((await read()).some(line => line.startsWith('ringside_supervisor_move_portions '))).toBe(false);
  leader.known = moving;
  const lines = await read();
  expect(lines).toContain('ringside_supervisor_move 1');
  expect(lines).toContain('ringside_supervisor_move_portions 1');
  expect(lines).toContain('ringside_supervisor_move_keys 500');
  expect(lines).toContain('ringside_supervisor_move_paused 0');
  expect(lines).toContain('ringside_supervisor_node_draining{shard="s1",node="a"} 0');
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

  const add: Wish = { kind: 'add-shard', name: 's2', nodes: ['x', 'y'], copies: null, weight: 1 };

  test('plan shows what a change would do, and does nothing', async () => {
    expect(await planCommand(add, { config })).toBe(0);
    expect(out).toMatch(/^cluster shop, against topology 5: add shard s2 \(x, y\): \d+\.\d % of the keys move/);
    expect(out).toMatch(/FROM\s+TO\s+OF ALL\s+KEYS\s+BYTES\s+PORTIONS\ns1 +s2 /);
    out = '';
    expect(await planCommand(add, { config, json: true })).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ refused: [], shardsAdded: [{ name: 's2', nodes: ['x', 'y'] }] });
    out = '';
    expect(await planCommand({ ...add, nodes: ['x', 'nobody'] }, { config })).toBe(1);
    expect(out).toContain('CANNOT BE DONE  shard s2: there is no node nobody');
    expect(leader.applied).toEqual([]);
  });

  test('plan takes the settings file, or another one', async () => {
    const text = readFileSync(config, 'utf8');
    const other = join(directory, 'other.yaml');
    writeFileSync(other, text.replace('nodes: [a, b] }', 'nodes: [a, b], weight: 2 }'));
    // With one shard its weight moves nothing.
    expect(await planCommand({ kind: 'file', file: other }, { config })).toBe(0);
    expect(out).toContain('weight of shard s1 2, was 1: 0.0 % of the keys move');
    writeFileSync(other, text.replace('cluster: shop', 'cluster: other'));
    await expect(planCommand({ kind: 'file', file: other }, { config })).rejects.toMatchObject({
      status: 2,
      message: expect.stringMatching(/is a supervisor of cluster shop, not other/),
    });
    await expect(planCommand({ kind: 'file', file: leader.url }, { config })).rejects.toMatchObject({ status: 2 });
    await expect(planCommand({ kind: 'remove-shard', name: 's9' }, { config })).rejects.toMatchObject({
      status: 2,
      message: 'there is no shard s9; there are s1',
    });
    await expect(planCommand({ ...add, name: 's1' }, { config })).rejects.toMatchObject({ status: 2 });
  });

  test('apply asks first, orders it once, and says what to write into the settings', async () => {
    await expect(applyCommand(add, { config })).rejects.toMatchObject({
      status: 2,
      message: expect.stringContaining('say --yes'),
    });
    expect(leader.applied).toEqual([]);
    out = '';
    expect(await applyCommand(add, { config, yes: true })).toBe(0);
    expect(leader.applied).toHaveLength(1);
    expect(leader.applied[0]?.leave).toEqual({ basis: basisOf(first), allowStalls: false });
    expect(out).toContain(`so that ${config} says the same: under \`shards\` write  - { name: s2, nodes: [x, y] }`);
    out = '';
    expect(await applyCommand(add, { config, yes: true })).toBe(1);
    expect(out).toContain('CANNOT BE DONE  a move is on already');
    follower.known = moving;
    await expect(applyCommand(add, { config, yes: true })).rejects.toMatchObject({
      status: 1,
      message: expect.stringContaining('a move is on already'),
    });
  });

  test('apply --save writes the change into the settings, where these name their shards', async () => {
    // The settings of this test do not name x and y, which would be a mistake: nothing is written then.
    const text = readFileSync(config, 'utf8');
    await applyCommand(add, { config, yes: true, save: true });
    expect(readFileSync(config, 'utf8')).toBe(text);
    expect(out).toContain('says the same: under `shards` write');
    leader.known = first;
    const named = text.replace(
      'nodes: [ {',
      'nodes: [ { id: x, address: 127.0.0.1:3 }, { id: y, address: 127.0.0.1:4 }, {',
    );
    writeFileSync(config, `# mine\n${named}`);
    out = '';
    await applyCommand(add, { config, yes: true, save: true });
    expect(out).toContain(`written into ${config}`);
    expect(readFileSync(config, 'utf8')).toMatch(/^# mine\n[\s\S]*\{ name: s2, nodes: \[ x, y \] \}/);
  });

  test('large keys need leave', async () => {
    leader.largeBytes = 50_000_000;
    // Whichever way the one key goes: both ways are tried.
    const wishes: Wish[] = ['s2', 's3', 's4', 's5', 's6', 's7'].map(name => ({ ...add, name }));
    const plans = await Promise.all(
      wishes.map(wish =>
        leader.plan({
          ...proposalInForce(first),
          shards: [
            ...proposalInForce(first).shards,
            { name: wish.kind === 'add-shard' ? wish.name : '', weight: 1, nodes: ['x', 'y'], copies: 2 },
          ],
        }),
      ),
    );
    const index = plans.findIndex(plan => (plan?.largeKeys.length ?? 0) > 0);
    const wish = wishes[index] as Wish;
    await expect(applyCommand(wish, { config, yes: true })).rejects.toMatchObject({
      status: 1,
      message: expect.stringContaining('--allow-stalls'),
    });
    expect(out).toMatch(/large +s1, database 0: huge \(50\.0 MB\) goes by itself, .* needs --allow-stalls/);
    expect(await applyCommand(wish, { config, yes: true, allowStalls: true })).toBe(0);
    expect(leader.applied[0]?.leave.allowStalls).toBe(true);
  });

  test('move shows how far it is, and gives its orders', async () => {
    expect(await moveStatus({ config })).toBe(0);
    expect(out).toBe('no keys are being moved\n');
    leader.known = moving;
    out = '';
    expect(await moveStatus({ config })).toBe(0);
    expect(out).toMatch(/^\[\.{30}\] 0 %, portion 1 of 1 s1 -> s2, 0 of about 500 keys\n/);
    out = '';
    await moveStatus({ config, json: true });
    expect(JSON.parse(out)).toMatchObject({ id: 6, portion: 1, portions: 1, giver: 's1', taker: 's2', way: 'there' });
    out = '';
    expect(await statusCommand(null, { config })).toBe(0);
    expect(out).toContain('portion 1 of 1 s1 -> s2');
    await moveOrder('pause', { config });
    await moveOrder('resume', { config, allowStalls: true });
    await moveOrder('throttle', { config, limit: '500' });
    await moveOrder('throttle', { config, limit: 'off' });
    await moveOrder('abort', { config });
    expect(leader.orders).toMatchObject([
      { what: 'pause' },
      { what: 'resume', allowStalls: true },
      { what: 'throttle', keysPerSecond: 500 },
      { what: 'throttle', keysPerSecond: null },
      { what: 'abort' },
    ]);
    await expect(moveOrder('throttle', { config, limit: 'fast' })).rejects.toMatchObject({ status: 2 });
    leader.accepts = false;
    await expect(moveOrder('pause', { config })).rejects.toMatchObject({ status: 1, message: 'no copy is in sync' });
  });

  describe('node empty', () => {
    const held: Holdings = {
      runId: 'run-x',
      databases: [
        { database: 0, keys: 20_000 },
        { database: 2, keys: 1 },
      ],
      libraries: ['mylib'],
      mark: { cluster: 'shop', shard: 's9', epoch: 7, counter: 1 },
    };
    const asked = { confirmed: null, acceptLoss: false };

    test('says what would be lost before it asks, and does nothing where nobody is asked', async () => {
      leader.holds = held;
      await expect(emptyNode('x', { config })).rejects.toMatchObject({
        status: 2,
        message: expect.stringContaining('say --yes'),
      });
      expect(out).toBe(
        'x is a spare, once a copy of shard s9, of epoch 7; it holds\n  database 0: 20,000 keys\n  database 2: 1 key\n  functions: mylib\n',
      );
      expect(leader.wishes).toEqual([{ node: 'x', wish: asked }]);
    });

    test('orders what was shown, and ends when that is done', async () => {
      leader.holds = held;
      leader.emptied = { step: 'empty', why: '20001 keys are gone' };
      expect(await emptyNode('x', { config, yes: true, acceptLoss: true })).toBe(0);
      expect(out).toMatch(/x is empty: 20001 keys are gone\n$/);
      const confirmed = { runId: 'run-x', keys: 20_001 };
      expect(leader.wishes.map(({ wish }) => wish)).toEqual([
        { confirmed: null, acceptLoss: true },
        { confirmed, acceptLoss: true },
      ]);
    });

    test('ends with 1 when it was refused, or not carried through, with the reason', async () => {
      leader.holds = held;
      leader.accepts = false;
      await expect(emptyNode('x', { config, yes: true })).rejects.toMatchObject({
        status: 1,
        message: 'it is a member of s1',
      });
      leader.accepts = true;
      leader.emptied = { step: 'kept', why: 'it was restarted' };
      await expect(emptyNode('x', { config, yes: true })).rejects.toMatchObject({
        status: 1,
        message: 'x was not emptied: it was restarted',
      });
    });

    test('what is empty already needs no question', async () => {
      expect(await emptyNode('x', { config })).toBe(0);
      expect(out).toBe('x is empty already\n');
    });
  });

  test('move --wait ends when it is over, or when it stands still', async () => {
    leader.known = {
      ...moving,
      move: { ...(moving.move as object as NonNullable<Topology['move']>), paused: 'by order' },
    };
    await expect(moveStatus({ config, wait: true })).rejects.toMatchObject({
      status: 1,
      message: 'the move is paused: by order',
    });
    leader.known = moving;
    setTimeout(() => {
      leader.known = first;
    }, 100);
    out = '';
    expect(await moveStatus({ config, wait: true })).toBe(0);
    expect(out).toMatch(/portion 1 of 1[\s\S]*done: no keys are being moved any more\n$/);
  });

  test('between two leaders the order waits for the next one', async () => {
    leader.isLeading = false;
    const began = planCommand(add, { config });
    setTimeout(() => {
      leader.isLeading = true;
    }, 300);
    expect(await began).toBe(0);
  });
});
