import { globalRegistry, type z } from 'zod';
import type { SettingPath } from './mistakes.ts';

/**
 * Finds the part of a schema that a path leads to.
 */

/** The keys that the schema knows below `path`; none where no map is expected. */
export function keysAt(root: z.core.$ZodType, path: SettingPath): string[] {
  const schema = schemaAt(root, path);
  return schema ? Object.keys(shapeOf(unwrap(schema))) : [];
}

/** Whether a running process takes up a change at this path: it, or a section around it, is marked live. */
export function isLive(root: z.core.$ZodType, path: SettingPath): boolean {
  return path.some((_, index) => isMarkedLive(schemaAt(root, path.slice(0, index + 1))));
}

/** The schema without what gives defaults, makes optional or transforms. */
export function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  const def = schema._zod.def as { innerType?: z.core.$ZodType; in?: z.core.$ZodType };
  const inner = def.innerType ?? def.in;
  return inner ? unwrap(inner) : schema;
}

/** The forms that a value may have: one, or those of a union. */
function optionsOf(bare: z.core.$ZodType): readonly z.core.$ZodType[] {
  return bare._zod.def.type === 'union' ? (bare as z.core.$ZodUnion)._zod.def.options.map(unwrap) : [bare];
}

/** The schema of a list's elements; undefined: no list is expected. */
export function elementOf(bare: z.core.$ZodType): z.core.$ZodType | undefined {
  const list = optionsOf(bare).find(option => option._zod.def.type === 'array');
  return (list as z.core.$ZodArray | undefined)?._zod.def.element;
}

/** The keys of a map with their schemas; none where no map is expected. */
export function shapeOf(bare: z.core.$ZodType): Readonly<Record<string, z.core.$ZodType>> {
  const map = optionsOf(bare).find(option => option._zod.def.type === 'object');
  return map ? (map as z.core.$ZodObject)._zod.def.shape : {};
}

function schemaAt(root: z.core.$ZodType, path: SettingPath): z.core.$ZodType | undefined {
  let schema: z.core.$ZodType | undefined = root;
  for (const part of path) {
    if (!schema) return undefined;
    const bare = unwrap(schema);
    const shape = shapeOf(bare);
    if (typeof part === 'number') schema = elementOf(bare);
    else schema = Object.hasOwn(shape, part) ? shape[part] : undefined;
  }
  return schema;
}

/** The mark may stand on any of the layers that give defaults, make optional or transform. */
function isMarkedLive(schema: z.core.$ZodType | undefined): boolean {
  if (!schema) return false;
  if (globalRegistry.get(schema)?.['live'] === true) return true;
  const { innerType } = schema._zod.def as { innerType?: z.core.$ZodType };
  return isMarkedLive(innerType);
}
