import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { importNutcracker } from '../../src/cli/import-nutcracker.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';

const folder = mkdtempSync(join(tmpdir(), 'ringside-import-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PLAIN = `
cache:
  listen: 127.0.0.1:22121
  redis: true
  servers:
    - 10.0.0.1:6379:1
    - 10.0.0.2:11211:2
    - cache.internal:6380:1 third
`;

function pool(...lines: string[]): string {
  return ['cache:', '  listen: 127.0.0.1:22121', '  redis: true', '  servers: [ 10.0.0.1:6379:1 ]', ...lines].join(
    '\n',
  );
}

/** What the settings made of it say once they are loaded as a person would load them. */
function loaded(yaml: string, environment: NodeJS.ProcessEnv = {}): Config {
  const file = join(folder, 'ringside.yaml');
  writeFileSync(file, yaml);
  return loadConfig(file, { RINGSIDE_SECRET: 'sixteen characters', ...environment });
}

function imported(text: string, options: { pool?: string } = {}) {
  const { yaml, notes } = importNutcracker(text, 'nutcracker.yml', options);
  return { config: loaded(yaml), notes };
}

function refusal(text: string, options: { pool?: string } = {}): string {
  try {
    importNutcracker(text, 'nutcracker.yml', options);
  } catch (error) {
    return (error as Error).message;
  }
  return 'not refused';
}

describe('what becomes of a pool', () => {
  test('each server is a node in a shard of its own, called what twemproxy hashes', () => {
    const { config } = imported(PLAIN);
    expect(config.cluster).toBe('cache');
    expect(config.shards).toEqual([
      { name: '10.0.0.1:6379', weight: 1, nodes: ['n1'] },
      { name: '10.0.0.2', weight: 2, nodes: ['n2'] },
      { name: 'third', weight: 1, nodes: ['n3'] },
    ]);
    expect(config.nodes).toEqual([
      { id: 'n1', host: '10.0.0.1', port: 6379, zone: 'default' },
      { id: 'n2', host: '10.0.0.2', port: 11211, zone: 'default' },
      { id: 'n3', host: 'cache.internal', port: 6380, zone: 'default' },
    ]);
  });

  test("twemproxy's defaults are written out", () => {
    const { config } = imported(PLAIN);
    expect(config.ring).toEqual({ kind: 'twemproxy', hash: 'fnv1a_64', distribution: 'ketama', hashTag: '' });
  });

  test('hash, distribution and hash tag are taken over', () => {
    const { config } = imported(pool('  hash: hsieh', '  distribution: modula', '  hash_tag: "<>"'));
    expect(config.ring).toEqual({ kind: 'twemproxy', hash: 'hsieh', distribution: 'modula', hashTag: '<>' });
  });

  test('it listens where twemproxy did', () => {
    expect(imported(PLAIN).config.proxy.listen).toEqual([{ kind: 'tcp', host: '127.0.0.1', port: 22121 }]);
    const socket = imported(pool().replace('127.0.0.1:22121', '/run/cache.sock 0666'));
    expect(socket.config.proxy.listen).toEqual([{ kind: 'unix', path: '/run/cache.sock' }]);
    expect(socket.notes.join('\n')).toContain('permissions 0666');
  });

  test('redis_auth is what nodes are given and what clients must give', () => {
    const password = `a "quoted" one: # \${HOME} $\${x} \\ 007`;
    const { config, notes } = imported(pool(`  redis_auth: '${password}'`));
    expect(config.nodeAccess.password).toBe(password);
    expect(config.proxy.auth).toEqual({ username: 'default', password });
    expect(notes.join('\n')).not.toContain(password);
    expect(imported(PLAIN).config.proxy.auth).toBeNull();
  });

  test('values stay text as nutcracker reads them', () => {
    const { config } = imported(pool('  redis_auth: 0123').replace('cache:', '0x10:'));
    expect(config.nodeAccess.password).toBe('0123');
    expect(config.cluster).toBe('0x10');
  });

  test('an IPv6 address gets its brackets, its hashed name does not', () => {
    const { config } = imported(pool().replace('10.0.0.1:6379:1', '"::1:6379:3"'));
    expect(config.nodes[0]).toMatchObject({ host: '::1', port: 6379 });
    expect(config.shards[0]).toMatchObject({ name: '::1:6379', weight: 3 });
  });

  test('a pool name that no cluster can have is changed, and told', () => {
    const { config, notes } = imported(pool().replace('cache:', '"the cache":'));
    expect(config.cluster).toBe('the-cache');
    expect(notes.join('\n')).toContain('the-cache');
  });

  test('one of several pools is taken by its name', () => {
    const two = `${pool()}\n${pool('  hash: md5').replace('cache:', 'other:')}`;
    expect(imported(two, { pool: 'other' }).config).toMatchObject({ cluster: 'other', ring: { hash: 'md5' } });
  });
});

describe('what is told', () => {
  test.each([
    ['timeout: 400', 'proxy.timeout'],
    ['backlog: 1024', 'backlog'],
    ['client_connections: 10', 'proxy.limits.clients'],
    ['tcpkeepalive: true', 'tcpkeepalive'],
    ['reuseport: true', 'proxy.workers'],
    ['preconnect: true', 'preconnect'],
    ['server_connections: 4', 'server_connections'],
    ['server_retry_timeout: 2000', 'server_retry_timeout'],
    ['server_failure_limit: 3', 'server_failure_limit'],
    ['auto_eject_hosts: true', 'never move'],
    ['redis_db: 3', 'SELECT 3'],
  ])('%s has no counterpart', (setting, words) => {
    const without = imported(pool()).notes;
    const notes = imported(pool(`  ${setting}`)).notes.filter(note => !without.includes(note));
    expect(notes).toHaveLength(1);
    expect(notes[0]).toContain(words);
  });

  test('what Ringside does anyway needs no note', () => {
    expect(imported(pool('  auto_eject_hosts: false', '  redis_db: 0')).notes).toEqual(imported(pool()).notes);
  });

  test('the secret that has to be set', () => {
    expect(imported(PLAIN).notes.join('\n')).toContain('RINGSIDE_SECRET');
  });

  test('a port that is open to everybody, which the loaded settings then refuse until somebody says so', () => {
    const open = importNutcracker(pool().replace('127.0.0.1:22121', '0.0.0.0:22121'), 'nutcracker.yml');
    expect(open.notes.join('\n')).toContain('proxy.allowInsecure');
    expect(() => loaded(open.yaml)).toThrow('proxy.allowInsecure');
    const guarded = pool('  redis_auth: pw').replace('127.0.0.1:22121', '0.0.0.0:22121');
    expect(imported(guarded).notes.join('\n')).not.toContain('proxy.allowInsecure');
  });
});

describe('what is refused', () => {
  test.each([
    ['a pool of memcached servers', pool().replace('redis: true', 'redis: false'), ':3:10: cache.redis:'],
    ['a pool that does not say redis', pool().replace('  redis: true\n', ''), ':1:1: cache.redis:'],
    ['random distribution', pool('  distribution: random'), ':5:17: cache.distribution: got random'],
    ['another distribution', pool('  distribution: jump'), ':5:17: cache.distribution: got jump'],
    ['a hash that twemproxy lacks', pool('  hash: sha1'), ':5:9: cache.hash: got sha1, expected one of one_at_a_time'],
    ['a hash tag of three characters', pool('  hash_tag: "{:}"'), ':5:13: cache.hash_tag:'],
    ['a setting that twemproxy lacks', pool('  hsah: md5'), ':5:3: cache.hsah: twemproxy has no such setting'],
    ['a list where a value belongs', pool('  timeout: [ 1 ]'), ':5:3: cache.timeout: expected a single value'],
    ['no servers', pool().replace(/ {2}servers.*/, ''), ':1:1: cache.servers: expected at least one server'],
    ['servers that are no list', pool().replace(/servers.*/, 'servers: one'), ':4:3: cache.servers: expected a list'],
    ['no listen', pool().replace(/ {2}listen.*\n/, ''), ':1:1: cache.listen:'],
    ['listen without a port', pool().replace('127.0.0.1:22121', 'localhost'), ':2:11: cache.listen: got "localhost"'],
    ['listen on port 0', pool().replace('22121', '0'), ':2:11: cache.listen:'],
    ['a file without a pool', '# nothing\n', ':1:1: no pool found'],
    ['a pool that is a value', 'cache: 1', ':1:1: cache: expected a map'],
    ['what is no YAML', 'cache: [', 'nutcracker.yml:1:'],
  ])('%s', (_, text, message) => {
    expect(refusal(text)).toContain(message);
  });

  test.each([
    ['10.0.0.1:6379', 'expected host:port:weight'],
    ['10.0.0.1:6379:1  two-spaces', 'expected host:port:weight'],
    ['10.0.0.1:6379:0', 'got weight 0'],
    ['10.0.0.1:70000:1', 'got port 70000'],
    ['/run/redis.sock:1', 'is a Unix socket'],
    ['10.0.0.1:6379:1 nämé', 'printable ASCII'],
  ])('the server %s', (server, message) => {
    expect(refusal(pool().replace('[ 10.0.0.1:6379:1 ]', `[ "${server}" ]`))).toContain(
      `nutcracker.yml:4:14: cache.servers: `,
    );
    expect(refusal(pool().replace('10.0.0.1:6379:1', `"${server}"`))).toContain(message);
  });

  test('two servers of one name, or at one address', () => {
    const servers = (list: string) => pool().replace('[ 10.0.0.1:6379:1 ]', list);
    expect(refusal(servers('[ "a:1:1 x", "b:1:1 x" ]'))).toContain(':4:25: cache.servers: two servers are called x');
    expect(refusal(servers('[ "a:1:1 x", "a:1:1 y" ]'))).toContain('two servers at a:1');
  });

  test('several pools without a choice, all named', () => {
    const two = `${pool()}\n${pool().replace('cache:', 'other:')}`;
    expect(refusal(two)).toBe('nutcracker.yml:1:1: it has 2 pools, expected one of them by --pool: cache, other');
    expect(refusal(two, { pool: 'third' })).toContain('no pool third in it, expected one of cache, other');
  });

  test('all mistakes at once', () => {
    expect(refusal(pool('  hash: x', '  distribution: y', '  z: 1')).split('\n')).toHaveLength(3);
  });
});
