import { readFileSync } from 'node:fs';

/**
 * One process life: a pid alone may have been given to another process since.
 *
 * The kernel's start time (field 22 of /proc/PID/stat, in clock ticks since boot) differs for every process that had
 * the pid; the boot's own id keeps apart what ran before a restart of the machine.
 */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: number;
  readonly boot: string;
}

/** Who has this pid now; null when nobody has, or only a dead process that waits to be collected. */
export function identify(pid: number): ProcessIdentity | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return null;
  }
  // The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  if (state === 'Z' || state === 'X') return null;
  return { pid, startTicks: Number(fields[19]), boot: bootId() };
}

/** The very process that was identified is still running. */
export function isAlive(identity: ProcessIdentity): boolean {
  const now = identify(identity.pid);
  return now !== null && now.startTicks === identity.startTicks && now.boot === identity.boot;
}

/** Sends a signal unless the process is gone; false when it is. Never reaches another process with the same pid. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** Resolves once the process is gone (true) or the time is over (false). */
export async function waitForEnd(identity: ProcessIdentity, limitMs: number): Promise<boolean> {
  const endMs = performance.now() + limitMs;
  while (isAlive(identity)) {
    if (performance.now() >= endMs) return false;
    await new Promise(resolve => setTimeout(resolve, 10));
  }
  return true;
}

/** Ends a process that leads a group of its own, in order or, when the time is over, by force with all its children. */
export async function endProcessGroup(identity: ProcessIdentity, limitMs: number): Promise<void> {
  signalProcess(identity, 'SIGCONT');
  signalProcess(identity, 'SIGTERM');
  if (await waitForEnd(identity, limitMs)) return;
  killProcessGroup(identity);
  await waitForEnd(identity, 2000);
}

/** Ends such a group at once. */
export function killProcessGroup(identity: ProcessIdentity): void {
  if (!isAlive(identity)) return;
  try {
    process.kill(-identity.pid, 'SIGKILL');
  } catch {
    signalProcess(identity, 'SIGKILL');
  }
}
let boot: string | null = null;

function bootId(): string {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  return boot;
}
