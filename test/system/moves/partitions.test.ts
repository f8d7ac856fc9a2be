/**
 * Nothing is lost, doubled or stale while keys move between shards and hosts are cut off from one another: each node, each
 * supervisor with a member of etcd, and each proxy has a host of its own.
 */
import { afterAll, beforeAll, test } from 'vitest';
import { Fleet } from '../safety/fleet.ts';
import { Network } from '../safety/network.ts';
import { SEED } from '../safety/trial.ts';
import { MOVE_SETTINGS, MoveTrials, moveTrialsOf } from './trial.ts';
import { networkTrials } from './trials.ts';

const obstacle = await Network.obstacle();
const [SHARDS, COPIES, SUPERVISORS, PROXIES] = [2, 2, 3, 2];

let network: Network;
let fleet: Fleet;
let trials: MoveTrials;
beforeAll(async () => {
  if (obstacle !== null) return;
  network = await Network.create((SHARDS + 1) * COPIES + SUPERVISORS + PROXIES);
  fleet = await Fleet.start({
    shards: SHARDS,
    copies: COPIES,
    spares: COPIES,
    proxies: PROXIES,
    supervisors: SUPERVISORS,
    network,
    settings: MOVE_SETTINGS,
  });
  trials = await MoveTrials.fill(fleet);
});
afterAll(async () => {
  await fleet?.close();
  await network?.remove();
});

for (const [index, trial] of moveTrialsOf(networkTrials(() => network)).entries())
  test.skipIf(obstacle !== null)(`${index + 1}: ${trial.name} (seed ${SEED})`, () => trials.mustHold(trial, index + 1));
