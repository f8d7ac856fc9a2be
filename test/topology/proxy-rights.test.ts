/** The rights of proxies, asked of a real node: all that the proxy lets through is let through there, and nothing more. */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Route } from '../../src/commands/routes.ts';
import { type CommandRow, Flag } from '../../src/commands/row.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { PROXY_RIGHTS, READER_RIGHTS } from '../../src/topology/proxy-rights.ts';
import { type StockRedis, startStockRedis } from '../differential/stock-redis.ts';

let node: StockRedis;
let redis: Redis;

beforeAll(async () => {
  node = await startStockRedis();
  redis = new Redis(node.port);
  await redis.call('ACL', 'SETUSER', 'proxy', 'reset', 'on', '>x', ...PROXY_RIGHTS);
  await redis.call('ACL', 'SETUSER', 'reader', 'reset', 'on', '>x', ...READER_RIGHTS);
});
afterAll(async () => {
  redis.disconnect();
  await node.stop();
});

const table = CommandTable.fromSnapshot();
const rows = table.rows.flatMap(row => (row.subcommands === null ? [row] : row.subcommandRows));

/** As few arguments as the command needs; what they are does not matter, as every key and channel is allowed. */
function wordsOf(row: CommandRow): string[] {
  const words = row.name.split('|');
  while (words.length < Math.abs(row.arity)) words.push('1');
  return words;
}

/** What the node would say to the user. */
async function tried(user: string, words: readonly string[]): Promise<string> {
  return String(await redis.call('ACL', 'DRYRUN', user, ...words).catch((error: Error) => error.message));
}

async function deniedOf(user: string, some: readonly CommandRow[]): Promise<string[]> {
  const denied: string[] = [];
  for (const row of some) if (/no permissions/.test(await tried(user, wordsOf(row)))) denied.push(row.name);
  return denied;
}

/** Answered by the proxy, without a word to a node. */
const OWN: ReadonlySet<number> = new Set([Route.Refused, Route.Connection, Route.Own]);
const ANSWERED_HERE = new Set(['slowlog|get', 'slowlog|len', 'slowlog|reset', 'role', 'time', 'info']);

describe('the user of proxies', () => {
  test('may do all that the proxy passes on', async () => {
    const passed = rows.filter(row => !OWN.has(row.route) && !ANSWERED_HERE.has(row.name));
    expect(passed.length).toBeGreaterThan(230);
    expect(await deniedOf('proxy', passed)).toEqual([]);
  });

  test('may say what the proxy says for itself', async () => {
    const own = [
      'CLIENT SETNAME ringside',
      'CLIENT ID',
      'CLIENT UNBLOCK 1 TIMEOUT',
      'SELECT 1',
      'INFO server replication persistence',
      'COMMAND',
      'SPUBLISH c m',
      'ROLE',
      'WAIT 1 1',
      'SCRIPT LOAD x',
      'SCRIPT KILL',
      'FUNCTION KILL',
      'FUNCTION DELETE l',
      'SUBSCRIBE c',
      'PSUBSCRIBE c',
      'SSUBSCRIBE c',
    ];
    for (const words of own) expect([words, await tried('proxy', words.split(' '))]).toEqual([words, 'OK']);
  });

  test.each([
    'PSYNC ? -1',
    'SYNC',
    'REPLCONF ACK 1',
    'REPLICAOF NO ONE',
    'ACL SETUSER x',
    'ACL DELUSER x',
    'CONFIG SET a b',
    'CONFIG REWRITE',
    'SHUTDOWN',
    'DEBUG SLEEP',
    'MONITOR',
    'CLIENT KILL x',
    'CLIENT LIST',
    'CLIENT PAUSE 1',
    'MIGRATE h 1 k 0 1',
    'SWAPDB 0 1',
    'SAVE',
    'BGREWRITEAOF',
    'FAILOVER',
    'MODULE LIST',
    'CLUSTER RESET',
  ])('may not: %s', async words => {
    expect(await tried('proxy', words.split(' '))).toMatch(/no permissions/);
  });
});

describe('the user of proxies on a replica', () => {
  test('may read by key, and log in', async () => {
    const routes: ReadonlySet<number> = new Set([Route.Forward, Route.Split, Route.Sort]);
    const reads = rows.filter(row => !row.isWrite && row.hasKeys && routes.has(row.route) && !row.primaryOnly);
    expect(reads.length).toBeGreaterThan(50);
    expect(await deniedOf('reader', reads)).toEqual([]);
    for (const words of ['SELECT 1', 'CLIENT ID', 'CLIENT SETNAME x', 'INFO server', 'PING']) {
      expect([words, await tried('reader', words.split(' '))]).toEqual([words, 'OK']);
    }
  });

  test('may write nothing, walk nothing, and change nothing', async () => {
    const writes = rows.filter(row => row.has(Flag.write) && row.route !== Route.Own);
    expect(await deniedOf('reader', writes)).toEqual(writes.map(row => row.name));
    for (const words of ['KEYS *', 'PSYNC ? -1', 'EVAL x 0', 'CONFIG GET x', 'FLUSHALL', 'WAIT 1 1', 'SUBSCRIBE c']) {
      expect([words, await tried('reader', words.split(' '))]).toEqual([
        words,
        expect.stringMatching(/no permissions/),
      ]);
    }
  });
});
