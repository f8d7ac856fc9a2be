/**
 * Nothing is lost, doubled or stale while keys move between shards, and nodes, supervisors and proxies are killed and
 * frozen meanwhile. Three shards of two copies; a fourth comes and goes.
 *
 *   RINGSIDE_FAULT_ROUNDS=5 npm test -- --system moves     the long form, and everything that can happen
 */
import { afterAll, beforeAll, test } from 'vitest';
import { Fleet } from '../safety/fleet.ts';
import { SEED } from '../safety/trial.ts';
import { MOVE_SETTINGS, MoveTrials, moveTrialsOf } from './trial.ts';
import { processTrials } from './trials.ts';

let fleet: Fleet;
let trials: MoveTrials;
beforeAll(async () => {
  fleet = await Fleet.start({
    shards: 3,
    copies: 2,
    spares: 2,
    proxies: 2,
    supervisors: 3,
    settings: MOVE_SETTINGS,
  });
  trials = await MoveTrials.fill(fleet);
});
afterAll(() => fleet?.close());

for (const [index, trial] of moveTrialsOf(processTrials).entries())
  test(`${index + 1}: ${trial.name} (seed ${SEED})`, () => trials.mustHold(trial, index + 1));
