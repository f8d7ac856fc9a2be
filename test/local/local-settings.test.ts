import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import * as settings from '../../src/local/local-settings.ts';
import { rolesOf } from '../../src/local/roles.ts';

let directory = '';

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'ringside-settings-'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function directorySettings(where: string, flags: settings.LocalFlags, closed = false): Config {
  return settings.directorySettings(where, flags, closed);
}

const text = () => readFileSync(path.join(directory, 'ringside.yaml'), 'utf8');

test('a new directory gets three shards of three copies on the usual ports', () => {
  const config = directorySettings(directory, {});
  expect(config.shards.map(shard => shard.nodes)).toEqual([
    ['n1', 'n2', 'n3'],
    ['n4', 'n5', 'n6'],
    ['n7', 'n8', 'n9'],
  ]);
  expect(config.nodes.map(node => node.port)).toEqual([7001, 7002, 7003, 7004, 7005, 7006, 7007, 7008, 7009]);
  expect(config.proxy.listen).toEqual([{ kind: 'tcp', host: '127.0.0.1', port: 6379 }]);
  expect(config.proxy.admin?.port).toBe(9121);
  expect(config.supervisor.listen.port).toBe(7700);
  expect(config.supervisor.store).toEqual({ kind: 'file', directory: path.join(directory, 'state') });
  expect(config.nodeAccess.keepDefaultUser).toBe(true);
});

test('the secret is random, and only the owner can read it', () => {
  const first = directorySettings(directory, {}).secret;
  expect(first).toMatch(/^[0-9a-f]{64}$/);
  expect(statSync(path.join(directory, 'ringside.yaml')).mode & 0o777).toBe(0o600);
  rmSync(path.join(directory, 'ringside.yaml'));
  expect(directorySettings(directory, {}).secret).not.toBe(first);
});

test('spares are nodes in no shard, after those of the shards', () => {
  const config = directorySettings(directory, { shards: 2, copies: 2, spares: 2, nodePort: 20_500 });
  expect(config.shards.flatMap(shard => shard.nodes)).toEqual(['n1', 'n2', 'n3', 'n4']);
  expect(config.nodes.slice(4).map(node => [node.id, node.port])).toEqual([
    ['n5', 20_504],
    ['n6', 20_505],
  ]);
});

test('copies of a shard are in different zones', () => {
  const config = directorySettings(directory, { shards: 2, copies: 3 });
  const zoneOf = new Map(config.nodes.map(node => [node.id, node.zone]));
  for (const shard of config.shards) expect(new Set(shard.nodes.map(id => zoneOf.get(id))).size).toBe(3);
});

test('a later start without flags takes what the directory says', () => {
  directorySettings(directory, { shards: 1, copies: 2, port: 20_600 });
  const before = text();
  const config = directorySettings(directory, {});
  expect(config.shards).toHaveLength(1);
  expect(config.proxy.listen[0]).toMatchObject({ port: 20_600 });
  expect(text()).toBe(before);
});

test('a port flag changes that port in the file and leaves comments and own settings as they are', () => {
  directorySettings(directory, {});
  const file = path.join(directory, 'ringside.yaml');
  writeFileSync(file, text().replace('  admin:', '  deny: [ KEYS ]   # too slow here\n  admin:'));
  const secret = directorySettings(directory, {}).secret;
  const config = directorySettings(directory, { port: 20_700, adminPort: 20_701, supervisorPort: 20_702 });
  expect(config.proxy.listen[0]).toMatchObject({ port: 20_700 });
  expect(config.proxy.admin?.port).toBe(20_701);
  expect(config.supervisor.listen.port).toBe(20_702);
  expect(config.proxy.deny).toEqual(['KEYS']);
  expect(config.secret).toBe(secret);
  expect(text()).toContain('# too slow here');
  expect(text()).toContain('# The first node of a shard is proposed as its primary.');
});

test.each([
  [{ shards: 2 }, '--shards 3, not 2'],
  [{ copies: 1 }, '--copies 3, not 1'],
  [{ spares: 1 }, '--spares 0, not 1'],
  [{ nodePort: 20_000 }, '--node-port 7001, not 20000'],
  [{ supervisors: 3 }, '--supervisors 1, not 3'],
])('a flag %o that the directory was not made with is refused', (flags, said) => {
  directorySettings(directory, {});
  mkdirSync(path.join(directory, 'nodes'));
  const before = text();
  expect(() => directorySettings(directory, flags)).toThrow(said);
  expect(text()).toBe(before);
});

test('a directory in which no node was ever started takes another shape, and keeps the ports it was given', () => {
  directorySettings(directory, { port: 20_800 });
  const config = directorySettings(directory, { shards: 1, copies: 2, nodePort: 20_801 });
  expect(config.shards.map(shard => shard.nodes)).toEqual([['n1', 'n2']]);
  expect(config.nodes.map(node => node.port)).toEqual([20_801, 20_802]);
  expect(config.proxy.listen[0]).toMatchObject({ port: 20_800 });
});

test('flags that the directory was made with may be given again', () => {
  const flags = { shards: 2, copies: 1, spares: 1, nodePort: 20_010 };
  directorySettings(directory, flags);
  expect(directorySettings(directory, flags).shards).toHaveLength(2);
});

test.each([
  [{ shards: 0 }, '--shards 0: expected a whole number from 1 to 1024'],
  [{ copies: 17 }, '--copies 17: expected a whole number from 1 to 16'],
  [{ supervisors: 7 }, '--supervisors 7: expected a whole number from 1 to 5'],
  [{ supervisors: 2 }, '--supervisors 2: expected 1, 3 or 5'],
  [{ port: 65_536 }, '--port 65536: expected a whole number from 1 to 65535'],
  [{ spares: 0.5 }, '--spares 0.5: expected a whole number from 0 to 1024'],
  [{ nodePort: 65_530 }, "the nodes' ports would end at 65538"],
])('flags %o out of range are refused and write nothing', (flags, said) => {
  expect(() => directorySettings(directory, flags)).toThrow(said);
  expect(() => text()).toThrow('ENOENT');
});

test("a flag beside the person's own file is refused by name", () => {
  expect(() => settings.givenSettings('own.yaml', { copies: 2 }, false)).toThrow(
    '--copies does not go with --config: own.yaml says it',
  );
  expect(() => settings.givenSettings('own.yaml', {}, true)).toThrow('--closed does not go with --config');
});

test('three supervisors share the settings and have an etcd of three members', () => {
  const config = directorySettings(directory, { supervisors: 3, supervisorPort: 20_900, etcdPort: 20_910 });
  expect(config.supervisor.listen).toEqual({ host: '127.0.0.1', port: 20_900 });
  const urls = ['http://127.0.0.1:20900', 'http://127.0.0.1:20901', 'http://127.0.0.1:20902'];
  expect(config.supervisor.peers).toEqual(urls);
  expect(config.supervisor.store).toMatchObject({
    kind: 'etcd',
    endpoints: ['http://127.0.0.1:20910', 'http://127.0.0.1:20912', 'http://127.0.0.1:20914'],
  });
  const roles = rolesOf(config, directory);
  expect(roles.supervisors.map(({ port }) => port)).toEqual([20_900, 20_901, 20_902]);
  expect(roles.etcd.map(({ id, port, peerPort }) => [id, port, peerPort])).toEqual([
    ['e1', 20_910, 20_911],
    ['e2', 20_912, 20_913],
    ['e3', 20_914, 20_915],
  ]);
  const again = directorySettings(directory, { supervisors: 3, supervisorPort: 20_950 });
  expect(rolesOf(again, directory).supervisors.map(({ port }) => port)).toEqual([20_950, 20_951, 20_952]);
  mkdirSync(path.join(directory, 'nodes'));
  expect(() => directorySettings(directory, { supervisors: 1 })).toThrow('--supervisors 3, not 1');
  expect(() => directorySettings(directory, { etcdPort: 20_800 })).toThrow('--etcd-port 20910, not 20800');
});

test('one supervisor needs no etcd', () => {
  const config = directorySettings(directory, { supervisorPort: 20_900 });
  expect(rolesOf(config, directory)).toEqual({ supervisors: [{ host: '127.0.0.1', port: 20_900 }], etcd: [] });
});

test("a person's own file stands for one supervisor, and its etcd is the person's", () => {
  const config = directorySettings(directory, { supervisors: 3 });
  expect(rolesOf(config, path.join(directory, 'elsewhere'))).toEqual({
    supervisors: [config.supervisor.listen],
    etcd: [],
  });
});

test('an etcd elsewhere is none that could be started here', () => {
  directorySettings(directory, { supervisors: 3 });
  const file = path.join(directory, 'ringside.yaml');
  writeFileSync(file, text().replace('http://127.0.0.1:7710', 'http://10.0.0.7:7710'));
  expect(() => rolesOf(directorySettings(directory, {}), directory)).toThrow(
    '`up` starts etcd on 127.0.0.1, not on 10.0.0.7',
  );
});

test('a closed cluster keeps no default user, from the first start or from a later one on', () => {
  expect(directorySettings(directory, {}, true).nodeAccess.keepDefaultUser).toBe(false);
  expect(directorySettings(directory, {}).nodeAccess.keepDefaultUser).toBe(false);
  rmSync(path.join(directory, 'ringside.yaml'));
  expect(directorySettings(directory, {}).nodeAccess.keepDefaultUser).toBe(true);
  expect(directorySettings(directory, {}, true).nodeAccess.keepDefaultUser).toBe(false);
  expect(text()).toContain("# Whether the nodes' own default user stays on");
});
