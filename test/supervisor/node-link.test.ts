import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LinkError, NodeLink } from '../../src/supervisor/node-link.ts';
import { HANG_MS } from '../support/patience.ts';
import { freePorts } from '../support/ports.ts';
import { BareNode } from './bare-node.ts';

let node: BareNode;
let link: NodeLink | null = null;
let server: Server | null = null;
let ended = 0;

beforeEach(async () => {
  node = new BareNode('a', await freePorts(1));
  ended = 0;
});

afterEach(async () => {
  link?.drop();
  link = null;
  server?.close();
  server = null;
  await node.remove();
});

async function open(port = node.port): Promise<NodeLink> {
  const opened = await NodeLink.open({ host: '127.0.0.1', port }, null, HANG_MS, () => {
    ended += 1;
  });
  link = opened;
  return opened;
}

/** Answers whatever comes by what is given, one piece after another. */
async function scripted(onBytes: (socket: Socket) => void): Promise<number> {
  const port = await freePorts(1);
  const listening = createServer(socket => socket.once('data', () => onBytes(socket)).on('error', () => undefined));
  server = listening;
  await new Promise<void>(resolve => listening.listen(port, '127.0.0.1', resolve));
  return port;
}

const troubleOf = (failed: Promise<unknown>) =>
  failed.then(
    () => 'none',
    (error: unknown) => (error instanceof LinkError ? error.trouble : error),
  );

test('replies of every kind, in their order, errors among them', async () => {
  await node.start();
  const to = await open();
  expect(
    await to.send([
      ['SET', 'k', '1'],
      ['INCR', 'k'],
      ['GET', 'none'],
      ['LPUSH', 'k', 'x'],
      ['MULTI'],
      ['GET', 'k'],
      ['LPUSH', 'k', 'x'],
      ['EXEC'],
    ]),
  ).toEqual([
    'OK',
    2,
    null,
    { error: 'WRONGTYPE Operation against a key holding the wrong kind of value' },
    'OK',
    'QUEUED',
    'QUEUED',
    ['2', { error: 'WRONGTYPE Operation against a key holding the wrong kind of value' }],
  ]);
  expect(await to.send([])).toEqual([]);
});

test('bytes stay bytes, text stays text, and several askers get their own', async () => {
  await node.start();
  const to = await open();
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString('latin1');
  const large = bytes.repeat(20_000);
  const replies = await Promise.all([
    to.send([['SET', bytes, large]], true),
    to.send([['GET', bytes]], true),
    to.send([['ECHO', 'grün 🥊']]),
    to.send([['ECHO', bytes]], true),
  ]);
  expect(replies[0]).toEqual(['OK']);
  expect(replies[1]?.[0] === large).toBe(true);
  expect(replies[2]).toEqual(['grün 🥊']);
  expect(replies[3]).toEqual([bytes]);
});

test('nobody listens', async () => {
  expect(await troubleOf(open(node.port))).toBe('refused');
});

test('a node that dies ends what waits, and says so once', async () => {
  await node.start();
  const to = await open();
  const waits = troubleOf(to.send([['BLPOP', 'none', '0']]));
  await to.send([]);
  node.kill();
  expect(await waits).toBe('refused');
  expect([to.isEnded, ended]).toEqual([true, 1]);
  expect(await troubleOf(to.send([['PING']]))).toBe('refused');
});

test('what is no RESP, or no answer to anything, makes the connection useless', async () => {
  const garbage = await open(await scripted(socket => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')));
  expect(await troubleOf(garbage.send([['PING']]))).toBe('unusable');
  server?.close();
  const talkative = await open(await scripted(socket => socket.write('+PONG\r\n+PONG\r\n')));
  expect(await talkative.send([['PING']])).toEqual(['PONG']);
  expect(await troubleOf(talkative.send([['PING']]))).toBe('unusable');
});

test('a reply may come in pieces; half of one is none', async () => {
  const to = await open(
    await scripted(socket => {
      socket.write('*2\r\n$4\r\na\r\nb\r\n*1\r');
      setImmediate(() => socket.write('\n$-1\r\n$5\r\nhal'));
      setTimeout(() => socket.destroy(), 20);
    }),
  );
  expect(await to.send([['A']], true)).toEqual([['a\r\nb', [null]]]);
  expect(await troubleOf(to.send([['B']], true))).toBe('refused');
});

test('dropped, it tells nobody but those who wait', async () => {
  await node.start();
  const to = await open();
  const waits = troubleOf(to.send([['BLPOP', 'none', '0']]));
  to.drop();
  expect(await waits).toBe('refused');
  expect([to.isEnded, ended]).toEqual([true, 0]);
});
