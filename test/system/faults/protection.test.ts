import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answersOf, frame, RawClient } from './raw-client.ts';
import { Node, PASSWORD, Stand } from './stand.ts';

/** NAME.crt and NAME.key in the folder, good for localhost. */
function selfSigned(dir: string, name: string): void {
  const files = ['-keyout', join(dir, `${name}.key`), '-out', join(dir, `${name}.crt`)];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  execFileSync('openssl', ['req', '-x509', ...curve, ...files, ...subject], { stdio: 'pipe' });
}

describe('a proxy with a password', () => {
  let stand: Stand;
  let stock: Node;

  beforeAll(async () => {
    stand = await Stand.start({ proxy: { auth: { password: PASSWORD } } });
    stock = await Node.start({ password: PASSWORD });
  });

  afterAll(async () => {
    await stand?.stop();
    await stock?.close();
  });

  const CONVERSATIONS: [string, Buffer | string][] = [
    ['a command without login', frame('GET', 'k')],
    ['PING without login', frame('PING')],
    ['an unknown command without login', frame('NOSUCH')],
    ['MULTI without login', frame('MULTI')],
    ['SUBSCRIBE without login', frame('SUBSCRIBE', 'c')],
    ['a wrong password', frame('AUTH', 'wrong')],
    ['a wrong user', frame('AUTH', 'nobody', PASSWORD)],
    ['the right password and then a command', Buffer.concat([frame('AUTH', PASSWORD), frame('GET', 'none')])],
    ['user and password and then a command', Buffer.concat([frame('AUTH', 'default', PASSWORD), frame('ECHO', 'in')])],
    ['a right password after a wrong one', Buffer.concat([frame('AUTH', 'x'), frame('AUTH', PASSWORD), frame('PING')])],
    [
      'a wrong password after the right one',
      Buffer.concat([frame('AUTH', PASSWORD), frame('AUTH', 'x'), frame('PING')]),
    ],
    ['HELLO 3 without login', frame('HELLO', '3')],
    ['HELLO without login', frame('HELLO')],
    ['HELLO with a wrong password', frame('HELLO', '3', 'AUTH', 'default', 'wrong')],
    ['a command of many arguments without login', `*11\r\n$4\r\nMGET\r\n`],
    ['a long argument without login', '*2\r\n$3\r\nGET\r\n$16385\r\n'],
    ['QUIT without login', frame('QUIT')],
    ['RESET after login', Buffer.concat([frame('AUTH', PASSWORD), frame('RESET'), frame('GET', 'k')])],
  ];

  // Each on connections of its own: what is waited for most is that nothing more comes.
  it.concurrent.each(CONVERSATIONS)('answers as a stock Redis: %s', async (_name, bytes) => {
    const [ours, theirs] = await answersOf(stand.port, stock.port, bytes);
    expect(ours).toEqual(theirs);
  });

  it('lets clients in that present it, in both protocols', async () => {
    for (const protocol of [2, 3]) {
      const redis = stand.client({ password: PASSWORD, protocol });
      expect(await redis.set('in', String(protocol))).toBe('OK');
      expect(await redis.get('in')).toBe(String(protocol));
      expect(await redis.call('ACL', 'WHOAMI')).toBe('default');
    }
    await expect(stand.client({ password: 'wrong' }).get('in')).rejects.toThrow();
  });
});

describe('a proxy without a password', () => {
  let stand: Stand;
  let stock: Node;

  beforeAll(async () => {
    stand = await Stand.start({ proxy: { deny: ['KEYS', 'FLUSHALL', 'EVAL'] } });
    stock = await Node.start();
  });

  afterAll(async () => {
    await stand?.stop();
    await stock?.close();
  });

  it('answers AUTH as a stock Redis', async () => {
    const commands = [['AUTH', 'x'], ['AUTH', 'default', 'x'], ['AUTH', 'nobody', 'x'], ['AUTH']];
    const answers = commands.map(words => answersOf(stand.port, stock.port, frame(...words)));
    for (const [ours, theirs] of await Promise.all(answers)) expect(ours).toEqual(theirs);
  });

  it('refuses what the configuration denies, in any case of letters, and it does not happen', async () => {
    const redis = stand.client();
    await redis.set('kept', '1');
    for (const name of ['FLUSHALL', 'flushall', 'FlushAll']) {
      await expect(redis.call(name)).rejects.toThrow(/^DENIED .*flushall/i);
    }
    await expect(redis.keys('*')).rejects.toThrow(/^DENIED .*keys/i);
    await expect(redis.eval('return 1', 0)).rejects.toThrow(/^DENIED .*eval/i);
    expect(await redis.get('kept')).toBe('1');
    expect(await redis.flushdb()).toBe('OK');
  });

  it('discards a transaction that holds something denied', async () => {
    const redis = stand.client();
    await expect(redis.multi().set('{d}a', '1').flushall().exec()).rejects.toThrow(/^EXECABORT /);
    expect(await redis.get('{d}a')).toBeNull();
  });

  it('takes up another deny list on SIGHUP, without a connection lost', async () => {
    const redis = stand.client();
    await expect(redis.keys('*')).rejects.toThrow(/^DENIED /);
    stand.configure({ deny: ['DBSIZE'] });
    stand.signal('SIGHUP');
    await expect.poll(() => redis.dbsize().catch((error: Error) => error.message)).toMatch(/^DENIED /);
    expect(await redis.keys('none*')).toEqual([]);
  });

  it('keeps its settings when the file has become wrong, and says so', async () => {
    const redis = stand.client();
    stand.configure({ deny: ['DBSIZE'], nosuchsetting: 1 });
    stand.signal('SIGHUP');
    await expect.poll(() => stand.log).toContain('nosuchsetting');
    await expect(redis.dbsize()).rejects.toThrow(/^DENIED /);
    expect(await redis.set('still', 'served')).toBe('OK');
  });
});

describe('a proxy with TLS towards its clients', () => {
  const dir = mkdtempSync(join(tmpdir(), 'ringside-tls-'));
  const path = (name: string) => join(dir, name);
  let stand: Stand;

  beforeAll(async () => {
    selfSigned(dir, 'server');
    selfSigned(dir, 'client');
    stand = await Stand.start({
      proxy: {
        tls: {
          cert: path('server.crt'),
          key: path('server.key'),
          ca: path('client.crt'),
          clientCertificates: 'required',
        },
      },
    });
  });

  afterAll(async () => {
    await stand?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const credentials = () => ({
    ca: readFileSync(path('server.crt')),
    cert: readFileSync(path('client.crt')),
    key: readFileSync(path('client.key')),
  });

  it('serves a client that trusts it and shows its certificate, large values too', async () => {
    const redis = stand.client({ tls: credentials() });
    const value = 'x'.repeat(3_000_000);
    expect(await redis.set('secret', value)).toBe('OK');
    expect((await redis.get('secret')) === value).toBe(true);
    const pipeline = redis.pipeline();
    for (let i = 0; i < 2_000; i += 1) pipeline.incr(`tls:${i % 10}`);
    const replies = (await pipeline.exec()) ?? [];
    expect(replies.map(reply => reply[1])).toEqual(Array.from({ length: 2_000 }, (_, i) => Math.floor(i / 10) + 1));
  });

  it('turns away a client without a certificate', async () => {
    const { ca } = credentials();
    const outcome = await new Promise<string>(resolve => {
      const socket = connectTls({ host: '127.0.0.1', port: stand.port, ca });
      socket.on('secureConnect', () => socket.write('PING\r\n'));
      socket.on('data', piece => resolve(`answered ${piece.toString()}`));
      socket.on('error', () => resolve('turned away'));
      socket.on('close', () => resolve('turned away'));
    });
    expect(outcome).toBe('turned away');
  });

  it('answers nothing to a client that speaks in the clear, and goes on', async () => {
    const plain = await RawClient.open(stand.port);
    plain.send(frame('GET', 'secret'));
    await plain.untilClosed();
    expect(plain.text).not.toContain('$');
    expect(await stand.client({ tls: credentials() }).ping()).toBe('PONG');
  });
});

describe('nodes that ask for a password', () => {
  it('a proxy that is let in no more is not ready, refuses by name and tells the reason, but not a password', async () => {
    const stand = await Stand.start({ shards: 1 });
    try {
      await stand.nodes[0]?.ask(async node => {
        // Nobody can set the node up again: that takes a password now, and who was let in before is thrown out.
        await node.config('SET', 'requirepass', PASSWORD);
        await node.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
        await node.call('ACL', 'DELUSER', 'ringside-proxy-1');
      });
      await expect.poll(() => stand.ready()).toBe(false);
      await expect(stand.client().get('k')).rejects.toThrow(/^CLUSTERDOWN /);
      await expect.poll(() => stand.log).toMatch(/WRONGPASS/);
      expect(stand.log).not.toContain(PASSWORD);
    } finally {
      await stand.stop();
    }
  });

  it('a proxy that has it is let in, and so again after the node was away', async () => {
    const stand = await Stand.start({ shards: 1, nodes: { password: PASSWORD }, nodeAccess: { password: PASSWORD } });
    try {
      expect(await stand.client().set('k', 'v')).toBe('OK');
      expect(await stand.nodes[0]?.ask(node => node.get('k'))).toBe('v');
      await stand.nodes[0]?.kill();
      await stand.nodes[0]?.start();
      expect(await stand.client().get('k')).toBeNull();
    } finally {
      await stand.stop();
    }
  });
});

describe('nodes that speak TLS', () => {
  const dir = mkdtempSync(join(tmpdir(), 'ringside-tls-'));
  const path = (name: string) => join(dir, name);

  beforeAll(() => {
    selfSigned(dir, 'node');
    selfSigned(dir, 'stranger');
  });

  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const nodes = { tls: { cert: path('node.crt'), key: path('node.key') } };

  it('are spoken to in TLS when their certificate is trusted', async () => {
    const stand = await Stand.start({ nodes, nodeAccess: { tls: { ca: path('node.crt') } } });
    try {
      const redis = stand.client();
      const keys = Array.from({ length: 200 }, (_, i) => `key:${i}`);
      expect(await redis.mset(new Map(keys.map(key => [key, key.repeat(50)])))).toBe('OK');
      expect(await redis.mget(keys)).toEqual(keys.map(key => key.repeat(50)));
      const large = 'x'.repeat(2_500_000);
      expect(await redis.set('large', large)).toBe('OK');
      expect((await redis.get('large')) === large).toBe(true);
    } finally {
      await stand.stop();
    }
  });

  it('are not spoken to when their certificate is not trusted, and the log says why', async () => {
    const nodeAccess = { tls: { ca: path('stranger.crt') } };
    const stand = await Stand.start({ shards: 1, nodes, nodeAccess, neverReady: true });
    try {
      await expect.poll(() => stand.log).toMatch(/certificate/i);
      await expect(stand.client().set('k', 'v')).rejects.toThrow(/^CLUSTERDOWN /);
      expect(await stand.ready()).toBe(false);
      expect(await stand.nodes[0]?.ask(node => node.dbsize())).toBe(0);
    } finally {
      await stand.stop();
    }
  });
});
