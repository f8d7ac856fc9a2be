/**
 * Where something must not happen unless the machine is at fault (a lease is not renewed in time, a node is taken for
 * hung), a test has to know whether it was.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** A machine that lets this process wait for so long may do so with any other. */
const STARVED_MS = 300;

/** From now on; what it gives ends the watch, and tells whether this process was kept waiting meanwhile. */
export function watchForStarvation(): () => boolean {
  const delay = monitorEventLoopDelay();
  delay.enable();
  return () => {
    delay.disable();
    return delay.max / 1e6 > STARVED_MS;
  };
}
