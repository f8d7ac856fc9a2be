import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
} from 'yaml';
import { indexOfReserved, maskReferences, substitute, unmask } from './environment.ts';
import type { SettingPath } from './mistakes.ts';

/**
 * One settings file as plain values, with the way back from each value to its line and column.
 */
export class SettingsDocument {
  /** The whole file as plain values; null where it holds nothing, or is no YAML. */
  readonly values: unknown;
  /** What YAML or the environment find wrong, in the order of the file. */
  readonly problems: readonly Problem[];
  readonly #root: Node | null;
  readonly #lines = new LineCounter();

  constructor(text: string, environment: NodeJS.ProcessEnv) {
    const document = parseDocument(maskReferences(text), { lineCounter: this.#lines, prettyErrors: false });
    this.#root = document.contents;
    const broken = this.#findBroken(text, document);
    const unset = this.#substitute(document, environment);
    this.values = broken.length > 0 ? null : (document.toJS({ maxAliasCount: -1 }) as unknown);
    this.problems = [...broken, ...unset].sort((a, b) => a.line - b.line || a.column - b.column);
  }

  /** Where the value at `path` begins; where it is missing, the nearest place around it. */
  positionOf(path: SettingPath): Position {
    return this.#find(path, false);
  }

  /** Where the key at the end of `path` stands. */
  positionOfKey(path: SettingPath): Position {
    return this.#find(path, true);
  }

  /** What leaves no values to speak of. */
  #findBroken(text: string, document: Document): Problem[] {
    const problems: Problem[] = [...document.errors, ...document.warnings].map(({ pos, message }) =>
      this.#problem(pos[0], unmask(message)),
    );
    const reserved = indexOfReserved(text);
    if (reserved >= 0) problems.push(this.#problem(reserved, RESERVED));
    visit(document, {
      Pair: (_, { key }) => {
        if (!isScalar(key)) problems.push(this.#problem(startOf(key), 'got a key that is no word, expected a setting'));
      },
      Alias: (_, alias) => {
        const message = `got *${alias.source}, expected an anchor &${alias.source} before it`;
        if (!alias.resolve(document)) problems.push(this.#problem(startOf(alias), message));
      },
    });
    return problems;
  }

  /** Puts the environment's values into the document; returns what could not be put in. */
  #substitute(document: Document, environment: NodeJS.ProcessEnv): Problem[] {
    const problems: Problem[] = [];
    visit(document, {
      Pair: (_, { key }) => {
        if (isScalar(key) && typeof key.value === 'string') key.value = unmask(key.value);
      },
      Scalar: (key, scalar, ancestors) => {
        if (key === 'key' || typeof scalar.value !== 'string') return;
        const { value, problem } = substitute(scalar.value, environment);
        scalar.value = value;
        if (problem === null) return;
        problems.push(this.#problem(startOf(scalar), problem, pathOf([...ancestors, scalar])));
      },
    });
    return problems;
  }

  #problem(offset: number | null, message: string, path: SettingPath = []): Problem {
    return { ...this.#position(offset), path, message };
  }

  #find(path: SettingPath, wantKey: boolean): Position {
    let node: unknown = this.#root;
    let place = 0;
    for (const [depth, part] of path.entries()) {
      if (isAlias(node)) node = undefined;
      if (isSeq(node) && typeof part === 'number') {
        node = node.items[part];
        place = startOf(node) ?? place;
        continue;
      }
      const pair = isMap(node) ? node.items.find(item => keyOf(item) === String(part)) : undefined;
      if (!pair) break;
      const isLast = depth === path.length - 1;
      node = pair.value;
      place = (isLast && !wantKey && isScalarOrFlow(node) ? startOf(node) : startOf(pair.key)) ?? place;
    }
    return this.#position(place);
  }

  #position(offset: number | null | undefined): Position {
    const { line, col } = this.#lines.linePos(offset ?? 0);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  }
}

/** Counted from 1. */
interface Position {
  readonly line: number;
  readonly column: number;
}

interface Problem extends Position {
  readonly path: SettingPath;
  readonly message: string;
}

const RESERVED = 'got a character of U+E000 to U+E07F, expected none of that private use area';

function startOf(node: unknown): number | null {
  return (node as { range?: [number, number, number] } | null)?.range?.[0] ?? null;
}

/** A block is better pointed at by its key than by its first line. */
function isScalarOrFlow(node: unknown): boolean {
  if (isMap(node) || isSeq(node)) return node.flow === true;
  return isScalar(node) || isAlias(node);
}

function keyOf(pair: Pair<unknown, unknown>): string {
  return isScalar(pair.key) ? String(pair.key.value) : '';
}

/** The path that a chain of nested nodes stands for. */
function pathOf(chain: readonly unknown[]): SettingPath {
  const path: (string | number)[] = [];
  for (const [index, node] of chain.entries()) {
    if (isPair(node)) path.push(keyOf(node));
    if (isSeq(node)) path.push(node.items.indexOf(chain[index + 1]));
  }
  return path;
}
