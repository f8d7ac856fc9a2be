import type { z } from 'zod';
import { elementOf, shapeOf, unwrap } from './schema-walk.ts';

/**
 * Brings values as YAML and the environment give them into the form that the schema checks.
 *
 * A section that has nothing in it (`proxy:` with every line below commented out) counts as empty where all of it has
 * defaults. A number or a truth value that came as text, as everything from the environment does, is read as one.
 */
export function prepare(value: unknown, schema: z.core.$ZodType): unknown {
  const bare = unwrap(schema);
  const { def } = bare._zod;
  if (value === null && hasDefault(schema) && SECTIONS.has(def.type)) return {};
  if (typeof value === 'string') return readText(value, def.type);
  if (Array.isArray(value)) {
    const element = elementOf(bare);
    return element ? value.map(item => prepare(item, element)) : value;
  }
  if (typeof value !== 'object' || value === null) return value;
  const shape = shapeOf(bare);
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      const known = Object.hasOwn(shape, key) ? shape[key] : undefined;
      return [key, known ? prepare(inner, known) : inner];
    }),
  );
}

/** What is written as a map, in one of its forms at least. */
const SECTIONS: ReadonlySet<string> = new Set(['object', 'union', 'record']);

/** A numeral as YAML and JSON write it; nothing else counts as a number. */
const NUMERAL = /^-?\d+(\.\d+)?$/;

function readText(text: string, kind: string): unknown {
  if (kind === 'number' && NUMERAL.test(text)) return Number(text);
  if (kind === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}

function hasDefault(schema: z.core.$ZodType): boolean {
  return schema._zod.def.type === 'prefault';
}
