/**
 * The shape of Redis's COMMAND reply as RESP2 decodes it, and safe reading of its fields.
 *
 * The shipped snapshot has the same shape, so that both go through one door.
 */
export type CommandReply = readonly CommandReplyValue[];
export type CommandReplyValue = string | number | Uint8Array | null | readonly CommandReplyValue[];

/** A node's COMMAND reply that is not what Redis 7 sends; the table in use stays as it was. */
export class CommandReplyError extends Error {
  override readonly name = 'CommandReplyError';
}

export function textOf(value: CommandReplyValue | undefined, what: string): string {
  if (typeof value === 'string') return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1');
  throw new CommandReplyError(`COMMAND reply: ${what} should be a string`);
}

export function integerOf(value: CommandReplyValue | undefined, what: string): number {
  if (typeof value === 'number' && Number.isInteger(value)) return value;
  throw new CommandReplyError(`COMMAND reply: ${what} should be an integer`);
}

export function listOf(value: CommandReplyValue | undefined, what: string): CommandReply {
  if (Array.isArray(value)) return value as CommandReply;
  throw new CommandReplyError(`COMMAND reply: ${what} should be an array`);
}

/** The value after `key` in a list of alternating keys and values. */
export function fieldOf(list: CommandReply, key: string, what: string): CommandReplyValue | undefined {
  for (let i = 0; i + 1 < list.length; i += 2) {
    if (textOf(list[i], `a key of ${what}`) === key) return list[i + 1];
  }
  return undefined;
}
