/**
 * Wrong settings files with the very words that a person is told, in `mistakes.golden.txt`.
 *
 * To write the words anew after a change, and then to read them: RINGSIDE_UPDATE=1 npx vitest run test/config/mistakes.test.ts
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/mistakes.ts';

const golden = join(import.meta.dirname, 'mistakes.golden.txt');
const environment = { WORDS: 'two or three' };
let directory = '';

interface Case {
  readonly name: string;
  readonly yaml: string;
  readonly told: string;
}

const cases = readFileSync(golden, 'utf8').split(/^=== /m).slice(1).map(readCase);

function readCase(block: string): Case {
  const name = block.slice(0, block.indexOf('\n'));
  const end = block.lastIndexOf('---\n');
  return { name, yaml: block.slice(name.length + 1, end), told: block.slice(end + '---\n'.length) };
}

/** What is told of a file, one mistake a line. */
function mistakesIn(yaml: string): string {
  const file = join(directory, 'ringside.yaml');
  writeFileSync(file, yaml);
  try {
    loadConfig(file, environment);
    return '';
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.mistakes.map(line => `${line.replaceAll(`${directory}/`, '')}\n`).join('');
  }
}

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-mistakes-'));
  writeFileSync(join(directory, 'short.txt'), 'short\n');
  if (process.env['RINGSIDE_UPDATE'] !== '1') return;
  writeFileSync(golden, cases.map(({ name, yaml }) => `=== ${name}\n${yaml}---\n${mistakesIn(yaml)}`).join(''));
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('a wrong settings file', () => {
  test.each(cases)('$name', ({ yaml, told }) => {
    const lines = mistakesIn(yaml);
    expect(lines).not.toBe('');
    if (process.env['RINGSIDE_UPDATE'] !== '1') expect(lines).toBe(told);
  });

  test.each(cases)('$name: every mistake says where it is, and what would be right', ({ yaml }) => {
    for (const line of mistakesIn(yaml).trim().split('\n')) {
      expect(line).toMatch(/^ringside\.yaml:\d+:\d+: /);
      const isYamlsOwn = !/^ringside\.yaml:\d+:\d+: ([\w.[\]]+: |holds no settings)/.test(line);
      if (!isYamlsOwn) expect(line).toMatch(/expected |did you mean /);
    }
  });

  test('no mistake repeats a secret or a password', () => {
    const told = mistakesIn(
      'cluster: a\nsecret: hunter2\nnodeAccess: { password: 4711 }\nproxy: { auth: { password: 4711 } }\n',
    );
    expect(told).toContain('secret: got 7 characters');
    expect(told).not.toMatch(/hunter2|4711/);
  });

  test('a file that is not there is one mistake', () => {
    expect(() => loadConfig(join(directory, 'none.yaml'), {})).toThrow(
      /none\.yaml: cannot be read \(there is no such file\)/,
    );
  });
});
