import type { CommandRow } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { bulk, integer, nil, verbatim } from '../resp/encoder.ts';
import { SHARED } from '../resp/protocol.ts';
import { integerArgument, shownArgument, timeoutArgument, wordArgument } from './argument-values.ts';
import { type Client, ReplyMode } from './client.ts';
import { killClients } from './client-kill.ts';
import { clientLine, clientTypeByName, typeOf } from './client-line.ts';
import { unblockClient } from './client-unblock.ts';
import { Verdict } from './forward.ts';
import { answer, answerError, answerSubcommandError, SYNTAX_ERROR, setReplyMode } from './local-answer.ts';
import type { Proxy } from './proxy.ts';

/**
 * CLIENT and its subcommands, about the clients of this proxy process.
 *
 * Words and checks are those of `clientCommand` in Redis 7.0; SETINFO and NO-TOUCH those of 7.2.
 */
export function answerClientCommand(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  switch (row.name) {
    case 'client|id':
      return answer(proxy, client, integer(client.id));
    case 'client|info':
      client.lastCommand = row.name;
      return answer(proxy, client, verbatim(client.protocol, clientLine(proxy, client)));
    case 'client|list':
      client.lastCommand = row.name;
      return answerList(proxy, client, args);
    case 'client|getredir':
      // Nothing is redirected, since nothing is tracked.
      return answer(proxy, client, integer(-1));
    case 'client|getname':
      return answer(proxy, client, client.name === '' ? nil(client.protocol) : bulk(client.name));
    case 'client|setname':
      return answerProblem(proxy, client, setClientName(client, args.text(2)));
    case 'client|setinfo':
      return answerProblem(proxy, client, setLibrary(client, args));
    case 'client|reply':
      return answerReplyMode(proxy, client, args);
    case 'client|no-evict':
    case 'client|no-touch':
      return answerSwitch(proxy, client, row, args);
    case 'client|kill':
      return killClients(proxy, client, args);
    case 'client|unblock':
      return unblockClient(proxy, client, args);
    case 'client|pause':
      return answerPause(proxy, client, args);
    case 'client|unpause':
      proxy.unpause();
      return answer(proxy, client, SHARED.ok);
    default:
      return answerSubcommandError(proxy, client, args);
  }
}

/** Sets the name, empty for none; else Redis's words for what is wrong with it. */
export function setClientName(client: Client, name: string): string | null {
  if (!isPlainText(name)) return 'ERR Client names cannot contain spaces, newlines or special characters.';
  client.name = name;
  return null;
}

function setLibrary(client: Client, args: Arguments): string | null {
  const attribute = shownArgument(args, 2);
  const value = args.text(3);
  const which = attribute.toLowerCase();
  if (which !== 'lib-name' && which !== 'lib-ver') return `ERR Unrecognized option '${attribute}'`;
  if (!isPlainText(value)) return `ERR ${attribute} cannot contain spaces, newlines or special characters.`;
  if (which === 'lib-name') client.libName = value;
  else client.libVersion = value;
  return null;
}

/** Printable ASCII without blanks, so that a line of CLIENT LIST can be split at its blanks. */
function isPlainText(text: string): boolean {
  return /^[!-~]*$/.test(text);
}

function answerProblem(proxy: Proxy, client: Client, problem: string | null): Verdict {
  return problem === null ? answer(proxy, client, SHARED.ok) : answerError(proxy, client, problem);
}

/** CLIENT LIST [TYPE t | ID id …] */
function answerList(proxy: Proxy, client: Client, args: Arguments): Verdict {
  const option = args.count > 2 ? wordArgument(args, 2) : '';
  let listed = [...proxy.clients.values()];
  if (args.count === 4 && option === 'type') {
    const type = clientTypeByName(args.text(3));
    if (type === null) return answerError(proxy, client, `ERR Unknown client type '${shownArgument(args, 3)}'`);
    listed = listed.filter(one => typeOf(one) === type);
  } else if (args.count > 3 && option === 'id') {
    listed = [];
    for (let i = 3; i < args.count; i += 1) {
      const id = integerArgument(args, i);
      if (id === null) return answerError(proxy, client, 'ERR Invalid client ID');
      const found = proxy.clients.get(Number(id));
      if (found !== undefined) listed.push(found);
    }
  } else if (args.count !== 2) {
    return answerError(proxy, client, SYNTAX_ERROR);
  }
  const lines = listed.map(one => clientLine(proxy, one)).join('');
  return answer(proxy, client, verbatim(client.protocol, lines));
}

/** CLIENT REPLY ON|OFF|SKIP: only ON is answered. */
function answerReplyMode(proxy: Proxy, client: Client, args: Arguments): Verdict {
  switch (wordArgument(args, 2)) {
    case 'on':
      setReplyMode(client, ReplyMode.On);
      return answer(proxy, client, SHARED.ok);
    case 'off':
      setReplyMode(client, ReplyMode.Off);
      return Verdict.Done;
    case 'skip':
      if (client.replyMode !== ReplyMode.Off) setReplyMode(client, ReplyMode.SkipNext);
      return Verdict.Done;
    default:
      answerError(proxy, client, SYNTAX_ERROR);
      if (client.replyMode === ReplyMode.SkipNext) setReplyMode(client, ReplyMode.On);
      return Verdict.Done;
  }
}

function answerSwitch(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  const word = wordArgument(args, 2);
  if (word !== 'on' && word !== 'off') return answerError(proxy, client, SYNTAX_ERROR);
  if (row.name === 'client|no-evict') client.noEvict = word === 'on';
  else client.noTouch = word === 'on';
  return answer(proxy, client, SHARED.ok);
}

/** CLIENT PAUSE ms [WRITE|ALL]. A pause that stands is never made shorter or weaker by another (`pauseClients`). */
function answerPause(proxy: Proxy, client: Client, args: Arguments): Verdict {
  if (args.count > 4) return answerSubcommandError(proxy, client, args);
  const mode = args.count === 4 ? wordArgument(args, 3) : 'all';
  if (mode !== 'write' && mode !== 'all')
    return answerError(proxy, client, 'ERR CLIENT PAUSE mode must be WRITE or ALL');
  const timeMs = timeoutArgument(args, 2);
  if (typeof timeMs === 'string') return answerError(proxy, client, timeMs);
  const stands = proxy.pausedUntilMs !== 0;
  const untilMs = Math.max(performance.now() + timeMs, proxy.pausedUntilMs);
  if (timeMs > 0) proxy.pause(untilMs, mode === 'write' && (!stands || proxy.pausedWritesOnly));
  return answer(proxy, client, SHARED.ok);
}
