import type { Arguments } from '../resp/arguments.ts';
import { error } from '../resp/encoder.ts';
import type { Client, ReplyMode } from './client.ts';
import { Verdict } from './forward.ts';
import type { Proxy } from './proxy.ts';

/**
 * Gives the client what the proxy answers by itself, and counts it.
 */
export function answer(proxy: Proxy, client: Client, reply: Buffer): Verdict {
  proxy.metrics.commands.local += 1;
  client.reply(reply);
  return Verdict.Done;
}

/** Answers with an error in Redis's words: the line without `-` and CRLF. */
export function answerError(proxy: Proxy, client: Client, line: string): Verdict {
  const reply = error(line);
  client.port.onError(reply);
  return answer(proxy, client, reply);
}

/** For a subcommand whose arguments are more than it takes (`addReplySubcommandSyntaxError` in networking.c). */
export function answerSubcommandError(proxy: Proxy, client: Client, args: Arguments): Verdict {
  const container = args.text(0).toUpperCase();
  const shown = args.text(1).slice(0, SHOWN_CHARACTERS);
  return answerError(
    proxy,
    client,
    `ERR unknown subcommand or wrong number of arguments for '${shown}'. Try ${container} HELP.`,
  );
}

/** Whether the command must wait for the replies to earlier ones; never while a transaction is being composed. */
export function mustWait(client: Client): boolean {
  return client.inFlight > 0 && client.capture === null;
}

/** Wants replies again, or not; a reply that is to be skipped is skipped by whoever carried the command out. */
export function setReplyMode(client: Client, mode: ReplyMode): void {
  client.replyMode = mode;
  client.settle();
}

export const SYNTAX_ERROR = 'ERR syntax error';
export const NOT_AN_INTEGER = 'ERR value is not an integer or out of range';
const SHOWN_CHARACTERS = 128;
