/**
 * What is made from the schema and kept in the repository says what the schema says.
 *
 * To write the files anew after a change: RINGSIDE_UPDATE=1 npx vitest run test/config/generated.test.ts
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { editorSchema } from '../../src/config/json-schema.ts';
import { loadConfig, loadSettings } from '../../src/config/load.ts';
import { settingsReference } from '../../src/config/reference.ts';
import { sampleSettings } from '../../src/config/sample.ts';

const root = join(import.meta.dirname, '../../config');
let directory = '';
let environment: NodeJS.ProcessEnv = {};

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-generated-'));
  for (const name of ['ca.pem', 'server.pem', 'server.key', 'proxy.pem', 'proxy.key']) {
    writeFileSync(join(directory, name), 'PEM');
  }
  writeFileSync(join(directory, 'ringside'), '0123456789abcdef\n');
  environment = {
    RINGSIDE_SECRET: '0123456789abcdef',
    REDIS_PASSWORD: 'from the environment',
    APP_PASSWORD: 'open sesame',
    ETCD_PASSWORD: 'another',
    SECRETS: directory,
    TLS: directory,
  };
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

function kept(name: string, generated: string): string {
  const file = join(root, name);
  if (process.env['RINGSIDE_UPDATE'] === '1') writeFileSync(file, generated);
  return readFileSync(file, 'utf8');
}

describe('generated settings files', () => {
  test('the sample file in the repository is the generated one', () => {
    expect(kept('ringside.yaml', sampleSettings())).toBe(sampleSettings());
  });

  test('the JSON Schema in the repository is the generated one', () => {
    const generated = `${JSON.stringify(editorSchema(), null, 2)}\n`;
    expect(kept('ringside.schema.json', generated)).toBe(generated);
  });

  test('the sample file means the same as a file without any optional setting', () => {
    const short = join(directory, 'short.yaml');
    const nodes = parse(sampleSettings()).nodes as { id: string; address: string; zone: string }[];
    writeFileSync(short, `cluster: shop\nsecret: \${RINGSIDE_SECRET}\nnodes: ${JSON.stringify(nodes)}\n`);
    const whole = join(directory, 'whole.yaml');
    writeFileSync(whole, sampleSettings());
    expect(loadSettings(whole, environment).settings).toEqual(loadSettings(short, environment).settings);
  });

  test('every setting that the sample file comments out can be taken in by taking away its sign', () => {
    const off = sampleSettings()
      .split('\n')
      .filter(line => /^ *#(\S| {2})/.test(line));
    expect(off.length).toBeGreaterThan(20);
    for (const section of ['nodeAccess', 'proxy', 'shards']) {
      const file = join(directory, `${section}.yaml`);
      writeFileSync(file, uncomment(section).replaceAll(/tls\/(\w+\.\w+)/g, '$1'));
      expect(() => loadConfig(file, environment), section).not.toThrow();
    }
  });

  test('the reference names every setting once, with its default and description', () => {
    const rows = settingsReference().split('\n').slice(2, -1);
    const names = rows.map(row => row.split('|')[1]?.trim());
    expect(new Set(names).size).toBe(names.length);
    expect(names).toEqual(
      expect.arrayContaining(['`cluster`', '`nodes[].zone`', '`shards.count`', '`shards[].weight`']),
    );
    expect(rows).toContainEqual(expect.stringMatching(/^\| `proxy.limits.clients` \| `10000` \| .* \| yes \| .{20}/));
    for (const row of rows) expect(row.split(/(?<!\\)\|/)[5]?.trim(), row).toMatch(/^[A-Z].*\.$/);
  });
});

describe('example files', () => {
  const examples = readdirSync(join(root, 'examples'));

  test.each(examples)('%s has no mistake', name => {
    expect(loadConfig(join(root, 'examples', name), environment).nodes.length).toBeGreaterThan(0);
  });

  test('three-zones.yaml gives each zone one primary and no shard two nodes of one zone', () => {
    const { shards, nodes } = loadConfig(join(root, 'examples/three-zones.yaml'), environment);
    const zoneOf = (id: string) => nodes.find(node => node.id === id)?.zone;
    expect(shards.map(shard => zoneOf(shard.nodes[0] as string)).sort()).toEqual(['a', 'b', 'c']);
    for (const shard of shards) expect(shard.nodes.map(zoneOf).sort()).toEqual(['a', 'b', 'c']);
  });
});

/** The sample file with one section's settings taken in, of which named shards exclude placed ones. */
function uncomment(section: string): string {
  const lines = sampleSettings().split('\n');
  const from = lines.indexOf(`${section}:`);
  const length = lines.slice(from).findIndex(line => line === '' || line.startsWith('# Or by name'));
  return lines
    .map((line, index) => (index > from && index < from + length ? line.replace(/^( *)#(?=\S| {2})/, '$1') : line))
    .join('\n');
}
