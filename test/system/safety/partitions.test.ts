/**
 * No acknowledged write is ever lost while hosts are cut off from one another: each node, each
 * supervisor with a member of etcd, and each proxy has a host of its own.
 */
import { afterAll, beforeAll, test } from 'vitest';
import { networkFaults } from './faults.ts';
import { Fleet } from './fleet.ts';
import { Network } from './network.ts';
import { mustHold, SEED, trialsOf } from './trial.ts';

const obstacle = await Network.obstacle();
const [SHARDS, COPIES, SUPERVISORS, PROXIES] = [2, 3, 3, 2];

let network: Network;
let fleet: Fleet;
beforeAll(async () => {
  if (obstacle !== null) return;
  network = await Network.create(SHARDS * COPIES + SUPERVISORS + PROXIES);
  fleet = await Fleet.start({
    shards: SHARDS,
    copies: COPIES,
    proxies: PROXIES,
    supervisors: SUPERVISORS,
    network,
    settings: { rules: [{ match: 'r:*', reads: { strict: true } }] },
  });
});
afterAll(async () => {
  await fleet?.close();
  await network?.remove();
});

for (const [index, fault] of trialsOf(networkFaults(() => network)).entries())
  test.skipIf(obstacle !== null)(`${index + 1}: ${fault.name} (seed ${SEED})`, () => mustHold(fleet, fault, index + 1));
