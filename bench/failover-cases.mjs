/**
 * The faults of the failover benchmark. Each is done again and again to one cluster; every run ends with the cluster
 * whole again and with a look at whether each acknowledged write is there.
 */
import { eventually, sleep } from './failover-cluster.mjs';
import { addCounts, kindOf, Probe } from './failover-probe.mjs';

/**
 * @typedef {import('./failover-cluster.mjs').Cluster} Cluster
 * @typedef {import('./failover-cluster.mjs').Node} Node
 * @typedef {{ valueMs: number, wholeMs: number, lost: number, errors: Record<string, number> }} Fault   one fault: the
 *   figure that the case is about, until all copies were in sync again, and what the clients were told
 * @typedef {{ id: string, title: string, medianMs: number | null, worstMs: number | null, noErrors: boolean,
 *   once: (cluster: Cluster, number: number) => Promise<Fault> }} FaultCase   goals; null: none
 */

/** `detect.hung` of the benchmark's settings: the default. */
export const hungMs = 1500;

/** @type {FaultCase[]} */
export const faultCases = [
  {
    id: 'kill-primary',
    title: 'SIGKILL of the primary, to the first acknowledged write',
    medianMs: 400,
    worstMs: 1000,
    noErrors: false,
    once: (cluster, number) =>
      fault(cluster, number, {
        strike: (primary, _replicas) => [primary],
        value: (probe, struckAt) => probe.firstAcknowledgedAfter(struckAt),
      }),
  },
  {
    id: 'freeze-primary',
    title: 'SIGSTOP of the primary, to the first acknowledged write',
    medianMs: hungMs + 500,
    worstMs: hungMs + 500,
    noErrors: false,
    once: frozenPrimary,
  },
  {
    id: 'kill-two',
    title: 'Two of three nodes killed in the same instant, the primary among them, to the first acknowledged write',
    medianMs: null,
    worstMs: null,
    noErrors: false,
    once: (cluster, number) =>
      fault(cluster, number, {
        strike: (primary, replicas) => [primary, /** @type {Node} */ (replicas[number % 2])],
        value: (probe, struckAt) => probe.firstAcknowledgedAfter(struckAt),
      }),
  },
  {
    id: 'kill-replica',
    title: 'SIGKILL of a replica, the longest time that a write took',
    medianMs: 400,
    worstMs: 400,
    noErrors: true,
    once: (cluster, number) =>
      fault(cluster, number, {
        strike: (_primary, replicas) => [/** @type {Node} */ (replicas[number % 2])],
        value: probe => probe.longestMs(),
      }),
  },
  {
    id: 'switch-over',
    title: 'Planned switch-over, the longest time that a write took',
    medianMs: null,
    worstMs: null,
    noErrors: true,
    once: switchOver,
  },
  {
    id: 'fifty-clients',
    title: 'SIGKILL of the primary under 50 clients that write, the longest time that a write took',
    medianMs: null,
    worstMs: null,
    noErrors: false,
    once: fiftyClients,
  },
];

/**
 * @param {Cluster} cluster  @param {number} number
 * @param {{ strike: (primary: Node, replicas: Node[]) => Node[], value: (probe: Probe, struckAt: number) => number }} how
 * @returns {Promise<Fault>}
 */
async function fault(cluster, number, { strike, value }) {
  const { primary, inSync } = await cluster.shard();
  const struck = strike(
    cluster.node(primary),
    inSync.map(id => cluster.node(id)),
  );
  const client = await ready(cluster);
  const probe = new Probe(client, `f${number}:`);
  await sleep(200);
  for (const node of struck) node.child?.kill('SIGKILL');
  const struckAt = performance.now();
  await untilServed(probe, struckAt);
  await probe.stop();
  for (const node of struck) await cluster.restartEmpty(node);
  const wholeMs = await cluster.whole();
  return finish(client, probe, value(probe, struckAt), wholeMs);
}

/** @param {Cluster} cluster  @param {number} number  @returns {Promise<Fault>} */
async function frozenPrimary(cluster, number) {
  const node = cluster.node((await cluster.shard()).primary);
  const client = await ready(cluster);
  const probe = new Probe(client, `f${number}:`);
  await sleep(200);
  node.child?.kill('SIGSTOP');
  const struckAt = performance.now();
  await untilServed(probe, struckAt);
  await probe.stop();
  node.child?.kill('SIGCONT');
  return finish(client, probe, probe.firstAcknowledgedAfter(struckAt), await cluster.whole());
}

/** @param {Cluster} cluster  @param {number} number  @returns {Promise<Fault>} */
async function switchOver(cluster, number) {
  const before = (await cluster.shard()).primary;
  const client = await ready(cluster);
  const probe = new Probe(client, `f${number}:`);
  await sleep(200);
  await cluster.switchOver();
  // Accepted is not begun: until then the shard is whole as it was.
  await eventually('another node is primary', 10_000, async () => (await cluster.shard()).primary !== before);
  const wholeMs = await cluster.whole();
  await sleep(100);
  await probe.stop();
  return finish(client, probe, probe.longestMs(), wholeMs);
}

/** @param {Cluster} cluster  @param {number} number  @returns {Promise<Fault>} */
async function fiftyClients(cluster, number) {
  const node = cluster.node((await cluster.shard()).primary);
  const clients = await Promise.all(Array.from({ length: 50 }, () => ready(cluster)));
  const first = /** @type {import('ioredis').Redis} */ (clients[0]);
  /** @type {string[]} */
  const acknowledged = [];
  /** @type {Record<string, number>} */
  const errors = {};
  let longestMs = 0;
  let isRunning = true;
  const loops = clients.map(async (client, index) => {
    for (let i = 0; isRunning; i += 1) {
      const key = `c${number}:${index}:${i}`;
      const beganAt = performance.now();
      try {
        await client.set(key, key);
        acknowledged.push(key);
        longestMs = Math.max(longestMs, performance.now() - beganAt);
      } catch (error) {
        addCounts(errors, { [kindOf(/** @type {Error} */ (error))]: 1 });
        await sleep(1);
      }
    }
  });
  await sleep(300);
  node.child?.kill('SIGKILL');
  await sleep(1_500);
  isRunning = false;
  await Promise.all(loops);
  await cluster.restartEmpty(node);
  const wholeMs = await cluster.whole();
  const values = await Promise.all(acknowledged.map(key => first.get(key)));
  const lost = values.filter((value, i) => value !== acknowledged[i]).length;
  await first.flushall();
  for (const client of clients) client.disconnect();
  return { valueMs: longestMs, wholeMs, lost, errors };
}

/** A client that is connected. @param {Cluster} cluster */
async function ready(cluster) {
  const client = cluster.client();
  await client.ping();
  return client;
}

/** Waits until a write that was sent after the fault was acknowledged, and a little longer. @param {Probe} probe  @param {number} struckAt */
async function untilServed(probe, struckAt) {
  const deadline = struckAt + 20_000;
  while (!Number.isFinite(probe.firstAcknowledgedAfter(struckAt))) {
    if (performance.now() > deadline) throw new Error('no write was acknowledged within 20 s of the fault');
    await sleep(10);
  }
  // A replica's death is seen by detection only: writes go on for a moment before they wait.
  await sleep(500);
}

/** @param {import('ioredis').Redis} client  @param {Probe} probe  @param {number} valueMs  @param {number} wholeMs  @returns {Promise<Fault>} */
async function finish(client, probe, valueMs, wholeMs) {
  const lost = (await probe.lost(client)).length;
  await client.flushall();
  client.disconnect();
  return { valueMs, wholeMs, lost, errors: probe.errors() };
}
