import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NodeCalls } from '../../src/supervisor/act.ts';
import type { Call, Reply } from '../../src/supervisor/core/effect.ts';
import { SupervisorIdentity } from '../../src/supervisor/identity.ts';
import { supervisorUser } from '../../src/topology/credentials.ts';
import { HANG_MS, until } from '../support/patience.ts';
import { freePorts } from '../support/ports.ts';
import { BareNode } from './bare-node.ts';

const access = { username: 'default', password: '', keepDefaultUser: false, tls: null };
const identity = new SupervisorIdentity('0123456789abcdef0123456789abcdef', 'shop', access, 7);
let node: BareNode;
let runId = '';
let calls: NodeCalls;

beforeEach(async () => {
  node = new BareNode('a', await freePorts(1));
  runId = await node.start();
  calls = new NodeCalls(identity, null, id => (id === 'a' ? node : null));
});

afterEach(async () => {
  calls.close();
  await node.remove();
});

function call(commands: Call['commands'], more: Partial<Call> = {}): Call {
  return { kind: 'call', nodeId: 'a', runId, as: 'access', commands, limitMs: HANG_MS, ...more };
}

/** The user of this term, as the deciding half makes it. */
async function createTermUser(): Promise<void> {
  const user = supervisorUser(7);
  const hash = identity.hash(identity.password(user, runId));
  await node.command('ACL', 'SETUSER', user, 'reset', 'on', hash, '~*', '&*', '+@all');
}

async function connections(): Promise<number> {
  const list = String(await node.command('CLIENT', 'LIST'));
  return list.trim().split('\n').length - 1;
}

test('the replies come in the order of the commands, errors among them', async () => {
  const outcome = await calls.perform(
    call([
      ['SET', 'k', '1'],
      ['LPUSH', 'k', 'x'],
      ['INCR', 'k'],
      ['GET', 'none'],
      ['COMMAND', 'GETKEYS', 'GET', 'k'],
    ]),
  );
  expect(outcome).toEqual({
    ok: true,
    replies: ['OK', { error: expect.stringContaining('WRONGTYPE') }, 2, null, ['k']],
  });
});

test('bytes go out and come back as they are where that is asked for', async () => {
  const bytes = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte)).join('');
  const write = await calls.perform(
    call(
      [
        ['SET', bytes, `${bytes}${bytes}`],
        ['DUMP', bytes],
      ],
      { binary: true },
    ),
  );
  const [ok, dump = ''] = write.ok ? write.replies : [];
  expect(ok).toBe('OK');
  const script = 'return {redis.call("RESTORE", KEYS[1], 0, ARGV[1]), redis.call("GET", KEYS[1]), false, 7}';
  const read = await calls.perform(
    call(
      [
        ['EVAL', script, '1', 'copy', String(dump)],
        ['KEYS', '*'],
        ['LPUSH', bytes, 'x'],
      ],
      { binary: true },
    ),
  );
  expect(read).toEqual({
    ok: true,
    replies: [
      ['OK', `${bytes}${bytes}`, null, 7],
      expect.arrayContaining([bytes, 'copy']),
      { error: expect.stringContaining('WRONGTYPE') },
    ],
  });
  expect(await node.command('STRLEN', 'copy')).toBe(512);
});

test('errors within a reply are told as errors', async () => {
  const outcome = await calls.perform(call([['MULTI'], ['SET', 'k', 'x'], ['INCR', 'k'], ['EXEC']]));
  const replies: readonly Reply[] = outcome.ok ? outcome.replies : [];
  expect(replies.at(-1)).toEqual(['OK', { error: expect.stringContaining('not an integer') }]);
});

test('calls of one login to one incarnation share a connection, in order; another login has its own', async () => {
  await createTermUser();
  const all = Array.from({ length: 20 }, (_, index) => calls.perform(call([['RPUSH', 'list', String(index)]])));
  all.push(calls.perform(call([['ACL', 'WHOAMI']], { as: 'term' })));
  const outcomes = await Promise.all(all);
  expect(outcomes.at(-1)).toEqual({ ok: true, replies: ['ringside-supervisor-7'] });
  expect(await connections()).toBe(2);
  const order = await node.command('LRANGE', 'list', '0', '-1');
  expect(order).toEqual(Array.from({ length: 20 }, (_, index) => String(index)));
});

test('another incarnation is a stranger, and none of the commands reaches it', async () => {
  const outcome = await calls.perform(call([['SET', 'k', '1']], { runId: 'f'.repeat(40) }));
  expect(outcome).toEqual({
    ok: false,
    why: 'stranger',
    text: `a is the incarnation ${runId} now, not ${'f'.repeat(40)}`,
  });
  expect(await node.command('EXISTS', 'k')).toBe(0);
});

test('a node that was started again in between is a stranger under every login', async () => {
  expect(await calls.perform(call([['SET', 'k', '1']]))).toMatchObject({ ok: true });
  await node.kill();
  await node.start();
  await until(
    () => calls.perform(call([['SET', 'k', '2']])),
    outcome => !outcome.ok && outcome.why === 'stranger',
  );
  expect(await calls.perform(call([['SET', 'k', '2']], { as: 'term' }))).toMatchObject({ ok: false, why: 'denied' });
  expect(await node.command('EXISTS', 'k')).toBe(0);
});

test('a login that is refused says whose, and falls back to no other', async () => {
  const outcome = await calls.perform(call([['SET', 'k', '1']], { as: 'term' }));
  expect(outcome).toMatchObject({ ok: false, why: 'denied' });
  expect(outcome.ok ? '' : outcome.text).toMatch(/^a does not let ringside-supervisor-7 in: WRONGPASS/);
  expect(await node.command('EXISTS', 'k')).toBe(0);
});

test('a user that is deleted takes its open connection with it', async () => {
  await createTermUser();
  expect(await calls.perform(call([['PING']], { as: 'term' }))).toMatchObject({ ok: true });
  await node.command('ACL', 'DELUSER', supervisorUser(7));
  await until(
    () => calls.perform(call([['PING']], { as: 'term' })),
    outcome => !outcome.ok && outcome.why === 'denied',
  );
});

test('nobody there is unreachable at once', async () => {
  await node.kill();
  const outcome = await calls.perform(call([['PING']]));
  expect(outcome).toMatchObject({ ok: false, why: 'unreachable', text: expect.stringContaining('ECONNREFUSED') });
  expect(await calls.perform(call([['PING']], { nodeId: 'x' }))).toMatchObject({ text: 'no node x is known' });
});

test('a process that dies ends the calls that wait as unreachable', async () => {
  const waiting = calls.perform(call([['BLPOP', 'nothing', '0']], { limitMs: 2 * HANG_MS }));
  await until(connections, count => count === 1);
  await node.kill();
  expect(await waiting).toMatchObject({ ok: false, why: 'unreachable' });
});

test('a frozen process is silent within the limit, and used again over another connection once it wakes', async () => {
  expect(await calls.perform(call([['PING']]))).toMatchObject({ ok: true });
  process.kill(node.pid, 'SIGSTOP');
  const outcome = await calls.perform(call([['PING']], { limitMs: 150 }));
  expect(outcome).toEqual({ ok: false, why: 'silent', text: 'no answer within 150 ms' });
  expect(await calls.perform(call([['PING']], { limitMs: 100 }))).toMatchObject({ ok: false, why: 'silent' });
  process.kill(node.pid, 'SIGCONT');
  expect(await calls.perform(call([['PING']]))).toEqual({ ok: true, replies: ['PONG'] });
});

test('while a script runs and runs, the user of the term still gets in to kill it', async () => {
  await createTermUser();
  await node.command('CONFIG', 'SET', 'busy-reply-threshold', '20');
  const script = node.client();
  await script.connect();
  const running = script.call('EVAL', 'while true do end', '0').catch((error: Error) => error.message);
  await until(
    () => calls.perform(call([['PING']], { limitMs: 200 })),
    outcome => !outcome.ok && outcome.text.includes('BUSY'),
  );
  expect(await calls.perform(call([['SCRIPT', 'KILL']], { as: 'term' }))).toEqual({ ok: true, replies: ['OK'] });
  expect(await running).toContain('Script killed by user');
  script.disconnect();
});

test('a command behind a login that was never answered is not sent, nor later', async () => {
  // Somebody who takes the connection and reads nothing for a while: a cut network, as the sender sees it.
  const received: Buffer[] = [];
  const deaf = createServer({ pauseOnConnect: true }, socket => {
    socket.on('error', () => undefined);
    setTimeout(() => socket.on('data', data => received.push(data)).resume(), 400);
  });
  await new Promise<void>(resolve => deaf.listen(0, '127.0.0.1', resolve));
  const { port } = deaf.address() as { port: number };
  const other = new NodeCalls(identity, null, () => ({ host: '127.0.0.1', port }));
  expect(await other.perform(call([['PING']], { limitMs: 100 }))).toMatchObject({ ok: false, why: 'silent' });
  await new Promise(resolve => setTimeout(resolve, 500));
  expect(Buffer.concat(received).toString()).not.toContain('PING');
  other.close();
  deaf.close();
});

test('nodes are reached over TLS as well, and a frozen one is left in the same way', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'ringside-tls-'));
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const subject = ['-subj', '/CN=node', '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync('openssl', ['req', '-x509', ...curve, '-keyout', key, '-out', cert, ...subject], { stdio: 'pipe' });
  const port = await freePorts(1);
  const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert];
  await node.kill();
  const secureRunId = await node.start('--tls-port', String(port), ...files, '--tls-auth-clients', 'no');
  const tls = { ca: cert, cert: null, key: null, serverName: null };
  const secure = new NodeCalls(identity, tls, () => ({ host: '127.0.0.1', port }));
  const ping = (limitMs: number) => secure.perform(call([['PING']], { runId: secureRunId, limitMs }));
  expect(await ping(HANG_MS)).toEqual({ ok: true, replies: ['PONG'] });
  process.kill(node.pid, 'SIGSTOP');
  expect(await ping(100)).toMatchObject({ ok: false, why: 'silent' });
  process.kill(node.pid, 'SIGCONT');
  expect(await ping(HANG_MS)).toEqual({ ok: true, replies: ['PONG'] });
  secure.close();
  // Who has no reason to trust the node's certificate does not take it for dead.
  const untrusting = new NodeCalls(identity, { ...tls, ca: null }, () => ({ host: '127.0.0.1', port }));
  const refused = await untrusting.perform(call([['PING']], { runId: secureRunId }));
  expect(refused).toMatchObject({ ok: false, text: expect.stringMatching(/certificate/) });
  untrusting.close();
  rmSync(directory, { recursive: true });
});

test('after the end of a leadership nothing is sent any more', async () => {
  const waiting = calls.perform(call([['BLPOP', 'nothing', '0']], { limitMs: 2 * HANG_MS }));
  await until(connections, count => count === 1);
  calls.close();
  expect(await waiting).toMatchObject({ ok: false, why: 'unreachable' });
  expect(await calls.perform(call([['SET', 'k', '1']]))).toMatchObject({ ok: false, text: 'this leadership is over' });
  await until(connections, count => count === 0);
});
