import { z } from 'zod';
import { schema } from './schema.ts';

/**
 * The settings as JSON Schema: what editors complete and check by, and what the reference is made from.
 */
export interface JsonSchema {
  $schema?: string;
  title?: string;
  description?: string;
  type?: string;
  default?: unknown;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  pattern?: string;
  /** What a value may be, in words. */
  values?: string;
  /** Whether a running process takes it up. */
  live?: boolean;
}

/** The schema with the words of the table, for the reference. */
export function describedSchema(): JsonSchema {
  return z.toJSONSchema(schema, { io: 'input' }) as JsonSchema;
}

/** The schema for editors, in which every value may also be a reference to the environment. */
export function editorSchema(): JsonSchema {
  return { title: 'ringside.yaml', ...forEditors(describedSchema()) };
}

const REFERENCE: JsonSchema = { type: 'string', pattern: '\\$\\{.+\\}' };

function forEditors(described: JsonSchema): JsonSchema {
  const { values: _, live: __, description, default: preset, ...form } = described;
  const about = {
    ...(description === undefined ? {} : { description }),
    ...(preset === undefined ? {} : { default: preset }),
  };
  if (form.properties) {
    const inner = Object.entries(form.properties).map(([key, value]) => [key, forEditors(value)]);
    return { ...about, ...form, properties: Object.fromEntries(inner) };
  }
  if (form.items) return { ...about, ...form, items: forEditors(form.items) };
  if (form.anyOf) return { ...about, anyOf: form.anyOf.map(forEditors) };
  return { ...about, anyOf: [form, REFERENCE] };
}
