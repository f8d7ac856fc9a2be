/**
 * The clock as a value, so that what decides by time can be driven by a test or a simulator.
 */
export interface Clock {
  /** Milliseconds that only grow and mean nothing to another process. */
  nowMs(): number;
  /** Milliseconds since 1970, for what people and other machines read. */
  wallMs(): number;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
};
