/**
 * Nodes are drained, stopped and come back while clients write and read: nobody sees an error, nothing is lost, and no
 * read from any copy tells of the past.
 *
 *   RINGSIDE_FAULT_ROUNDS=5 npm test -- --system nodes     the long form, and everything that can happen
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type } from '../moves/command.ts';
import { MoveTrials, moveTrialsOf } from '../moves/trial.ts';
import { Fleet } from '../safety/fleet.ts';
import type { Role } from '../safety/role.ts';
import { SEED } from '../safety/trial.ts';
import { drainTrials } from './trials.ts';

const SETTINGS = {
  rules: [
    { match: 'r:*', reads: { strict: true } },
    { match: '*', reads: { from: 'any' } },
  ],
  supervisor: { move: { keysPerSecond: 400, portionKeys: 150 } },
};

let fleet: Fleet;
let trials: MoveTrials;
beforeAll(async () => {
  fleet = await Fleet.start({ shards: 2, copies: 2, spares: 2, proxies: 2, settings: SETTINGS });
  trials = await MoveTrials.fill(fleet);
});
afterAll(() => fleet?.close());

test('what cannot be done is said in one line, with a status that tells why', async () => {
  const { file } = fleet.supervisors[0] as Role;
  const said = async (...words: string[]) => {
    const { status, err } = await type(fleet.dir, 'node', ...words, '--config', file);
    return [status, err];
  };
  expect(await said('drain', 'n99')).toEqual([2, expect.stringContaining('there is no node n99; there are n1, ')]);
  expect(await said('replace', 'n1')).toEqual([2, expect.stringContaining('say where its copy is to go')]);
  expect(await said('replace', 'n1', '--with', 'n3')).toEqual([1, expect.stringContaining('it is a member of s2')]);
  expect(await said('drain', 'n1', '--zone', 'x')).toEqual([1, expect.stringContaining('no spare in zone x')]);
  expect(await said('undrain', 'n1')).toEqual([1, expect.stringContaining('n1 is not being drained')]);
});

for (const [index, trial] of moveTrialsOf(drainTrials).entries())
  test(`${index + 1}: ${trial.name} (seed ${SEED})`, () => trials.mustHold(trial, index + 1));
