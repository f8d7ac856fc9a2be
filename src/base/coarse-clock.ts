/**
 * The monotonic clock as of the last read from any socket: one look per read is enough for every command in it.
 *
 * Whoever reads a socket, or wakes by a timer, calls `tick` first; everything behind it uses `coarse.nowMs`.
 */
export const coarse = { nowMs: performance.now() };

/** Looks at the clock; milliseconds that only grow. */
export function tick(): number {
  const nowMs = performance.now();
  coarse.nowMs = nowMs;
  return nowMs;
}
