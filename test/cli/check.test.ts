/** What `ringside check` says of a right settings file. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { check } from '../../src/cli/check.ts';

let directory = '';
let told = '';

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-check-'));
  told = '';
  vi.spyOn(process.stdout, 'write').mockImplementation(text => {
    told += String(text);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(directory, { recursive: true, force: true });
});

async function tell(more: string, json = false): Promise<string> {
  const file = join(directory, 'ringside.yaml');
  const nodes = ['a', 'b', 'c'].map(
    (zone, i) => `  - { id: ${zone}1, address: "127.0.0.1:${7001 + i}", zone: ${zone} }`,
  );
  writeFileSync(file, `cluster: shop\nsecret: "0123456789abcdef"\nnodes:\n${nodes.join('\n')}\n${more}`);
  expect(await check(file, { json })).toBe(0);
  return told;
}

test('the promises of writes, reads and rules are told, and where the topology is kept', async () => {
  const text = await tell(
    'writes: { minimumCopies: 2 }\nrules:\n  - { match: "lax:*", writes: { acknowledge: primary }, reads: { from: any } }\n' +
      '  - { match: "money:*", reads: { strict: true } }\n' +
      'supervisor: { store: { etcd: { endpoints: [ "http://e:2379" ] } } }\n',
  );
  expect(text).toMatch(/^writes +acknowledged by all copies, within 5s, refused below 2 copies$/m);
  expect(text).toMatch(/^reads +read from the primary$/m);
  expect(text).toMatch(
    /^rule +lax:\*: acknowledged by the primary alone, refused below 2 copies; read from any copy$/m,
  );
  expect(text).toMatch(/^rule +money:\*: acknowledged by all copies, .*; read strictly$/m);
  expect(text).toMatch(/^supervisor +127\.0\.0\.1:7700, topology in etcd at http:\/\/e:2379$/m);
  expect(text).not.toContain('warning');
});

test('what is most likely not meant is a warning, in both forms', async () => {
  const more = 'writes: { timeout: 1s }\n';
  expect(await tell(more)).toMatch(
    /^warning +writes\.timeout: 1s is less than supervisor\.detect\.hung \(1500ms\) \+ 1s/m,
  );
  told = '';
  expect(JSON.parse(await tell(more, true))).toMatchObject({
    ok: true,
    writes: { timeoutMs: 1000 },
    warnings: [expect.stringContaining('writes.timeout')],
  });
});
