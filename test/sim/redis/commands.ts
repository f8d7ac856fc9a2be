import type { Reply } from '../../../src/supervisor/core/effect.ts';
import type { ServerConnection } from './connection.ts';
import { infoOf } from './info.ts';
import { isKeyspaceWrite, KEYSPACE_HANDLERS } from './keyspace.ts';
import type { RedisProcess } from './process.ts';

/**
 * What a simulated node does with a command: the few that Ringside's supervisors, proxies and replicas send.
 *
 * `none`: nothing is answered (now); `wait`: the connection waits for copies; `postpone`: it comes again when writes
 * are no longer held back. A command that is not known is a mistake of the simulation, and is answered as an error.
 */
export type Answer = { readonly reply: Reply } | 'none' | 'wait' | 'postpone';

type Handler = (process: RedisProcess, connection: ServerConnection, args: readonly string[]) => Answer;

export function commandOf(process: RedisProcess, connection: ServerConnection, args: readonly string[]): Answer {
  const name = (args[0] ?? '').toUpperCase();
  const handler = HANDLERS[name];
  if (handler === undefined) return error(`ERR unknown command '${name}'`);
  if (name === 'AUTH') return handler(process, connection, args);
  const refusal = refusalOf(process, connection, name, args[1] ?? '');
  if (refusal !== null) return error(refusal);
  if (process.isPaused && isWrite(name, args[1])) return 'postpone';
  if (connection.queued === null || name === 'EXEC') return handler(process, connection, args);
  connection.queued.push(args);
  return { reply: 'QUEUED' };
}

function refusalOf(process: RedisProcess, connection: ServerConnection, name: string, word: string): string | null {
  const sub = word.toUpperCase();
  const { user } = connection;
  if (user === null) return 'NOAUTH Authentication required.';
  // A user that was deleted in this round has its connection closed at the round's end.
  if (process.users.has(user) && !process.users.may(user, name, sub)) {
    return `NOPERM this user has no permissions to run the '${name.toLowerCase()}' command`;
  }
  const endsScript = (name === 'SCRIPT' || name === 'FUNCTION') && sub === 'KILL';
  if (process.busy !== null && !endsScript && name !== 'SHUTDOWN') return 'BUSY Redis is busy running a script.';
  if (process.loading && !AT_ANY_TIME.has(name)) return 'LOADING Redis is loading the dataset in memory';
  if (!process.isPrimary && isWrite(name, word)) return "READONLY You can't write against a read only replica.";
  return null;
}

const AT_ANY_TIME = new Set(['INFO', 'ACL', 'CONFIG', 'CLIENT', 'AUTH', 'SHUTDOWN', 'REPLCONF', 'COMMAND']);

function isWrite(name: string, sub = ''): boolean {
  if (isKeyspaceWrite(name, sub)) return true;
  const isOfFunctions = name === 'FUNCTION' && /^(LOAD|RESTORE|DELETE|FLUSH)$/i.test(sub);
  return name === 'RPUSH' || name === 'SPUBLISH' || name === 'FLUSHALL' || isOfFunctions;
}

const HANDLERS: Readonly<Record<string, Handler>> = {
  ...Object.fromEntries(
    Object.entries(KEYSPACE_HANDLERS).map(([name, handler]): [string, Handler] => [
      name,
      (process, connection, args) => handler(process, connection, args.slice(1)),
    ]),
  ),
  AUTH: logIn,
  ACL: acl,
  CLIENT: client,
  CONFIG: config,
  FUNCTION: functions,
  SCRIPT: kill,
  REPLICAOF: replicaOf,
  REPLCONF: replicaConfiguration,
  PSYNC: (process, connection, [, id = '?', next = '-1']) => {
    if (process.following !== null && !process.following.isUp) {
      return error("NOMASTERLINK Can't SYNC while not connected with my master");
    }
    process.serveReplica(connection, id, next);
    return 'none';
  },
  RPUSH: (process, connection, [, key = '', write = '']) => {
    const length = process.data.append(key, write);
    connection.writtenTo = process.write(['RPUSH', key, write]);
    return { reply: length };
  },
  LRANGE: (process, _connection, [, key = '']) => ({ reply: [...(process.data.lists.get(key) ?? [])] }),
  SPUBLISH: (process, connection, args) => {
    connection.writtenTo = process.write(args);
    return { reply: 0 };
  },
  WAIT: (process, connection, [, need = '0', limit = '0']) => {
    if (!process.isPrimary) return error('ERR WAIT cannot be used with replica instances.');
    const count = process.confirmedBy(connection.writtenTo);
    if (count >= Number(need)) return { reply: count };
    const untilMs = limit === '0' ? Number.POSITIVE_INFINITY : process.world.nowMs + Number(limit);
    connection.wait = { offset: connection.writtenTo, need: Number(need), untilMs };
    return 'wait';
  },
  ROLE: process => {
    const { following, history } = process;
    if (following === null) {
      const copies = process.replicas.map(({ end, replica }) => [
        end.host,
        String(replica?.port),
        String(replica?.confirmed),
      ]);
      return { reply: ['master', history.offset, copies] };
    }
    const state = following.isUp ? 'connected' : following.isSyncing ? 'sync' : 'connect';
    return { reply: ['slave', following.host, following.port, state, following.offset] };
  },
  INFO: process => ({ reply: infoOf(process) }),
  PING: () => ({ reply: 'PONG' }),
  DBSIZE: process => ({ reply: process.data.keys }),
  MODULE: () => ({ reply: [] }),
  FLUSHALL: (process, connection, args) => {
    process.flush();
    connection.writtenTo = process.write(args);
    return OK;
  },
  SAVE: process => {
    process.onSave();
    return OK;
  },
  MULTI: (_process, connection) => {
    connection.queued = [];
    return OK;
  },
  EXEC: (process, connection) => {
    const block = connection.queued ?? [];
    connection.queued = null;
    const replies = block.map(
      words => HANDLERS[(words[0] ?? '').toUpperCase()]?.(process, connection, words) ?? 'none',
    );
    return { reply: replies.map(answer => (typeof answer === 'string' ? null : answer.reply)) };
  },
  COMMAND: (_process, _connection, [, sub = '']) => {
    return { reply: sub.toUpperCase() === 'COUNT' ? 240 : ['get', 'set', 'rpush', 'lrange', 'spublish', 'wait'] };
  },
  SHUTDOWN: process => {
    process.tell('is shut down by command');
    process.world.after(0, () => process.actor.end());
    return 'none';
  },
};

function error(text: string): Answer {
  return { reply: { error: text } };
}

const OK: Answer = { reply: 'OK' };

function logIn(process: RedisProcess, connection: ServerConnection, args: readonly string[]): Answer {
  const [name, password] = args.length === 2 ? ['default', args[1] as string] : [args[1] as string, args[2] as string];
  if (!process.users.mayLogIn(name, password)) {
    return error('WRONGPASS invalid username-password pair or user is disabled.');
  }
  connection.user = name;
  return OK;
}

function acl(process: RedisProcess, connection: ServerConnection, args: readonly string[]): Answer {
  const [, sub = '', name = '', ...words] = args;
  switch (sub.toUpperCase()) {
    case 'SETUSER': {
      const trouble = process.users.set(name, words);
      return trouble === null ? OK : error(trouble);
    }
    case 'DELUSER': {
      const gone = [name, ...words].filter(user => process.users.delete(user));
      for (const one of process.connections) if (gone.includes(one.user ?? '')) one.doomed = true;
      return { reply: gone.length };
    }
    case 'USERS':
      return { reply: process.users.names() };
    case 'LIST':
      return { reply: process.users.lines() };
    case 'GETUSER':
      return { reply: process.users.describe(name) };
    case 'WHOAMI':
      return { reply: connection.user };
    default:
      return error(`ERR unknown subcommand '${sub}'`);
  }
}

function client(process: RedisProcess, connection: ServerConnection, args: readonly string[]): Answer {
  const [, sub = '', ...words] = args;
  switch (sub.toUpperCase()) {
    case 'LIST':
      return {
        reply: listed(process, words)
          .map(one => `${one.line()}\n`)
          .join(''),
      };
    case 'KILL':
      return { reply: killClients(process, connection, words) };
    case 'PAUSE':
      process.pausedUntilMs = process.world.nowMs + Number(words[0]);
      return OK;
    case 'UNPAUSE':
      process.pausedUntilMs = 0;
      return OK;
    case 'SETNAME':
      connection.name = words[0] ?? '';
      return OK;
    case 'ID':
      return { reply: connection.id };
    case 'NO-EVICT':
    case 'SETINFO':
      return OK;
    default:
      return error(`ERR unknown subcommand '${sub}'`);
  }
}

function listed(process: RedisProcess, words: readonly string[]): ServerConnection[] {
  const all = [...process.connections].filter(one => !one.end.isClosed);
  if ((words[0] ?? '').toUpperCase() !== 'TYPE') return all;
  return all.filter(one => (one.replica !== null) === /^(replica|slave)$/i.test(words[1] ?? ''));
}

function killClients(process: RedisProcess, self: ServerConnection, words: readonly string[]): number {
  const filters = new Map<string, string>();
  for (let i = 0; i + 1 < words.length; i += 2) filters.set((words[i] as string).toUpperCase(), words[i + 1] as string);
  const type = filters.get('TYPE');
  const hit = [...process.connections].filter(one => {
    if (one === self && filters.get('SKIPME')?.toLowerCase() !== 'no') return false;
    if (filters.has('USER') && one.user !== filters.get('USER')) return false;
    if (filters.has('ID') && String(one.id) !== filters.get('ID')) return false;
    return type === undefined || (one.replica !== null) === /^(replica|slave)$/i.test(type);
  });
  // At once, and the one that asks once it has its answer.
  for (const one of hit) {
    if (one === self) one.doomed = true;
    else process.drop(one);
  }
  return hit.length;
}

function config(process: RedisProcess, _connection: ServerConnection, args: readonly string[]): Answer {
  const [, sub = '', ...words] = args;
  if (sub.toUpperCase() === 'GET') {
    const asked = words.flatMap(word => (word === '*' ? [...process.config.keys()] : [word]));
    const found = asked.filter(name => process.config.has(name));
    return { reply: found.flatMap(name => [name, process.config.get(name) ?? '']) };
  }
  for (let i = 0; i + 1 < words.length; i += 2) {
    const [name = '', value = ''] = words.slice(i, i + 2);
    const isLimit = name === 'client-output-buffer-limit';
    process.config.set(name, isLimit ? mergeLimits(process.config.get(name) ?? '', value) : value);
  }
  return OK;
}

/** The limits of one class of clients leave the others' as they are. */
function mergeLimits(present: string, change: string): string {
  const classOf = (words: readonly string[]) => (words[0] === 'replica' ? 'slave' : words[0]);
  const groups = (text: string) => text.match(/\S+ \S+ \S+ \S+/g)?.map(group => group.split(' ')) ?? [];
  const changed = groups(change);
  const merged = groups(present).map(old => changed.find(one => classOf(one) === classOf(old)) ?? old);
  return merged.map(([name, ...limits]) => [classOf([name as string]), ...limits].join(' ')).join(' ');
}

function functions(process: RedisProcess, connection: ServerConnection, args: readonly string[]): Answer {
  const [, sub = '', ...words] = args;
  switch (sub.toUpperCase()) {
    case 'LOAD': {
      const name = process.data.load(words.at(-1) as string);
      connection.writtenTo = process.write(args);
      return { reply: name };
    }
    case 'LIST': {
      const at = words.findIndex(word => word.toUpperCase() === 'LIBRARYNAME');
      const libraries = [...process.data.libraries].filter(([name]) => at < 0 || name === words[at + 1]);
      return {
        reply: libraries.map(([name, code]) => {
          return ['library_name', name, 'engine', 'LUA', 'functions', [], 'library_code', code];
        }),
      };
    }
    case 'KILL':
      return kill(process);
    case 'DUMP':
      return { reply: JSON.stringify([...process.data.libraries]) };
    case 'RESTORE': {
      for (const [, code] of JSON.parse(words[0] as string) as [string, string][]) {
        process.data.load(code);
        connection.writtenTo = process.write(['FUNCTION', 'LOAD', 'REPLACE', code]);
      }
      return OK;
    }
    case 'DELETE': {
      process.data.libraries.delete(words[0] as string);
      connection.writtenTo = process.write(args);
      return OK;
    }
    case 'FLUSH': {
      process.data.libraries.clear();
      connection.writtenTo = process.write(args);
      return OK;
    }
    default:
      return error(`ERR unknown subcommand '${sub}'`);
  }
}

function kill(process: RedisProcess): Answer {
  if (process.busy === null) return error('NOTBUSY No scripts in execution right now.');
  if (process.busy === 'write')
    return error('UNKILLABLE Sorry the script already executed write commands against the dataset.');
  process.busy = null;
  return OK;
}

function replicaOf(
  process: RedisProcess,
  _connection: ServerConnection,
  [, host = '', port = '']: readonly string[],
): Answer {
  if (host.toUpperCase() === 'NO') process.promote();
  else process.follow(host, Number(port));
  return OK;
}

function replicaConfiguration(process: RedisProcess, connection: ServerConnection, args: readonly string[]): Answer {
  const [, what = '', value = ''] = args;
  if (what.toUpperCase() === 'LISTENING-PORT') {
    connection.listeningPort = Number(value);
    return OK;
  }
  if (what.toUpperCase() === 'ACK' && connection.replica !== null) {
    connection.replica.confirmed = Math.max(connection.replica.confirmed, Number(value));
    connection.replica.heardMs = process.world.nowMs;
    return 'none';
  }
  return OK;
}
