import { wrongArityError } from '../commands/errors.ts';
import type { CommandRow } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import { array, bulk } from '../resp/encoder.ts';
import { SHARED } from '../resp/protocol.ts';
import { integerArgument } from './argument-values.ts';
import { endBlock } from './block.ts';
import { type Client, ReplyMode } from './client.ts';
import { answerClientCommand } from './client-command.ts';
import { dropWatch } from './exclusive.ts';
import { Verdict } from './forward.ts';
import { answer, answerError, mustWait, NOT_AN_INTEGER } from './local-answer.ts';
import { answerAuth, answerHello, startLoggedOut } from './login-commands.ts';
import type { Proxy } from './proxy.ts';
import { DATABASES } from './shard.ts';

/**
 * What a client says about its own connection. No node hears of it: the proxy keeps what was set, and chooses lanes by
 * it.
 *
 * Whatever changes the lane (database, protocol) waits until nothing of the client is in flight, so that its commands
 * keep their order. When EXEC composes its reply (`client.capture`) nothing waits.
 */
export function answerConnection(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  switch (row.name) {
    case 'ping':
      return answerPing(proxy, client, row, args);
    case 'echo':
      return answer(proxy, client, bulk(args.copy(1)));
    case 'select':
      return answerSelect(proxy, client, args);
    case 'hello':
      return answerHello(proxy, client, args);
    case 'auth':
      return answerAuth(proxy, client, args);
    case 'reset':
      return answerReset(proxy, client);
    case 'quit':
      answer(proxy, client, SHARED.ok);
      client.ending = true;
      return Verdict.Done;
    default:
      return answerClientCommand(proxy, client, row, args);
  }
}

function answerPing(proxy: Proxy, client: Client, row: CommandRow, args: Arguments): Verdict {
  if (args.count > 2) return answerError(proxy, client, wrongArityError(row));
  const word = args.count === 2 ? bulk(args.copy(1)) : null;
  // A subscribed RESP2 client takes everything that it reads for a message, so the answer has the form of one.
  if (client.protocol === 2 && client.subscriptions > 0) {
    return answer(proxy, client, array([PONG, word ?? SHARED.emptyBulk]));
  }
  return answer(proxy, client, word ?? SHARED.pong);
}

function answerSelect(proxy: Proxy, client: Client, args: Arguments): Verdict {
  const index = integerArgument(args, 1);
  if (index === null) return answerError(proxy, client, NOT_AN_INTEGER);
  if (index < INT_MIN || index > INT_MAX) return answerError(proxy, client, OUT_OF_INT);
  if (index < 0n || index >= BigInt(DATABASES)) return answerError(proxy, client, 'ERR DB index is out of range');
  const database = Number(index);
  if (database !== client.database) {
    if (client.watch !== null) return answerError(proxy, client, SELECT_WHILE_WATCHING);
    if (mustWait(client)) return Verdict.Defer;
    client.database = database;
  }
  return answer(proxy, client, SHARED.ok);
}

/** As `clearClientConnectionState` in networking.c: like a new connection, but for what CLIENT NO-EVICT has set. */
function answerReset(proxy: Proxy, client: Client): Verdict {
  if (mustWait(client)) return Verdict.Defer;
  endBlock(client, proxy.pool);
  dropWatch(client);
  proxy.subscriptions.forget(client);
  client.database = 0;
  client.protocol = 2;
  client.name = '';
  if (client.replyMode === ReplyMode.Off) client.replyMode = ReplyMode.On;
  startLoggedOut(proxy, client);
  return answer(proxy, client, SHARED.reset);
}

const PONG = bulk('pong');
const INT_MIN = -(2n ** 31n);
const INT_MAX = 2n ** 31n - 1n;
const OUT_OF_INT = 'ERR value is out of range, value must between -2147483648 and 2147483647';
const SELECT_WHILE_WATCHING =
  'ERR SELECT of another database is refused by Ringside while keys are watched; send it before WATCH, or UNWATCH first';
