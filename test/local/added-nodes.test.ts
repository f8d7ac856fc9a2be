import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { addLocalNodes } from '../../src/local/added-nodes.ts';
import { directorySettings } from '../../src/local/local-settings.ts';
import { freePorts } from '../support/ports.ts';

/** Further nodes in the settings of a local cluster. */
let directory = '';
let file = '';

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'ringside-added-'));
  file = path.join(directory, 'ringside.yaml');
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

const text = () => readFileSync(file, 'utf8');

test('they follow on the last one, in the zones that have fewest, and leave all else as it is', async () => {
  const nodePort = await freePorts(9);
  directorySettings(directory, { shards: 2, copies: 3, nodePort }, false);
  writeFileSync(file, text().replace('nodes:\n', '# these are mine\nnodes:\n'));
  const before = text();
  const nodes = await addLocalNodes(file, 3);
  expect(nodes.map(({ id, zone }) => [id, zone])).toEqual([
    ['n7', 'z1'],
    ['n8', 'z2'],
    ['n9', 'z3'],
  ]);
  const config = loadConfig(file);
  expect(config.nodes.slice(6)).toEqual(nodes);
  for (const line of before.split('\n')) expect(text().replaceAll(/\s+/g, '')).toContain(line.replaceAll(/\s+/g, ''));
  expect(text()).toContain(`  - { id: n7, address: 127.0.0.1:${nodePort + 6}, zone: z1 }`);
});

test('a port that is taken, or that something of the settings is to have, is passed over', async () => {
  const nodePort = await freePorts(5);
  directorySettings(directory, { shards: 1, copies: 1, nodePort, adminPort: nodePort + 2 }, false);
  const taken = createServer();
  await new Promise<void>(resolve => void taken.listen(nodePort + 1, '127.0.0.1', resolve));
  try {
    const [node] = await addLocalNodes(file, 1);
    expect(node).toMatchObject({ id: 'n2' });
    // Beside the port of another listener is etcd's other one, where there is an etcd.
    expect(node?.port).toBe(nodePort + 4);
  } finally {
    taken.close();
  }
});

test('nodes of other machines are for a person to start', async () => {
  writeFileSync(file, 'cluster: c\nsecret: 0123456789abcdef\nnodes: [ { id: a, address: 10.0.0.1:1 } ]\n');
  await expect(addLocalNodes(file, 1)).rejects.toThrow(/node a is on 10\.0\.0\.1: .* name it under `nodes`/);
  writeFileSync(file, 'cluster: c\nsecret: 0123456789abcdef\nnodes: [ { id: a, address: 127.0.0.1:1 } ]\n');
  await expect(addLocalNodes(file, 0)).rejects.toThrow('expected a number from 1 to 64');
});
