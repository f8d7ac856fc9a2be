import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { askToReplace, controlPath, isDeserted, listenForControl } from '../../src/admin/control-socket.ts';

let dir = '';
const servers: Server[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ringside-control-'));
});

afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise(resolve => server.close(resolve));
  rmSync(dir, { recursive: true });
});

async function listen(stateDir: string, result = { status: 0, line: 'done' }): Promise<Server> {
  const server = await listenForControl(stateDir, async () => result);
  servers.push(server);
  return server;
}

describe('the control socket', () => {
  it('carries the request to the running proxy and its result back', async () => {
    await listen(dir, { status: 1, line: 'not replaced: s2 is away' });
    expect(await askToReplace(dir)).toEqual({ status: 1, line: 'not replaced: s2 is away' });
  });

  it('answers null where no proxy runs, and where one was killed', async () => {
    expect(await askToReplace(dir)).toBeNull();
    leaveSocketBehind(controlPath(dir));
    expect(await askToReplace(dir)).toBeNull();
  });

  it('may be used by its owner only', async () => {
    await listen(dir);
    expect(statSync(controlPath(dir)).mode & 0o777).toBe(0o600);
  });

  it('makes the state directory where there is none yet', async () => {
    await listen(join(dir, 'deep', 'state'));
    expect(await askToReplace(join(dir, 'deep', 'state'))).toEqual({ status: 0, line: 'done' });
  });

  it('takes the place of one that a killed proxy left behind', async () => {
    leaveSocketBehind(controlPath(dir));
    expect(await isDeserted(controlPath(dir))).toBe(true);
    await listen(dir);
    expect(await askToReplace(dir)).toEqual({ status: 0, line: 'done' });
  });

  it('leaves the socket of a proxy that runs alone', async () => {
    await listen(dir);
    expect(await isDeserted(controlPath(dir))).toBe(false);
    await expect(listenForControl(dir, async () => ({ status: 0, line: '' }))).rejects.toThrow('another proxy');
    expect(await askToReplace(dir)).toEqual({ status: 0, line: 'done' });
  });

  it('does not take over a file that is no socket', async () => {
    writeFileSync(controlPath(dir), 'mine');
    await expect(listenForControl(dir, async () => ({ status: 0, line: '' }))).rejects.toThrow(controlPath(dir));
    expect(existsSync(controlPath(dir))).toBe(true);
  });

  it('hangs up on whoever says something else', async () => {
    await listen(dir);
    const socket = connect(controlPath(dir));
    socket.write('GET / HTTP/1.1\r\n');
    socket.on('error', () => undefined);
    await new Promise(resolve => socket.on('close', resolve));
    expect(await askToReplace(dir)).toEqual({ status: 0, line: 'done' });
  });

  it('finds a short path for a state directory whose name is too long for a socket', async () => {
    const long = join(dir, 'x'.repeat(120));
    expect(Buffer.byteLength(controlPath(long))).toBeLessThanOrEqual(107);
    expect(controlPath(long)).not.toBe(controlPath(`${long}y`));
    await listen(long);
    expect(await askToReplace(long)).toEqual({ status: 0, line: 'done' });
  });
});

/** As a process does that is killed while it listens. */
function leaveSocketBehind(path: string): void {
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  expect(() => execFileSync(process.execPath, ['-e', script])).toThrow();
  expect(existsSync(path)).toBe(true);
}
