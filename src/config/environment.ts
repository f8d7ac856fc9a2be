/**
 * Puts values of the environment where a settings file says `${NAME}` or `${NAME:-default}`.
 *
 * A reference must survive YAML, to which braces mean a map: before parsing it is masked, character by character, with
 * Unicode's private use area, so that every line and column stays what the person sees. After parsing, the values (and
 * only they) are unmasked and replaced, so that what the environment holds is never read as YAML.
 */

/** What was made of one value. */
interface Substituted {
  readonly value: string;
  /** What is wrong with it; null: nothing. */
  readonly problem: string | null;
}

/** The text with every reference masked; same length, same line breaks. */
export function maskReferences(text: string): string {
  return text.replace(REFERENCE, reference => shift(reference, MASK));
}

/** Undoes `maskReferences`. */
export function unmask(text: string): string {
  return text.replace(MASKED, masked => shift(masked, -MASK));
}

/** A character that masking needs for itself, as an index into the text; -1: none. */
export function indexOfReserved(text: string): number {
  return text.search(MASKED);
}

/** Replaces the masked references in one value. `$${` stands for `${` itself. */
export function substitute(masked: string, environment: NodeJS.ProcessEnv): Substituted {
  let problem: string | null = null;
  const value = masked.replace(MASKED_REFERENCE, run => {
    const reference = unmask(run);
    if (reference.startsWith('$$')) return reference.slice(1);
    const { value, problem: found } = lookUp(reference, environment);
    problem ??= found;
    return value;
  });
  if (problem === null && masked.includes('${'))
    problem = `got \${ without its }, expected \${NAME} or \${NAME:-default}`;
  return { value, problem };
}

const MASK = 0xe000;
/** Quotes may stand only in a default, so that a reference without its end does not swallow the rest of the line. */
const REFERENCE = /\$?\$\{(?:[^}:"'\r\n]*|\w*:-[^}\r\n]*)\}/g;
const MASKED = /[\ue000-\ue07f]+/g;
/** A reference after masking: `${` is U+E024 U+E07B, `}` is U+E07D. */
const MASKED_REFERENCE = /\ue024?\ue024\ue07b[^\ue07d]*\ue07d/g;
const PARTS = /^\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?\}$/;

/** Moves the ASCII characters into the private use area (all that means something to YAML is ASCII), or back. */
function shift(text: string, by: number): string {
  let shifted = '';
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    const moves = by < 0 ? code >= MASK && code < MASK + 0x80 : code < 0x80;
    shifted += String.fromCharCode(moves ? code + by : code);
  }
  return shifted;
}

function lookUp(reference: string, environment: NodeJS.ProcessEnv): Substituted {
  const parts = PARTS.exec(reference);
  if (!parts || parts[2]?.includes('${'))
    return { value: '', problem: `got ${reference}, expected \${NAME} or \${NAME:-default}` };
  const name = parts[1] as string;
  const fallback = parts[2];
  const value = environment[name];
  // As in a shell, `:-` also stands in for a variable that is set to nothing.
  if (fallback !== undefined) return { value: value === undefined || value === '' ? fallback : value, problem: null };
  if (value !== undefined) return { value, problem: null };
  return { value: '', problem: `the environment has no ${name}, expected it to be set, or \${${name}:-default}` };
}
