/**
 * No acknowledged write is ever lost: clients write through two proxies into two shards of three copies, while nodes,
 * supervisors and members of etcd are killed, frozen and started again.
 *
 *   RINGSIDE_FAULT_ROUNDS=20 npm test -- --system safety     the long form, and every fault
 */
import { afterAll, beforeAll, test } from 'vitest';
import { processFaults } from './faults.ts';
import { Fleet } from './fleet.ts';
import { mustHold, SEED, trialsOf } from './trial.ts';

let fleet: Fleet;
beforeAll(async () => {
  fleet = await Fleet.start({
    shards: 2,
    proxies: 2,
    supervisors: 3,
    settings: { rules: [{ match: 'r:*', reads: { strict: true } }], supervisor: { rebuild: { parallel: 2 } } },
  });
});
afterAll(() => fleet?.close());

for (const [index, fault] of trialsOf(processFaults).entries())
  test(`${index + 1}: ${fault.name} (seed ${SEED})`, () => mustHold(fleet, fault, index + 1));
