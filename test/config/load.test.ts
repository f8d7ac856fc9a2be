/** What right settings files mean. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to the environment are what is tested.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectionBudget } from '../../src/config/budget.ts';
import type { Config } from '../../src/config/config.ts';
import { isLoopback } from '../../src/config/cross-checks.ts';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError, nearest } from '../../src/config/mistakes.ts';
import { settingWarnings } from '../../src/config/warnings.ts';

const HEAD = 'cluster: shop\nsecret: "0123456789abcdef"\n';
const ONE_NODE = `${HEAD}nodes: [ { id: a1, address: "127.0.0.1:7001" } ]\n`;
const seed = Number(process.env['RINGSIDE_SEED'] ?? Date.now() % 2 ** 31);
let directory = '';

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-load-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function load(yaml: string, environment: NodeJS.ProcessEnv = {}): Config {
  const file = join(directory, 'ringside.yaml');
  writeFileSync(file, yaml);
  return loadConfig(file, environment);
}

function nodes(count: number, zones: number): string {
  const lines = Array.from({ length: count }, (_, index) => {
    const zone = 'abcdefgh'[index % zones];
    return `  - { id: n${index}, address: "127.0.0.1:${7001 + index}", zone: ${zone} }\n`;
  });
  return `${HEAD}nodes:\n${lines.join('')}`;
}

describe('defaults', () => {
  test('four lines make a whole cluster', () => {
    const config = load('cluster: shop\nsecret: ${S}\nnodes:\n  - { id: a1, address: "127.0.0.1:7001" }\n', {
      S: '0123456789abcdef',
    });
    expect(config.shards).toEqual([{ name: 's1', weight: 1, nodes: ['a1'] }]);
    expect(config.ring).toEqual({ kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 256 });
    expect(config.proxy.listen).toEqual([{ kind: 'tcp', host: '127.0.0.1', port: 6379 }]);
    expect(config.proxy.limits.bulkBytes).toBe(512 * 1024 * 1024);
    expect(config.proxy.limits.arguments).toBe(1024 * 1024);
    expect(config.proxy.holdMs).toBe(5000);
    expect(config.supervisor.peers).toEqual(['http://127.0.0.1:7700']);
    expect(config.nodeAccess).toEqual({ username: 'default', password: '', keepDefaultUser: false, tls: null });
  });

  test('shards without numbers take three copies each, and what is left over is spare', () => {
    const { shards } = load(nodes(11, 3));
    expect(shards.map(shard => shard.nodes.length)).toEqual([3, 3, 3]);
  });

  test('two nodes without numbers make one shard of two copies', () => {
    expect(load(nodes(2, 2)).shards).toEqual([{ name: 's1', weight: 1, nodes: ['n0', 'n1'] }]);
  });

  test('a count alone leaves each shard as many copies as there are nodes for', () => {
    const { shards } = load(`${nodes(4, 2)}shards: { count: 2 }\n`);
    expect(shards.map(shard => shard.nodes.length)).toEqual([2, 2]);
  });

  test('a section with every line commented out is as if it were not there', () => {
    const emptied = load(`${ONE_NODE}proxy:\n  # hold: 1s\n  limits:\nshards:\nring:\nsupervisor:\n`);
    expect(emptied).toEqual(load(ONE_NODE));
  });
});

describe('values', () => {
  test('durations and sizes are read in milliseconds and bytes', () => {
    const { proxy } = load(
      `${ONE_NODE}proxy: { hold: 1m, timeout: 1.5s, grace: 0ms, limits: { bulk: 1gb, inline: 2kb, unreadBytes: 4096b } }\n`,
    );
    expect([proxy.holdMs, proxy.timeoutMs, proxy.graceMs]).toEqual([60_000, 1500, 0]);
    expect([proxy.limits.bulkBytes, proxy.limits.inlineBytes, proxy.limits.unreadBytes]).toEqual([
      1024 ** 3,
      2048,
      4096,
    ]);
  });

  test('relative paths are taken from the directory of the file', () => {
    writeFileSync(join(directory, 'pem'), 'PEM');
    const { proxy, supervisor } = load(
      `${ONE_NODE}proxy: { listen: [ "unix:redis.sock" ], state: memory, tls: { cert: pem, key: ./pem } }\n` +
        'supervisor: { store: { file: /var/lib/ringside } }\n',
    );
    expect(proxy.listen).toEqual([{ kind: 'unix', path: join(directory, 'redis.sock') }]);
    expect(proxy.stateDir).toBe(join(directory, 'memory'));
    expect(proxy.tls?.cert).toBe(join(directory, 'pem'));
    expect(supervisor.store).toEqual({ kind: 'file', directory: '/var/lib/ringside' });
  });

  test('a secret file counts without the line break at its end', () => {
    writeFileSync(join(directory, 'secret'), 'a secret of 24 characters\n');
    const yaml = 'cluster: shop\nsecretFile: secret\nnodes: [ { id: a1, address: "127.0.0.1:7001" } ]\n';
    expect(load(yaml).secret).toBe('a secret of 24 characters');
  });

  test('IPv6 addresses stand in brackets', () => {
    const config = load(
      `${HEAD}nodes: [ { id: a1, address: "[fd00::1]:7001" } ]\nsupervisor: { listen: "[::1]:7700" }\n`,
    );
    expect(config.nodes[0]).toMatchObject({ host: 'fd00::1', port: 7001 });
    expect(config.supervisor.peers).toEqual(['http://[::1]:7700']);
  });

  test('a supervisor on all addresses is looked for on loopback', () => {
    const yaml = `${ONE_NODE}supervisor: { listen: 0.0.0.0:7700, auth: { dashboard: token } }\n`;
    expect(load(yaml).supervisor.peers).toEqual(['http://127.0.0.1:7700']);
  });

  test('names of commands to deny are read in any case', () => {
    expect(load(`${ONE_NODE}proxy: { deny: [ keys, FlushAll ] }\n`).proxy.deny).toEqual(['KEYS', 'FLUSHALL']);
  });

  test('admin: none switches the admin endpoint off', () => {
    expect(load(`${ONE_NODE}proxy: { admin: none }\n`).proxy.admin).toBeNull();
  });

  test('a twemproxy ring has the defaults of twemproxy', () => {
    const { ring } = load(`${ONE_NODE}ring: { like: twemproxy }\n`);
    expect(ring).toEqual({ kind: 'twemproxy', hash: 'fnv1a_64', distribution: 'ketama', hashTag: '' });
  });

  test('vnodes stand with the numbers of shards, or with the ring where shards are named', () => {
    expect(load(`${ONE_NODE}shards: { vnodes: 64 }\n`).ring).toMatchObject({ vnodes: 64 });
    const named = `${ONE_NODE}shards: [ { name: one, nodes: [a1] } ]\nring: { vnodes: 32 }\n`;
    expect(load(named).ring).toMatchObject({ vnodes: 32 });
  });

  test('an anchor may be used again, and a mistake in it is told', () => {
    const yaml = `${ONE_NODE}proxy: { hold: &long 7s, timeout: *long }\n`;
    expect(load(yaml).proxy.timeoutMs).toBe(7000);
    expect(() => load(yaml.replace('7s', '70'))).toThrow(/proxy\.timeout: got 70/);
  });

  test('listening beyond loopback is let through with a password, with TLS, or when it was asked for', () => {
    writeFileSync(join(directory, 'pem'), 'PEM');
    for (const way of ['auth: { password: secret }', 'tls: { cert: pem, key: pem }', 'allowInsecure: true']) {
      expect(load(`${ONE_NODE}proxy: { listen: [ "0.0.0.0:6379" ], ${way} }\n`).proxy.listen.length, way).toBe(1);
    }
    expect(() => load(`${ONE_NODE}proxy: { listen: [ "0.0.0.0:6379" ] }\n`)).toThrow(ConfigError);
  });

  test('loopback is 127/8, ::1 and localhost, and nothing that only looks like it', () => {
    expect(['127.0.0.1', '127.8.9.10', '::1', 'localhost'].filter(isLoopback).length).toBe(4);
    expect(['0.0.0.0', '::', '127.example.com', 'localhost.example.com', '10.127.0.0'].filter(isLoopback)).toEqual([]);
  });

  test('a directory is no certificate', () => {
    mkdirSync(join(directory, 'folder'), { recursive: true });
    expect(() => load(`${ONE_NODE}nodeAccess: { tls: { ca: folder } }\n`)).toThrow(
      /nodeAccess\.tls\.ca: .*folder is no file/,
    );
  });

  test('keys that every object has are unknown settings like others', () => {
    for (const key of ['constructor', '__proto__', 'toString']) {
      expect(() => load(`${ONE_NODE}${key}: 1\n`), key).toThrow(`${key}: unknown setting`);
      expect(() => load(`${ONE_NODE}proxy: { ${key}: 1 }\n`), key).toThrow(`proxy.${key}: unknown setting`);
    }
  });
});

describe('writes, reads and rules', () => {
  const THREE = nodes(3, 3);

  test('by default every copy acknowledges, and the primary is read', () => {
    const { writes, reads, rules, proxy } = load(ONE_NODE);
    expect(writes).toEqual({ acknowledge: 'all', timeoutMs: 5000, minimumCopies: 1 });
    expect([reads, rules, proxy.zone]).toEqual([{ from: 'primary', strict: false }, [], null]);
  });

  test('a rule leaves as it is what it does not say', () => {
    const { rules } = load(
      `${THREE}writes: { timeout: 7s, minimumCopies: 2 }\nreads: { from: any }\nrules:\n` +
        '  - { match: "a*", writes: { acknowledge: primary } }\n  - { match: "b*", reads: { strict: true } }\n',
    );
    const writes = { acknowledge: 'all', timeoutMs: 7000, minimumCopies: 2 };
    expect(rules).toEqual([
      { match: 'a*', writes: { ...writes, acknowledge: 'primary' }, reads: { from: 'any', strict: false } },
      { match: 'b*', writes, reads: { from: 'primary', strict: true } },
    ]);
  });

  test('nodes take what proxies let through, unless they are told to take more', () => {
    const longest = (yaml: string) => load(`${ONE_NODE}${yaml}`).nodeSettings['proto-max-bulk-len'];
    expect(longest('')).toBe('536870912');
    expect(longest('proxy: { limits: { bulk: 1gb } }\n')).toBe('1073741824');
    expect(longest('nodeSettings: { proto-max-bulk-len: 2gb }\n')).toBe('2gb');
    expect(load(`${ONE_NODE}nodeSettings:\n  # save: ""\n`).nodeSettings).toEqual(load(ONE_NODE).nodeSettings);
  });

  test('the topology is kept in a directory, or in etcd', () => {
    expect(load(ONE_NODE).supervisor.store).toEqual({ kind: 'file', directory: join(directory, 'state') });
    writeFileSync(join(directory, 'pem'), 'PEM');
    const etcd =
      'supervisor: { store: { etcd: { endpoints: [ "https://a:2379/" ], username: u, password: p, tls: { ca: pem } } } }\n';
    expect(load(`${ONE_NODE}${etcd}`).supervisor.store).toEqual({
      kind: 'etcd',
      endpoints: ['https://a:2379'],
      prefix: '/ringside/',
      auth: { username: 'u', password: 'p' },
      tls: { ca: join(directory, 'pem'), cert: null, key: null, serverName: null },
    });
  });
});

describe('warnings', () => {
  const THREE = nodes(3, 3);

  test('there are none for the defaults on three nodes', () => {
    expect(settingWarnings(load(THREE))).toEqual([]);
  });

  test('a write that gives up before a hung copy is found, once for each place that says so', () => {
    const yaml = `${THREE}writes: { timeout: 2s }\nrules:\n  - { match: "a*" }\n  - { match: "b*", writes: { timeout: 1s } }\n`;
    expect(settingWarnings(load(yaml))).toEqual([
      expect.stringMatching(/^writes\.timeout: 2s is less than .*expected at least 2500ms$/),
      expect.stringMatching(/^rules\[1\]\.writes\.timeout: 1s is less than/),
    ]);
    expect(settingWarnings(load(yaml.replace('2s', '2500ms').replace('1s', '3s')))).toEqual([]);
  });

  test('a shard of one copy, where every copy is to acknowledge', () => {
    expect(settingWarnings(load(ONE_NODE))).toEqual([expect.stringMatching(/a single copy in shard s1/)]);
    expect(settingWarnings(load(`${ONE_NODE}writes: { acknowledge: primary }\n`))).toEqual([]);
  });

  test('a zone in which no node is', () => {
    const yaml = `${THREE}reads: { from: zone }\nproxy: { zone: z }\n`;
    expect(settingWarnings(load(yaml))).toEqual([expect.stringMatching(/no node is in zone z \(there are a, b, c\)/)]);
    expect(settingWarnings(load(yaml.replace('zone: z', 'zone: b')))).toEqual([]);
  });
});

describe('environment', () => {
  const password = (written: string, environment: NodeJS.ProcessEnv) =>
    load(`${ONE_NODE}nodeAccess: { username: someone, password: ${written} }\n`, environment).nodeAccess.password;

  test('a reference is taken in braces, in quotes, bare, and as a part of a value', () => {
    expect(password('${PW}', { PW: 'x' })).toBe('x');
    expect(password('"${PW}"', { PW: 'x' })).toBe('x');
    expect(password("'a-${PW}-${PW}${PW}'", { PW: 'x' })).toBe('a-x-xx');
  });

  test('a default stands in for what is not set, or set to nothing', () => {
    expect(password('${PW:-other: [], #"1"}', {})).toBe('other: [], #"1"');
    expect(password('"${PW:-fall-back}"', {})).toBe('fall-back');
    expect(password('"${PW:-fall-back}"', { PW: '' })).toBe('fall-back');
    expect(password('${PW:-}', {})).toBe('');
    expect(password('${PW}', { PW: '' })).toBe('');
    expect(password('"${PW:-füß – 你好}"', {})).toBe('füß – 你好');
  });

  test('two dollar signs write a reference that is none', () => {
    expect(password('"$${PW} and $5"', {})).toBe('${PW} and $5');
  });

  test('what the environment holds is never read as YAML, nor as another reference', () => {
    const values = fc.string({ unit: 'grapheme', maxLength: 40 });
    fc.assert(
      fc.property(
        values,
        value => password('${PW}', { PW: value }) === value && password('"${PW}"', { PW: value }) === value,
      ),
      { seed, numRuns: 200 },
    );
  });

  test('numbers and truth values may come from the environment', () => {
    const { proxy } = load(`${ONE_NODE}proxy: { workers: \${W}, allowInsecure: \${I}, hold: \${H:-3s} }\n`, {
      W: '4',
      I: 'true',
    });
    expect([proxy.workers, proxy.insecure, proxy.holdMs]).toEqual([4, true, 3000]);
  });

  test('a number in the environment stays text where text is wanted', () => {
    expect(password('${PW}', { PW: '0123' })).toBe('0123');
  });
});

describe('any text at all', () => {
  test('is either settings or told mistakes, and never another error', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        'cluster',
        'proxy',
        'nodes',
        'shards',
        ': ',
        '\n',
        '  ',
        '- ',
        '[',
        ']',
        '{',
        '}',
        '${',
        '"',
        '*a',
        '&a',
        '#',
        '!',
        '? ',
        'null',
        '5s',
        '$${X}',
        '__proto__',
      ),
      fc.string({ maxLength: 5 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), pieces => {
        try {
          load(pieces.join(''), {});
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
          return error.mistakes.length > 0 && error.mistakes.every(line => /ringside\.yaml:\d+:\d+: \S/.test(line));
        }
        return true;
      }),
      { seed, numRuns: 500 },
    );
  });

  test(`was drawn from the seed ${seed} (set RINGSIDE_SEED to draw it again)`, () => {
    expect(Number.isInteger(seed)).toBe(true);
  });
});

describe('connection budget', () => {
  test('counts all connections that every worker may have', () => {
    const config = load(`${ONE_NODE}proxy: { workers: 2, limits: { exclusive: 50 } }\n`);
    expect(connectionBudget(config, 1032)).toMatchObject({ perProxy: 208, proxies: 4 });
    expect(connectionBudget(config, 1032).text).toContain(
      'at most 208 (workers 2 × (32 lanes + 4 barriers + 50 exclusive + 16 idle + 2 ',
    );
    expect(connectionBudget(config, 1032).warning).toContain('proxy.limits.exclusive (50)');
  });

  test('goes by the maxclients that the nodes are given', () => {
    expect(connectionBudget(load(`${ONE_NODE}nodeSettings: { maxclients: 1164 }\n`)).proxies).toBe(2);
  });

  test('warns of nothing at the defaults', () => {
    expect(connectionBudget(load(ONE_NODE))).toMatchObject({ perProxy: 566, proxies: 17, warning: null });
  });
});

test('a word is proposed only where it is near', () => {
  expect(nearest('lsiten', ['listen', 'limits'])).toBe('listen');
  expect(nearest('HOLD', ['hold', 'auth'])).toBe('hold');
  expect(nearest('writes', ['nodes', 'ring', 'proxy'])).toBeNull();
});
