/** The seed of a random test: RINGSIDE_SEED to play a run again, else a new one, printed. */
import { Random } from '../../src/base/random.ts';

export function seeded(test: string): Random {
  const given = process.env['RINGSIDE_SEED'];
  const seed = given === undefined ? Date.now() % 0x7fffffff : Number(given);
  console.log(`${test}: RINGSIDE_SEED=${seed}`);
  return new Random(seed);
}
