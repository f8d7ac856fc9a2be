import { createServer, type Server } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import type { Observation } from '../../src/supervisor/core/effect.ts';
import type { NameAndPassword } from '../../src/supervisor/identity.ts';
import { NodeProbe } from '../../src/supervisor/probe.ts';
import { until } from '../support/patience.ts';
import { freePorts } from '../support/ports.ts';
import { BareNode } from './bare-node.ts';

const EVERY_MS = 40;
const anyone: NameAndPassword = { username: 'default', password: '' };
let node: BareNode;
let runId = '';
let probe: NodeProbe | null = null;
let seen: { readonly atMs: number; readonly askedMs: number; readonly observation: Observation }[] = [];
let server: Server | null = null;

beforeEach(async () => {
  node = new BareNode('a', await freePorts(1));
  seen = [];
});

afterEach(async () => {
  probe?.stop();
  server?.close();
  server = null;
  await node.remove();
});

function watch(logins: readonly NameAndPassword[] = [anyone], port = node.port, everyMs = EVERY_MS): void {
  probe = new NodeProbe(
    {
      node: { host: '127.0.0.1', port },
      tls: null,
      everyMs,
      clock: systemClock,
      logins: () => logins,
      onObservation: (observation, askedMs) => seen.push({ atMs: performance.now(), askedMs, observation }),
    },
    null,
  );
  probe.start();
}

const last = () => seen.at(-1)?.observation;
const kinds = () => seen.map(({ observation }) => observation.kind);
/** Without what a machine that is short of time adds: an answer that takes longer than the pace is silence first. */
const heard = () => kinds().filter(kind => kind !== 'silent');

test('a node tells who it is, at the pace, over one connection', async () => {
  runId = await node.start();
  watch();
  await until(heard, all => all.length >= 8);
  expect(new Set(heard())).toEqual(new Set(['report']));
  expect(last()).toMatchObject({ report: { runId, role: 'primary', loading: false } });
  const list = String(await node.command('CLIENT', 'LIST'));
  expect(list.trim().split('\n')).toHaveLength(2);
  const spanMs = (seen.at(-1)?.askedMs ?? 0) - (seen[0]?.askedMs ?? 0);
  expect(spanMs).toBeGreaterThan((seen.length - 4) * EVERY_MS);
});

test('a process that dies is refused without waiting for the next question to be due', async () => {
  await node.start();
  const neverDueMs = 3_600_000;
  watch([anyone], node.port, neverDueMs);
  await until(last, observation => observation?.kind === 'report');
  // Who is closed right after its answer is asked at the pace, lest it be asked in a loop.
  await new Promise(resolve => setTimeout(resolve, 20));
  await node.kill();
  // What is refused may be the connection, or, in the instant of the death, what is asked over it.
  await until(last, observation => observation?.kind === 'refused');
});

test('a process that has died is refused at the pace, and comes back as somebody else', async () => {
  const former = await node.start();
  watch();
  await until(last, observation => observation?.kind === 'report');
  await node.kill();
  const isRefused = (seen: Observation | undefined) => seen?.kind === 'refused' && seen.text.includes('ECONNREFUSED');
  await until(last, isRefused);
  const refused = kinds().length;
  await until(kinds, all => all.length >= refused + 3);
  expect(new Set(kinds().slice(refused))).toEqual(new Set(['refused']));
  runId = await node.start();
  expect(runId).not.toBe(former);
  await until(last, observation => observation?.kind === 'report' && observation.report.runId === runId);
});

test('a connection that the node closes is no sign of its death', async () => {
  await node.start();
  watch();
  await until(heard, all => all.length >= 2);
  for (let round = 0; round < 5; round += 1) {
    const before = heard().length;
    await node.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await until(heard, all => all.length >= before + 2);
  }
  expect(new Set(heard())).toEqual(new Set(['report']));
});

test('a frozen process is silent, told again and again; it is heard at once when it wakes', async () => {
  await node.start();
  watch();
  await until(last, observation => observation?.kind === 'report');
  process.kill(node.pid, 'SIGSTOP');
  const stoppedAt = seen.length;
  await until(
    () => seen.length,
    count => count >= stoppedAt + 25,
  );
  expect(new Set(kinds().slice(stoppedAt + 1))).toEqual(new Set(['silent']));
  expect(last()).toMatchObject({ text: expect.stringMatching(/^no answer for \d+ ms$/) });
  process.kill(node.pid, 'SIGCONT');
  await until(last, observation => observation?.kind === 'report');
});

test('a report says when it was asked for, not only when it came', async () => {
  await node.start();
  watch();
  await until(last, observation => observation?.kind === 'report');
  process.kill(node.pid, 'SIGSTOP');
  await until(last, observation => observation?.kind === 'silent');
  const stoppedMs = performance.now();
  await new Promise(resolve => setTimeout(resolve, 200));
  process.kill(node.pid, 'SIGCONT');
  await until(last, observation => observation?.kind === 'report');
  const first = seen.find(({ atMs, observation }) => atMs > stoppedMs && observation.kind === 'report');
  expect(first?.askedMs).toBeLessThan(stoppedMs);
});

test('a script that runs and runs is busy', async () => {
  await node.start();
  await node.command('CONFIG', 'SET', 'busy-reply-threshold', '20');
  watch();
  await until(last, observation => observation?.kind === 'report');
  const script = node.client();
  await script.connect();
  const running = script.call('EVAL', 'while true do end', '0').catch(() => undefined);
  await until(last, observation => observation?.kind === 'busy');
  await node.command('SCRIPT', 'KILL');
  await until(last, observation => observation?.kind === 'report');
  await running;
  script.disconnect();
});

test('the logins are tried in their order; a node that knows none of them denies', async () => {
  await node.start();
  await node.command('ACL', 'SETUSER', 'second', 'on', '>right', '+info');
  await node.command('ACL', 'SETUSER', 'default', '-info');
  const logins = [{ username: 'first', password: 'x' }, { username: 'second', password: 'right' }, anyone];
  watch(logins);
  await until(last, observation => observation?.kind === 'report');
  const users = String(await node.command('CLIENT', 'LIST'));
  expect(users).toContain('user=second');
  probe?.stop();
  seen = [];
  watch([{ username: 'second', password: 'wrong' }, anyone]);
  await until(last, observation => observation?.kind === 'denied');
  expect(last()).toMatchObject({ text: expect.stringContaining('NOPERM') });
});

test('a user that is closed under the probe makes it log in anew', async () => {
  await node.start();
  await node.command('ACL', 'SETUSER', 'term', 'on', '>secret', '+info');
  watch([{ username: 'term', password: 'secret' }, anyone]);
  await until(last, observation => observation?.kind === 'report');
  await node.command('ACL', 'DELUSER', 'term');
  const before = heard().length;
  await until(heard, all => all.length > before + 3);
  expect(new Set(heard())).toEqual(new Set(['report']));
});

test('whoever is no Redis is there, but of no use', async () => {
  server = createServer(socket => {
    socket.on('error', () => undefined);
    socket.on('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'));
  });
  await new Promise<void>(resolve => server?.listen(0, '127.0.0.1', resolve));
  watch([anyone], (server.address() as { port: number }).port);
  await until(last, observation => observation !== undefined);
  await until(heard, all => all.length > 0);
  expect(heard()).not.toContain('report');
});

test('who closes each connection at once is asked at the pace and not in a loop', async () => {
  let accepted = 0;
  server = createServer(socket => {
    accepted += 1;
    socket.on('error', () => undefined);
    socket.destroy();
  });
  await new Promise<void>(resolve => server?.listen(0, '127.0.0.1', resolve));
  watch([anyone], (server.address() as { port: number }).port);
  await until(heard, all => all.length >= 5);
  expect(new Set(heard())).toEqual(new Set(['refused']));
  expect(accepted).toBeLessThanOrEqual(seen.length + 2);
});
