/**
 * Which seeds a run of the simulator plays: one by `RINGSIDE_SEED`, whose whole story is printed, or as many as
 * `RINGSIDE_SIM_SEEDS` says, in portions, so that a long run tells how far it is.
 */
export const ONE_SEED: number | null =
  process.env['RINGSIDE_SEED'] === undefined ? null : Number(process.env['RINGSIDE_SEED']);

const PORTION = 20;

/** First and last of each portion, and all of it. `usually`: how many seeds where nobody says how many. */
export function portionsOfSeeds(usually: number): (readonly [number, number, readonly number[]])[] {
  const first = ONE_SEED ?? 1;
  const count = ONE_SEED === null ? Number(process.env['RINGSIDE_SIM_SEEDS'] ?? usually) : 1;
  return Array.from({ length: Math.ceil(count / PORTION) }, (_, index) => {
    const from = first + index * PORTION;
    const seeds = Array.from({ length: Math.min(PORTION, count - index * PORTION) }, (_, i) => from + i);
    return [from, from + seeds.length - 1, seeds] as const;
  });
}
