import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { endProcessGroup, identify, isAlive, signalProcess, waitForEnd } from '../../src/local/process-identity.ts';
import { HANG_MS } from '../support/patience.ts';

const started: number[] = [];

afterEach(() => {
  for (const pid of started.splice(0)) {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // Gone already.
    }
  }
});

function startShell(script: string) {
  const child = spawn('sh', ['-c', script], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
  const pid = child.pid as number;
  started.push(pid);
  return { child, pid };
}

test('a process is alive under its identity until it ends', async () => {
  const { child, pid } = startShell('exec sleep 60');
  const identity = identify(pid);
  expect(identity).not.toBeNull();
  if (identity === null) return;
  expect(isAlive(identity)).toBe(true);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(isAlive(identity)).toBe(false);
  expect(identify(pid)).toBeNull();
});

test('another process under the same pid is not taken for the one that was identified', () => {
  const { child, pid } = startShell('exec sleep 60');
  const identity = identify(pid);
  if (identity === null) throw new Error('no identity');
  const older = { ...identity, startTicks: identity.startTicks - 1 };
  const otherBoot = { ...identity, boot: '00000000-0000-0000-0000-000000000000' };
  expect(isAlive(older)).toBe(false);
  expect(isAlive(otherBoot)).toBe(false);
  expect(signalProcess(older, 'SIGKILL')).toBe(false);
  expect(child.signalCode).toBeNull();
  expect(isAlive(identity)).toBe(true);
});

test('a dead process that nobody has collected counts as dead', async () => {
  // The shell's child ends at once, and the program that takes the shell's place never asks for it.
  const { child } = startShell('sleep 0 & echo $!; exec sleep 60');
  const [text] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
  const zombie = Number(text.toString());
  const endMs = performance.now() + HANG_MS;
  while (identify(zombie) !== null && performance.now() < endMs) await new Promise(resolve => setTimeout(resolve, 10));
  expect(identify(zombie)).toBeNull();
  // It is still in the table of processes.
  expect(() => process.kill(zombie, 0)).not.toThrow();
});

test('a group that does not heed SIGTERM is ended with all its children when the time is over', async () => {
  const { child, pid } = startShell("trap '' TERM; sleep 60 & echo $!; wait; sleep 60");
  const [text] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
  const [leader, grandchild] = [identify(pid), identify(Number(text.toString()))];
  if (leader === null || grandchild === null) throw new Error('not started');
  await endProcessGroup(leader, 200);
  expect(await waitForEnd(leader, HANG_MS)).toBe(true);
  expect(await waitForEnd(grandchild, HANG_MS)).toBe(true);
});
