import { createHash, timingSafeEqual } from 'node:crypto';
import type { Arguments } from '../resp/arguments.ts';
import { bulk, integer, map } from '../resp/encoder.ts';
import { type Protocol, SHARED } from '../resp/protocol.ts';
import { integerArgument, shownArgument, wordArgument } from './argument-values.ts';
import type { Client } from './client.ts';
import { setClientName } from './client-command.ts';
import { Verdict } from './forward.ts';
import { answer, answerError, mustWait, SYNTAX_ERROR } from './local-answer.ts';
import type { Proxy } from './proxy.ts';

/**
 * HELLO and AUTH: who the client is, and which protocol it speaks.
 *
 * There is one user: the one of `proxy.auth`, or, without it, `default` with any password, as in a Redis that was not
 * given one. Words and order of the checks are those of `helloCommand` and `authCommand` in Redis 7.0.
 */
export function answerHello(proxy: Proxy, client: Client, args: Arguments): Verdict {
  let protocol: Protocol = client.protocol;
  if (args.count > 1) {
    const version = integerArgument(args, 1);
    if (version === null) return answerError(proxy, client, BAD_VERSION);
    if (version !== 2n && version !== 3n) return answerError(proxy, client, NOPROTO);
    protocol = version === 2n ? 2 : 3;
  }
  if (protocol !== client.protocol) {
    if (client.watch !== null) return answerError(proxy, client, HELLO_WHILE_WATCHING);
    if (mustWait(client)) return Verdict.Defer;
  }
  const problem = applyOptions(proxy, client, args);
  if (problem !== null) return answerError(proxy, client, problem);
  if (!client.authenticated) return answerError(proxy, client, HELLO_NOAUTH);
  client.protocol = protocol;
  client.settle();
  return answer(proxy, client, helloReply(proxy, client));
}

/** AUTH [username] password */
export function answerAuth(proxy: Proxy, client: Client, args: Arguments): Verdict {
  if (args.count > 3) return answerError(proxy, client, SYNTAX_ERROR);
  if (args.count === 2 && proxy.config.proxy.auth === null) return answerError(proxy, client, NO_PASSWORD_SET);
  const user = args.count === 2 ? DEFAULT_USER : args.copy(1);
  if (!logIn(proxy, client, user, args.copy(args.count - 1))) return answerError(proxy, client, WRONGPASS);
  return answer(proxy, client, SHARED.ok);
}

/** Makes the client what it was when it connected: logged in only if no login is asked for. */
export function startLoggedOut(proxy: Proxy, client: Client): void {
  const { auth } = proxy.config.proxy;
  client.user = 'default';
  client.authenticated = auth === null;
  client.port.setAuthenticated(client.authenticated);
  client.settle();
}

/** AUTH and SETNAME of HELLO, one after another; what came before a mistake stays done, as in Redis. */
function applyOptions(proxy: Proxy, client: Client, args: Arguments): string | null {
  for (let i = 2; i < args.count; i += 1) {
    const option = wordArgument(args, i);
    const more = args.count - 1 - i;
    if (option === 'auth' && more >= 2) {
      if (!logIn(proxy, client, args.copy(i + 1), args.copy(i + 2))) return WRONGPASS;
      i += 2;
    } else if (option === 'setname' && more >= 1) {
      const problem = setClientName(client, args.text(i + 1));
      if (problem !== null) return problem;
      i += 1;
    } else {
      return `ERR Syntax error in HELLO option '${shownArgument(args, i)}'`;
    }
  }
  return null;
}

/** A failed login changes nothing: a client that was logged in stays so. */
function logIn(proxy: Proxy, client: Client, user: Buffer, password: Buffer): boolean {
  const { auth } = proxy.config.proxy;
  const username = auth === null ? 'default' : auth.username;
  const rightUser = sameSecret(user, Buffer.from(username));
  const rightPassword = auth === null || sameSecret(password, Buffer.from(auth.password));
  if (!rightUser || !rightPassword) return false;
  client.user = username;
  client.authenticated = true;
  client.port.setAuthenticated(true);
  client.settle();
  return true;
}

/** Takes as long whatever is compared: digests have one length, and hide where the difference begins. */
function sameSecret(a: Buffer, b: Buffer): boolean {
  const digest = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();
  return timingSafeEqual(digest(a), digest(b));
}

function helloReply(proxy: Proxy, client: Client): Buffer {
  return map(client.protocol, [
    ...[bulk('server'), bulk('redis')],
    ...[bulk('version'), bulk(proxy.nodeVersion)],
    ...[bulk('proto'), integer(client.protocol)],
    ...[bulk('id'), integer(client.id)],
    ...[bulk('mode'), bulk('standalone')],
    ...[bulk('role'), bulk('master')],
    ...[bulk('modules'), SHARED.emptyArray],
  ]);
}

const DEFAULT_USER = Buffer.from('default');
const BAD_VERSION = 'ERR Protocol version is not an integer or out of range';
const NOPROTO = 'NOPROTO unsupported protocol version';
const WRONGPASS = 'WRONGPASS invalid username-password pair or user is disabled.';
const HELLO_NOAUTH =
  'NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time';
const NO_PASSWORD_SET =
  'ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?';
const HELLO_WHILE_WATCHING =
  'ERR HELLO with another protocol is refused by Ringside while keys are watched; send it before WATCH, or UNWATCH first';
