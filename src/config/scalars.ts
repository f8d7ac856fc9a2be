import { z } from 'zod';

/**
 * The kinds of single value that settings are made of, each with the words that tell a person what it may be.
 *
 * Every kind answers a wrong value with `got …, expected …`. The same words (`values` in the metadata) stand in the
 * reference and in the sample file.
 */

/** A length of time with its unit, read as milliseconds. */
export function duration(min: string, max: string, example: string) {
  const values = `a duration from ${min} to ${max}, such as ${example}`;
  return z
    .string(expects(values))
    .regex(DURATION, expects(values))
    .transform((text, context) => inRange(text, toMs(text), toMs(min), toMs(max), values, context))
    .meta({ values });
}

/** An amount of memory with its unit, read as bytes; a kilobyte has 1024, as in redis.conf. */
export function size(min: string, max: string, example: string) {
  const values = `a size from ${min} to ${max}, such as ${example}`;
  return z
    .string(expects(values))
    .regex(SIZE, expects(values))
    .transform((text, context) => inRange(text, toBytes(text), toBytes(min), toBytes(max), values, context))
    .meta({ values });
}

export function count(min: number, max: number) {
  const values = `a whole number from ${min} to ${max}`;
  return z.int(expects(values)).min(min, expects(values)).max(max, expects(values)).meta({ values });
}

export function amount(moreThan: number, max: number) {
  const values = `a number above ${moreThan}, at most ${max}`;
  return z.number(expects(values)).gt(moreThan, expects(values)).max(max, expects(values)).meta({ values });
}

export function flag() {
  const values = 'true or false';
  return z.boolean(expects(values)).meta({ values });
}

export function choice<const T extends readonly [string, ...string[]]>(options: T) {
  const values = options.length === 1 ? options[0] : `one of ${options.join(', ')}`;
  return z.enum(options, expects(values)).meta({ values });
}

/** Text of a certain form; `values` says which. */
export function text(form: RegExp, values: string) {
  return z.string(expects(values)).regex(form, expects(values)).meta({ values });
}

/** Text that is repeated in no message. */
export function hiddenText(minLength: number, values: string) {
  const error = (issue: { input?: unknown }) => {
    if (issue.input === undefined) return `missing, expected ${values}`;
    const got = typeof issue.input === 'string' ? `${issue.input.length} characters` : kindOf(issue.input);
    return `got ${got}, expected ${values}`;
  };
  return z.string({ error }).min(minLength, { error }).meta({ values });
}

/** A file or directory; a relative one is taken from the directory of the settings file. */
export function path(values: string) {
  return z.string(expects(values)).min(1, expects(values)).meta({ values });
}

export function hostPort() {
  const values = 'host:port, such as 127.0.0.1:6379 or [::1]:6379';
  return z
    .string(expects(values))
    .regex(HOST_PORT, expects(values))
    .transform((address, context) => {
      const parsed = splitHostPort(address);
      if (parsed) return parsed;
      context.addIssue({
        code: 'custom',
        message: `got ${show(address)}, expected ${values}, with a port from 1 to 65535`,
      });
      return z.NEVER;
    })
    .meta({ values });
}

/** The host and port of `host:port`; an IPv6 address stands in brackets. Null: not of that form. */
function splitHostPort(address: string): { host: string; port: number } | null {
  const match = HOST_PORT.exec(address);
  const port = Number(match?.[3]);
  if (!match || port < 1 || port > 65535) return null;
  return { host: (match[1] ?? match[2]) as string, port };
}

/** `host:port` as people write it: an IPv6 address in brackets. */
export function joinHostPort({ host, port }: { host: string; port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Milliseconds as people write them, such as `2500ms` or `5s`. */
export function durationText(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}

/** How a value is repeated in a message: short, on one line. */
export function show(value: unknown): string {
  if (typeof value === 'object') return kindOf(value);
  const shown = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return shown.length > 60 ? `${shown.slice(0, 57)}…"` : shown;
}

/** The error option of a schema that wants `values`. */
export function expects(values: string) {
  return {
    error: (issue: { input?: unknown }) =>
      issue.input === undefined ? `missing, expected ${values}` : `got ${show(issue.input)}, expected ${values}`,
  };
}

const DURATION = /^\d+(\.\d+)?(ms|s|m|h)$/;
const SIZE = /^\d+(b|kb|mb|gb)$/;
const HOST_PORT = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/;

const MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const BYTES: Record<string, number> = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 };

function toMs(duration: string): number {
  const unit = duration.replace(/^[\d.]+/, '');
  return Math.round(Number.parseFloat(duration) * (MS[unit] as number));
}

function toBytes(size: string): number {
  const unit = size.replace(/^\d+/, '');
  return Number.parseInt(size, 10) * (BYTES[unit] as number);
}

function inRange(
  text: string,
  value: number,
  min: number,
  max: number,
  values: string,
  context: z.RefinementCtx,
): number {
  if (value < min || value > max) context.addIssue({ code: 'custom', message: `got ${text}, expected ${values}` });
  return value;
}

function kindOf(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  return typeof value === 'object' ? 'a map' : `a ${typeof value}`;
}
