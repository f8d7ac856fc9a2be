import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { TlsClient } from '../../src/config/config.ts';
import { Connection } from '../../src/upstream/connection.ts';
import type { Target } from '../../src/upstream/login.ts';
import { secureLinks } from '../../src/upstream/secure.ts';
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
    [
      'nesting without an end',
      { login: { AUTH: `${'*1\r\n'.repeat(100_000)}:1\r\n` } },
      /refused the login: ERR.*deep/,
    ],
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
});

describe('a connection to a node that speaks TLS', () => {
  const directory = mkdtempSync(join(tmpdir(), 'ringside-connection-'));
  const file = (name: string): string => join(directory, name);
  let node: ScriptedNode;

  beforeAll(async () => {
    for (const name of ['node', 'stranger']) {
      const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
      const files = ['-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)];
      const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1,DNS:node.example'];
      execFileSync('openssl', ['req', '-x509', ...curve, ...files, ...subject], { stdio: 'pipe' });
    }
    node = await ScriptedNode.start(words => bulkText(words[1] ?? 'PONG'), {
      key: readFileSync(file('node.key')),
      cert: readFileSync(file('node.crt')),
    });
  });

  afterAll(async () => {
    await node.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const open = async (port: number, tls: Partial<TlsClient>, connectMs = 2000): Promise<[Connection, Owner]> => {
    const secure = await secureLinks({ ca: null, cert: null, key: null, serverName: null, ...tls });
    const owner = new Owner();
    const connection = new Connection({ ...node.target, port }, secure, connectMs, owner);
    connections.push(connection);
    return [connection, owner];
  };

  it.each([null, 'node.example'])(
    'is made when its certificate is trusted and carries the name (%s)',
    async serverName => {
      const [connection, owner] = await open(node.port, { ca: file('node.crt'), serverName });
      await until('it is ready', () => owner.ready === 1);
      const value = 'v'.repeat(300_000);
      connection.write(Buffer.from(`*2\r\n$4\r\nECHO\r\n${bulkText(value)}`));
      await until('the echo is there', () => owner.heard.length >= value.length + 11);
      expect(owner.heard === bulkText(value)).toBe(true);
    },
  );

  it.each([
    ['whose certificate is not trusted', { ca: 'stranger.crt' }, /certificate/i],
    ['whose certificate carries another name', { ca: 'node.crt', serverName: 'other.example' }, /altnames/],
  ])('is refused to one %s, and not a word is said', async (_name, tls, reason) => {
    const before = node.links.length;
    const [, owner] = await open(node.port, { ...tls, ca: file(tls.ca) });
    await until('it has ended', () => owner.ended.length > 0);
    expect([owner.ready, owner.ended]).toEqual([0, [expect.stringMatching(reason)]]);
    expect(node.links.slice(before).flatMap(link => link.heard)).toEqual([]);
  });

  it('ends with a reason when the node speaks in the clear', async () => {
    const clear = await startNode();
    const [, owner] = await open(clear.port, { ca: file('node.crt') });
    await until('it has connected', () => clear.links.length === 1);
    clear.link.say('-ERR what is this\r\n');
    await until('it has ended', () => owner.ended.length > 0);
    expect([owner.ready, owner.ended]).toEqual([0, [expect.stringMatching(/SSL|wrong version/i)]]);
  });

  it('ends in time when the handshake hangs', async () => {
    const clear = await startNode();
    const [, owner] = await open(clear.port, { ca: file('node.crt') }, 60);
    await until('it has ended', () => owner.ended.length > 0);
    expect(owner.ended).toEqual(['no answer within 60 ms']);
  });

  it('is not even tried without the files that the settings name', async () => {
    await expect(open(node.port, { ca: file('missing.crt') })).rejects.toThrow(/ENOENT.*missing\.crt/);
    expect(await secureLinks(null)).toBeNull();
  });
});
