import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

/**
 * The house has floors: imports go down only, what is called pure touches neither clock nor socket, no file is forgotten.
 *
 * The table here is the one in src/ARCHITECTURE.md; whoever changes one changes the other.
 */
const SRC = resolve(import.meta.dirname, '../src');

/** Room → the rooms that it may import from, besides itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  resp: ['base'],
  commands: ['base', 'resp'],
  ring: ['base'],
  telemetry: ['base'],
  config: ['base', 'ring', 'topology'],
  topology: ['base', 'ring', 'config'],
  upstream: ['base', 'resp', 'telemetry', 'config'],
  proxy: ['base', 'resp', 'commands', 'ring', 'telemetry', 'config', 'topology', 'upstream'],
  downstream: ['base', 'resp', 'telemetry', 'config', 'topology', 'upstream', 'proxy'],
  supervisor: ['base', 'resp', 'config', 'topology', 'ring'],
  admin: ['base', 'config', 'telemetry', 'topology', 'downstream'],
  local: ['base', 'config', 'topology', 'resp', 'supervisor'],
  cli: ['base', 'config', 'telemetry', 'topology', 'ring', 'resp', 'commands', 'supervisor', 'admin', 'local'],
  main: ['cli', 'admin', 'local'],
};

/** Rooms, and parts of rooms, that only compute: no I/O, no clock, no chance. */
const PURE = ['ring', 'resp', 'commands', 'supervisor/core'];
/** What a pure room may take from Node. */
const PURE_BUILTINS = ['node:buffer'];

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts'));

function roomOf(file: string): string {
  const [first] = file.split('/') as [string];
  return first.endsWith('.ts') ? first.slice(0, -3) : first;
}

function isPure(file: string): boolean {
  return PURE.some(place => file.startsWith(`${place}/`));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(SRC, file), 'utf8');
  const found: Import[] = [];
  const statement = /^(?:import|export)\s+(type\s)?(?:[^'"]*?\sfrom\s+)?['"]([^'"]+)['"]/gm;
  for (const match of text.matchAll(statement)) {
    found.push({ from: file, to: match[2] as string, typeOnly: match[1] !== undefined });
  }
  for (const match of text.matchAll(/\bimport\(['"]([^'"]+)['"]\)/g)) {
    found.push({ from: file, to: match[1] as string, typeOnly: false });
  }
  return found;
}

const all = files.flatMap(importsOf);
const inner = all
  .filter(one => one.to.startsWith('.'))
  .map(one => ({ ...one, to: relative(SRC, resolve(SRC, dirname(one.from), one.to)) }));

describe('layers', () => {
  test('every room has its line in the table', () => {
    expect([...new Set(files.map(roomOf))].sort()).toEqual(Object.keys(MAY_IMPORT).sort());
  });

  test('imports go down only', () => {
    const wrong = inner.filter(({ from, to }) => {
      const [room, other] = [roomOf(from), roomOf(to)];
      return room !== other && !MAY_IMPORT[room]?.includes(other);
    });
    expect(wrong.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  test('no file reaches itself through what it runs', () => {
    const next = new Map<string, string[]>();
    for (const { from, to, typeOnly } of inner) {
      if (!typeOnly) next.set(from, [...(next.get(from) ?? []), to]);
    }
    expect(files.map(file => cycleFrom(file, next)).filter(cycle => cycle !== '')).toEqual([]);
  });

  test('pure rooms import nothing of the outer world', () => {
    const wrong = all.filter(({ from, to }) => {
      return isPure(from) && !to.startsWith('.') && !PURE_BUILTINS.includes(to);
    });
    expect(wrong.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  test('what decides takes from its neighbours only what is agreed on with proxies', () => {
    const wrong = inner.filter(({ from, to }) => {
      return from.startsWith('supervisor/core/') && !to.startsWith('supervisor/core/') && !to.startsWith('topology/');
    });
    expect(wrong.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  test('pure rooms ask neither clock nor chance', () => {
    const wrong = files.filter(file => {
      if (!isPure(file)) return false;
      return /\b(Date\.now|performance\.now|Math\.random|setTimeout|setInterval|process\.)/.test(
        readFileSync(join(SRC, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, ''),
      );
    });
    expect(wrong).toEqual([]);
  });

  test('no file is left that nobody imports', () => {
    const imported = new Set([...inner.map(one => one.to), ...usedByScripts()]);
    expect(files.filter(file => file !== 'main.ts' && !imported.has(file))).toEqual([]);
  });
});

/** What scripts import of the build: the generators of files that are kept in the repository. */
function usedByScripts(): string[] {
  const scripts = resolve(SRC, '../scripts');
  return readdirSync(scripts).flatMap(name => {
    const text = readFileSync(join(scripts, name), 'utf8');
    return [...text.matchAll(/import\('\.\.\/dist\/([^']+)\.js'\)/g)].map(match => `${match[1]}.ts`);
  });
}

function cycleFrom(start: string, next: ReadonlyMap<string, readonly string[]>): string {
  const seen = new Set<string>();
  const visit = (file: string, path: readonly string[]): string => {
    for (const to of next.get(file) ?? []) {
      if (to === start) return [...path, to].join(' → ');
      if (seen.has(to)) continue;
      seen.add(to);
      const found = visit(to, [...path, to]);
      if (found !== '') return found;
    }
    return '';
  };
  return visit(start, [start]);
}
