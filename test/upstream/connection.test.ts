import { afterEach, describe, expect, it } from 'vitest';
import { Connection } from '../../src/upstream/connection.ts';
import type { Target } from '../../src/upstream/login.ts';
import { turns, until } from './lane-stand.ts';
import { bulkText, ScriptedNode } from './scripted-node.ts';

class Owner {
  ready = 0;
  readonly ended: string[] = [];
  heard = '';

  onReady(): void {
    this.ready += 1;
  }

  onBytes(length: number, bytes: Buffer): void {
    this.heard += bytes.toString('latin1', 0, length);
  }

  onEnded(_connection: Connection, reason: string): void {
    this.ended.push(reason);
  }

  onDrained(): void {}
}

const nodes: ScriptedNode[] = [];
const connections: Connection[] = [];

async function startNode(): Promise<ScriptedNode> {
  const node = await ScriptedNode.start();
  nodes.push(node);
  return node;
}

function connect(target: Target, connectMs = 2000): { connection: Connection; owner: Owner } {
  const owner = new Owner();
  const connection = new Connection(target, null, connectMs, owner);
  connections.push(connection);
  return { connection, owner };
}

/** Tries to connect; why that ended. */
async function refusal(target: Target, connectMs = 2000): Promise<string> {
  const { connection, owner } = connect(target, connectMs);
  await until('it has ended', () => owner.ended.length > 0);
  expect([owner.ready, connection.ready]).toEqual([0, false]);
  return owner.ended[0] as string;
}

afterEach(async () => {
  for (const connection of connections.splice(0)) connection.end('the test is over');
  for (const node of nodes.splice(0)) await node.stop();
});

describe('a connection to a node', () => {
  it('is ready when the login is answered well, and knows whom it has reached', async () => {
    const node = await startNode();
    const { connection, owner } = connect({ ...node.target, database: 3, protocol: 3, password: 'secret' });
    await until('it is ready', () => owner.ready === 1);
    expect([connection.ready, connection.runId, connection.clientId]).toEqual([true, 'a'.repeat(40), 7]);
    connection.write(Buffer.from('*1\r\n$4\r\nPING\r\n'));
    await until('the node hears', () => node.link.heard.length === 1);
    node.link.say('+PONG\r\n');
    await until('the owner hears', () => owner.heard === '+PONG\r\n');
  });

  it.each([
    ['a wrong password', { login: { AUTH: '-WRONGPASS no\r\n' } }, /refused the login: WRONGPASS no/],
    ['a database that it lacks', { login: { SELECT: '-ERR DB index is out of range\r\n' } }, /out of range/],
    ['an error in RESP3', { login: { SELECT: '!6\r\nERR no\r\n' } }, /refused the login: ERR no/],
    ['a version before 7.0', { info: { redis_version: '6.2.14' } }, /runs Redis 6\.2\.14/],
    ['a replica', { info: { role: 'slave' } }, /replica/],
    ['a node that loads its data', { info: { loading: '1' } }, /loading/],
    ['another incarnation', { info: { run_id: 'b'.repeat(40) } }, /another incarnation answers \(run_id b{40}/],
    ['no INFO at all', { login: { INFO: '+OK\r\n' } }, /runs Redis 0/],
    ['an answer that is no RESP', { login: { AUTH: 'HTTP/1.1 400 Bad Request\r\n' } }, /not RESP/],
    ['more answers than questions', { login: { AUTH: '+OK\r\n+OK\r\n' } }, /more replies/],
    ['endless answers', { login: { AUTH: `$9000000\r\n${'x'.repeat(1_100_000)}` } }, /more than a login needs/],
    ['nesting without an end', { login: { AUTH: `${'*1\r\n'.repeat(100_000)}:1\r\n` } }, /refused the login: ERR.*deep/],
    ['a bare line feed behind a length', { login: { AUTH: '$3\nabc\r\n' } }, /not RESP/],
  ])('is refused with the reason for %s', async (_name, { login = {}, info = {} }: Partial<ScriptedNode>, reason) => {
    const node = await startNode();
    node.login = login;
    node.info = { ...node.info, ...info };
    const target = { ...node.target, username: 'app', password: 'secret', database: 1, runId: 'a'.repeat(40) };
    expect(await refusal(target)).toMatch(reason);
  });

  it('tells no password when it is refused', async () => {
    const node = await startNode();
    node.login = { AUTH: '-WRONGPASS no\r\n' };
    expect(await refusal({ ...node.target, password: 'very-secret' })).not.toContain('very-secret');
  });

  it('takes a login whose answers are cut at every byte', async () => {
    const node = await startNode();
    const info = bulkText(`redis_version:7.2.0\r\nrun_id:${'c'.repeat(40)}\r\nrole:master\r\n`);
    node.login = { CLIENT: null, INFO: null };
    const { connection, owner } = connect(node.target);
    await until('it has connected', () => node.links.length === 1);
    for (const byte of `+OK\r\n:9\r\n${info}`) {
      node.link.say(byte);
      await turns(1);
    }
    await until('it is ready', () => owner.ready === 1);
    expect([connection.clientId, connection.runId]).toEqual([9, 'c'.repeat(40)]);
  });

  it('gives up when it is not ready in time, and has no time limit after that', async () => {
    const node = await startNode();
    node.login = { INFO: null };
    expect(await refusal(node.target, 50)).toMatch(/no answer within 50 ms/);
    node.login = {};
    const { connection, owner } = connect(node.target, 60);
    await until('it is ready', () => owner.ready === 1 || owner.ended.length > 0);
    await new Promise(resolve => setTimeout(resolve, 100));
    expect([connection.ready, owner.ended]).toEqual([true, []]);
  });

  it('ends once, whoever ends it, and says nothing afterwards', async () => {
    const node = await startNode();
    const { connection, owner } = connect(node.target);
    await until('it is ready', () => owner.ready === 1);
    node.link.say('+late\r\n');
    connection.end('enough');
    connection.end('again');
    connection.write(Buffer.from('x'));
    node.link.socket.destroy();
    await new Promise(resolve => setTimeout(resolve, 30));
    expect([owner.ended, owner.heard, connection.ready]).toEqual([['enough'], '', false]);
  });

  it('tells the system’s reason when nobody listens', async () => {
    const node = await startNode();
    const { target } = node;
    await node.stop();
    expect(await refusal(target)).toMatch(/ECONNREFUSED/);
  });

  it('is over when the node closes its half', async () => {
    const node = await startNode();
    const { owner } = connect(node.target);
    await until('it is ready', () => owner.ready === 1);
    node.link.socket.end();
    await until('it has ended', () => owner.ended.length > 0);
    expect(owner.ended).toEqual(['the node closed the connection']);
  });

  it('ends with a reason when TLS was expected and the node speaks in the clear', async () => {
    const node = await startNode();
    const owner = new Owner();
    connections.push(new Connection(node.target, {}, 300, owner));
    await until('it has connected', () => node.links.length === 1);
    node.link.say('-ERR what is this\r\n');
    await until('it has ended', () => owner.ended.length > 0);
    expect([owner.ready, owner.ended.length]).toEqual([0, 1]);
  });

  it('ends in time when a TLS handshake hangs', async () => {
    const node = await startNode();
    const owner = new Owner();
    connections.push(new Connection(node.target, {}, 50, owner));
    await until('it has ended', () => owner.ended.length > 0);
    expect(owner.ended).toEqual(['no answer within 50 ms']);
  });
});
