/**
 * The commands that Ringside understands beyond its nodes, in the form in which a node would describe them.
 */
import type { CommandReplyValue } from './command-reply.ts';

const KEY_AT_1 = [
  'flags',
  ['RW', 'access'],
  'begin_search',
  ['type', 'index', 'spec', ['index', 1]],
  'find_keys',
  ['type', 'range', 'spec', ['lastkey', 0, 'keystep', 1, 'limit', 0]],
] as const;

/** GETS k answers value and version; CAS k version value [EX s|PX ms|KEEPTTL] writes if the version still holds. */
export const OWN_COMMANDS: readonly CommandReplyValue[] = [
  ['gets', 2, ['readonly', 'fast'], 1, 1, 1, ['@read', '@string', '@fast'], [], [KEY_AT_1], []],
  ['cas', -4, ['write', 'denyoom', 'fast'], 1, 1, 1, ['@write', '@string', '@fast'], [], [KEY_AT_1], []],
];

/** Of Redis 7.2; clients send them at login whatever the server's version. */
export const OWN_SUBCOMMANDS: readonly { readonly container: string; readonly row: CommandReplyValue }[] = [
  { container: 'client', row: connectionSubcommand('client|setinfo', 4) },
  { container: 'client', row: connectionSubcommand('client|no-touch', 3) },
];

function connectionSubcommand(name: string, arity: number): CommandReplyValue {
  return [name, arity, ['noscript', 'loading', 'stale'], 0, 0, 0, ['@slow', '@connection'], [], [], []];
}
