import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Begin, Find } from '../../src/commands/key-specification.ts';
import { KeyFinder, Route, refusalOf } from '../../src/commands/routes.ts';
import { type CommandRow, Flag } from '../../src/commands/row.ts';
import { CommandTable } from '../../src/commands/table.ts';
import { argumentsOf } from './arguments-of.ts';
import { RedisUnderTest } from './redis.ts';
import { seeded } from './seed.ts';

const table = CommandTable.fromSnapshot();
const every = (of: CommandTable): CommandRow[] => of.rows.flatMap(row => [row, ...row.subcommandRows]);
const row = (name: string): CommandRow => {
  const found = table.byName(name);
  if (found === null) throw new Error(`no row for ${name}`);
  return found;
};

describe('looking up', () => {
  test('finds every command in any case, and its subcommands', () => {
    const random = seeded('look-up');
    for (const one of every(table)) {
      const words = one.name.split('|').map(word => {
        return [...word].map(letter => (random.below(2) === 0 ? letter : letter.toUpperCase())).join('');
      });
      const rest = one.subcommands === null ? ['x'] : [];
      expect(table.resolve(argumentsOf(...words, ...rest)), one.name).toBe(one);
      expect(table.byName(words.join(' '))).toBe(one);
    }
  });

  test.each(['', 'g', 'ge', 'getx', 'g\0t', 'GE\u00d4', '\u00e7et', '@ET', 'x'.repeat(5000), 'config|set', 'lolwut '])(
    'finds nothing under the name %j',
    name => {
      expect(table.find(argumentsOf(name))).toBeNull();
    },
  );

  test('finds no command that differs in one bit', () => {
    for (const one of table.rows) {
      for (let bit = 0; bit < one.nameBytes.length * 8; bit += 1) {
        const bytes = Buffer.from(one.nameBytes);
        bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
        const expected = table.byName(bytes.toString('latin1'));
        expect(table.find(argumentsOf(bytes))).toBe(bytes.includes(0x20) ? null : expected);
      }
    }
  });

  test('finds a container when it comes alone, and nothing for a subcommand it does not have', () => {
    expect(table.resolve(argumentsOf('CLIENT'))).toBe(row('client'));
    expect(table.resolve(argumentsOf('client', 'foo'))).toBeNull();
    expect(table.subcommand(row('get'), argumentsOf('get', 'id'))).toBeNull();
  });
});

describe('a row', () => {
  test.each([
    ['get', 1],
    ['set', 1],
    ['incr', 1],
    ['object|encoding', 2],
    ['memory|usage', 2],
    ['xgroup|create', 2],
    ['gets', 1],
    ['cas', 1],
    ['mget', -1],
    ['rename', -1],
    ['eval', -1],
    ['sort', -1],
    ['spublish', -1],
    ['ping', -1],
  ] as [string, number][])('of %s says where its single key is: %i', (name, at) => {
    expect(row(name).singleKeyAt).toBe(at);
  });

  test('counts as a write unless it is plainly read-only', () => {
    for (const one of every(table)) {
      if (one.has(Flag.write) || !one.has(Flag.readonly)) expect(one.isWrite, one.name).toBe(true);
    }
    for (const name of ['eval', 'evalsha', 'fcall', 'pfcount', 'set', 'xreadgroup', 'getex', 'georadius', 'sort']) {
      expect(row(name).isWrite, name).toBe(true);
    }
    for (const name of ['get', 'mget', 'touch', 'eval_ro', 'fcall_ro', 'xread', 'sort_ro', 'hscan', 'gets']) {
      expect(row(name).isWrite, name).toBe(false);
    }
  });

  test('checks the number of arguments', () => {
    expect([1, 2, 3].map(count => row('get').arityOk(count))).toEqual([false, true, false]);
    expect([2, 3, 4].map(count => row('set').arityOk(count))).toEqual([false, true, true]);
  });

  test('of MSET says that two arguments belong to each key', () => {
    expect(row('mset').step).toBe(2);
    expect(row('mget').step).toBe(1);
  });

  test('whose cursor means nothing elsewhere stays on the primary', () => {
    expect(
      every(table)
        .filter(one => one.primaryOnly)
        .map(one => one.name),
    ).toEqual(['hscan', 'scan', 'sscan', 'zscan']);
  });
});

describe('routes', () => {
  test('cover every command: it has keys or is named', () => {
    for (const one of every(table)) {
      // A container is never carried out alone: its arity refuses it.
      if (one.subcommands !== null && !one.arityOk(1)) continue;
      if (one.route === Route.Refused) expect(refusalOf(one), one.name).not.toMatch(/not known/);
      if (one.route === Route.Forward) expect(one.hasKeys, one.name).toBe(true);
    }
  });

  test('have a finder of their own wherever a key specification is unknown or incomplete', () => {
    const vague = every(table).filter(one =>
      one.keySpecifications.some(
        specification =>
          specification.begin === Begin.Unknown || specification.find === Find.Unknown || specification.incomplete,
      ),
    );
    expect(vague.map(one => one.name)).toEqual(['migrate', 'sort', 'sort_ro']);
    for (const one of vague) expect(one.finder !== KeyFinder.Specifications || one.route === Route.Refused).toBe(true);
  });

  test('name a blocking command wherever Redis flags one', () => {
    for (const one of every(table)) expect(one.route === Route.Blocking, one.name).toBe(one.has(Flag.blocking));
  });

  test.each([
    ['get', Route.Forward],
    ['mget', Route.Split],
    ['mset', Route.Split],
    ['msetnx', Route.Forward],
    ['keys', Route.Everywhere],
    ['scan', Route.Scan],
    ['hscan', Route.Forward],
    ['sort', Route.Sort],
    ['script|load', Route.Script],
    ['function|list', Route.Function],
    ['eval_ro', Route.Eval],
    ['exec', Route.Transaction],
    ['unwatch', Route.Watch],
    ['psubscribe', Route.Subscribe],
    ['publish', Route.Publish],
    ['pubsub|numsub', Route.PubSub],
    ['ssubscribe', Route.ShardSubscribe],
    ['spublish', Route.ShardPublish],
    ['client|id', Route.Connection],
    ['client|setinfo', Route.Connection],
    ['select', Route.Connection],
    ['config|get', Route.Server],
    ['wait', Route.Server],
    ['acl|whoami', Route.Server],
    ['acl|setuser', Route.Refused],
    ['acl|help', Route.AnyNode],
    ['config|set', Route.Refused],
    ['memory|usage', Route.Forward],
    ['memory|doctor', Route.Server],
    ['object|freq', Route.Forward],
    ['xinfo|help', Route.AnyNode],
    ['command|docs', Route.AnyNode],
    ['migrate', Route.Refused],
    ['move', Route.Refused],
    ['cas', Route.Own],
  ] as [string, number][])('lead %s where it belongs', (name, route) => {
    expect(row(name).route).toBe(route);
  });

  test.each([
    'shutdown',
    'replicaof',
    'slaveof',
    'failover',
    'cluster|nodes',
    'psync',
    'sync',
    'migrate',
    'module|load',
    'acl|setuser',
    'bgrewriteaof',
    'save',
    'bgsave',
    'swapdb',
    'move',
    'debug',
    'monitor',
    'config|set',
    'client|tracking',
  ])('refuse %s, naming it and saying why', name => {
    expect(row(name).route).toBe(Route.Refused);
    const shown = name.toUpperCase().replace('|', ' ');
    expect(refusalOf(row(name))).toMatch(new RegExp(`^ERR ${shown} is refused by Ringside: [\\w ,;.'-]{20,}$`));
  });
});

describe('a table from a node', () => {
  let redis: RedisUnderTest;
  let reply: unknown[];

  beforeAll(async () => {
    redis = await RedisUnderTest.start();
    reply = (await redis.call('COMMAND')) as unknown[];
  });

  afterAll(() => redis.stop());

  test('of the snapshot’s version is the snapshot', () => {
    const replaced = CommandTable.fromSnapshot();
    replaced.replaceFrom(reply);
    expect(summary(replaced)).toEqual(summary(table));
    expect(replaced.byName('get')).not.toBe(table.byName('get'));
  });

  test('routes a module’s command by its keys, and refuses one without', () => {
    const replaced = CommandTable.fromSnapshot();
    const [withKey, without] = [moduleRow('m.get', true), moduleRow('m.all', false)];
    replaced.replaceFrom([...reply, withKey, without]);
    expect(replaced.byName('M.GET')).toMatchObject({ route: Route.Forward, singleKeyAt: 1, isWrite: false });
    expect(replaced.byName('m.all')?.route).toBe(Route.Refused);
    expect(refusalOf({ name: 'm.all' })).toMatch(/^ERR M\.ALL is refused by Ringside: it names no key/);
  });

  test('gives a module’s blocking command a connection of its own', () => {
    const replaced = CommandTable.fromSnapshot();
    const blocking = moduleRow('m.wait', true);
    blocking[2] = ['write', 'blocking', 'module'];
    replaced.replaceFrom([...reply, blocking]);
    expect(replaced.byName('m.wait')).toMatchObject({ route: Route.Blocking, isWrite: true });
  });

  test('knows Ringside’s own commands, and only those that the node has besides', () => {
    const replaced = CommandTable.fromSnapshot();
    replaced.replaceFrom([moduleRow('m.get', true), moduleRow('gets', false)]);
    expect(replaced.rows.map(one => one.name)).toEqual(['m.get', 'gets', 'cas']);
    expect(replaced.byName('gets')?.route).toBe(Route.Own);
    expect(replaced.find(argumentsOf('set'))).toBeNull();
  });

  test.each([
    ['nothing', []],
    ['no list', 'OK'],
    ['a row that is a number', [1]],
    ['a row cut short', [['get', 2, ['readonly']]]],
    ['a row as Redis 6 sends it', [['get', 2, ['readonly', 'fast'], 1, 1, 1, ['@read']]]],
    ['an arity that is a text', [['get', 'x', [], 0, 0, 0, [], [], [], []]]],
    ['a specification without its parts', [['get', 2, [], 1, 1, 1, [], [], [['flags', []]], []]]],
  ] as [string, unknown][])('that answers %s is not believed, and the table stays', (_, wrong) => {
    const kept = CommandTable.fromSnapshot();
    const before = kept.byName('get');
    expect(() => kept.replaceFrom(wrong)).toThrow(/COMMAND reply/);
    expect(kept.byName('get')).toBe(before);
    expect(kept.find(argumentsOf('GET'))).toBe(before);
  });
});

function summary(of: CommandTable): unknown[] {
  const rows = every(of).sort((a, b) => (a.name < b.name ? -1 : 1));
  return rows.map(({ subcommands, subcommandRows, nameBytes, ...rest }) => ({
    ...rest,
    nameBytes: Buffer.from(nameBytes).toString(),
    children: subcommandRows.map(child => child.name).sort(),
    container: subcommands !== null,
  }));
}

function moduleRow(name: string, withKey: boolean): unknown[] {
  const specification = [
    'flags',
    ['RO', 'access'],
    'begin_search',
    ['type', 'index', 'spec', ['index', 1]],
    'find_keys',
    ['type', 'range', 'spec', ['lastkey', 0, 'keystep', 1, 'limit', 0]],
  ];
  return [name, -2, ['readonly', 'module'], withKey ? 1 : 0, 0, 0, [], [], withKey ? [specification] : [], []];
}
