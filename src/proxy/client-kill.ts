import type { Arguments } from '../resp/arguments.ts';
import { integer } from '../resp/encoder.ts';
import { SHARED } from '../resp/protocol.ts';
import { integerArgument, shownArgument, wordArgument } from './argument-values.ts';
import type { Client } from './client.ts';
import { type ClientType, clientTypeByName, typeOf } from './client-line.ts';
import { Verdict } from './forward.ts';
import { answer, answerError, SYNTAX_ERROR } from './local-answer.ts';
import type { Proxy } from './proxy.ts';

/**
 * CLIENT KILL: ends connections of this proxy's clients, by address alone (the old form) or by several conditions.
 *
 * Who kills itself hears the answer first, as in Redis.
 */
export function killClients(proxy: Proxy, client: Client, args: Arguments): Verdict {
  const isOldForm = args.count === 3;
  const filter = isOldForm ? oldForm(args) : readFilter(proxy, args);
  if (typeof filter === 'string') return answerError(proxy, client, filter);
  let killed = 0;
  let self = false;
  for (const one of [...proxy.clients.values()]) {
    if (!matches(filter, one) || (one === client && filter.skipMe)) continue;
    killed += 1;
    if (one === client) self = true;
    else one.port.end('killed');
  }
  if (!isOldForm) answer(proxy, client, integer(killed));
  else if (killed > 0) answer(proxy, client, SHARED.ok);
  else answerError(proxy, client, 'ERR No such client');
  if (self) client.ending = true;
  return Verdict.Done;
}

interface Filter {
  address: string | null;
  localAddress: string | null;
  type: ClientType | null;
  id: bigint | null;
  user: string | null;
  skipMe: boolean;
}

function matches(filter: Filter, client: Client): boolean {
  const { address, localAddress, type, id, user } = filter;
  return (
    (address === null || client.port.remoteAddress === address) &&
    (localAddress === null || client.port.localAddress === localAddress) &&
    (type === null || typeOf(client) === type) &&
    (id === null || BigInt(client.id) === id) &&
    (user === null || (client.authenticated && client.user === user))
  );
}

function oldForm(args: Arguments): Filter {
  return { ...EVERYBODY, address: args.text(2), skipMe: false };
}

/** The conditions, or Redis's words for what is wrong with them. */
function readFilter(proxy: Proxy, args: Arguments): Filter | string {
  const filter = { ...EVERYBODY };
  for (let i = 2; i < args.count; i += 2) {
    if (i + 1 >= args.count) return SYNTAX_ERROR;
    const problem = readCondition(proxy, args, i, filter);
    if (problem !== null) return problem;
  }
  return filter;
}

function readCondition(proxy: Proxy, args: Arguments, i: number, filter: Filter): string | null {
  const value = args.text(i + 1);
  switch (wordArgument(args, i)) {
    case 'id':
      filter.id = integerArgument(args, i + 1);
      return filter.id === null || filter.id < 1n ? 'ERR client-id should be greater than 0' : null;
    case 'type':
      filter.type = clientTypeByName(value);
      return filter.type === null ? `ERR Unknown client type '${shownArgument(args, i + 1)}'` : null;
    case 'addr':
      filter.address = value;
      return null;
    case 'laddr':
      filter.localAddress = value;
      return null;
    case 'user':
      filter.user = value;
      return value === 'default' || value === proxy.config.proxy.auth?.username
        ? null
        : `ERR No such user '${shownArgument(args, i + 1)}'`;
    case 'skipme': {
      const word = value.toLowerCase();
      filter.skipMe = word === 'yes';
      return word === 'yes' || word === 'no' ? null : SYNTAX_ERROR;
    }
    default:
      return SYNTAX_ERROR;
  }
}

const EVERYBODY: Filter = { address: null, localAddress: null, type: null, id: null, user: null, skipMe: true };
