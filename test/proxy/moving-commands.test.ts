/** What else clients do with keys that are on the move: many keys, blocks, scripts, waits, watches, pipelines. */
import { afterEach, describe, expect, test } from 'vitest';
import { ask } from './copies.ts';
import { MoveStand } from './move-stand.ts';
import { command, pipeline, until } from './stand.ts';

let stand: MoveStand;
const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));
const giver = () => stand.primary('s1').redis;
const taker = () => stand.primary('s2').redis;

afterEach(() => stand.stop());

/** Two keys with one hash tag, of the portion or not. */
function tagged(inside: boolean, nth = 0): [string, string] {
  const tag = stand.keys(nth + 1, inside, 'tag')[nth] as string;
  return [`{${tag}}a`, `{${tag}}b`];
}

describe('many keys', () => {
  test('are pulled side by side, and split where they are apart', async () => {
    stand = await MoveStand.start();
    const inside = stand.keys(30);
    const outside = stand.keys(30, false);
    const wire = await stand.connect();
    const all = inside.flatMap((key, i) => [key, outside[i] as string]);
    await pipeline(wire, `MSET ${all.map((key, i) => `${key} ${i}`).join(' ')}`);
    const before = await pipeline(wire, `MGET ${all.join(' ')}`);
    await stand.prepare();
    const held = ask(wire, `MGET ${all.join(' ')}`);
    await sleep(30);
    expect(held.reply).toBe(null);
    await stand.fence();
    await stand.startMoving();
    expect(await held.done).toBe(before[0]);
    const [first, second] = inside as [string, string];
    expect(await pipeline(wire, `DEL ${first} ${outside[0]} ${second}`, `EXISTS ${all.join(' ')}`)).toEqual([
      ':3\r\n',
      ':57\r\n',
    ]);
    expect(await pipeline(wire, `MSET ${first} x ${outside[0]} y`, `MGET ${outside[0]} ${first}`)).toEqual([
      '+OK\r\n',
      '*2\r\n$1\r\ny\r\n$1\r\nx\r\n',
    ]);
    expect([await taker().get(first), await giver().get(outside[0] as string)]).toEqual(['x', 'y']);
  });

  test('of one command that cannot be split are refused where they are apart, and served where they are not', async () => {
    stand = await MoveStand.start();
    const [one, two] = tagged(true);
    const [staying] = stand.keys(1, false) as [string];
    const wire = await stand.connect();
    await pipeline(wire, `SADD ${one} a b`, `SADD ${two} b c`, `SADD ${staying} b`);
    expect(await pipeline(wire, `SINTER ${one} ${staying}`)).toEqual(['*1\r\n$1\r\nb\r\n']);
    await stand.open();
    const [apart, together] = await pipeline(wire, `SINTER ${one} ${staying}`, `SINTER ${one} ${two}`);
    expect(apart).toMatch(/^-CROSSSLOT/);
    expect(together).toBe('*1\r\n$1\r\nb\r\n');
    expect(await pipeline(wire, `RENAME ${one} ${two}`, `EXISTS ${one}`, `SCARD ${two}`)).toEqual([
      '+OK\r\n',
      ':0\r\n',
      ':2\r\n',
    ]);
  });
});

describe('COPY', () => {
  test('into another database finds what is there, and is not undone by a later pull', async () => {
    stand = await MoveStand.start();
    const [one, two] = tagged(true);
    const [wire, other] = [await stand.connect(), await stand.connect()];
    await pipeline(other, 'SELECT 4', `SET ${two} there`);
    await pipeline(wire, `SET ${one} v`);
    await stand.open();
    expect(await pipeline(wire, `COPY ${one} ${two} DB 4`, `COPY ${one} ${two} db 4 REPLACE`)).toEqual([
      ':0\r\n',
      ':1\r\n',
    ]);
    expect(await pipeline(other, `GET ${two}`)).toEqual(['$1\r\nv\r\n']);
    expect(await stand.leftOnGiver()).toEqual([]);
  });
});

describe('SORT', () => {
  test('that looks up other keys waits until the portion has arrived; one that does not is served', async () => {
    stand = await MoveStand.start();
    const [list] = tagged(true);
    const weight = list.replace(/a$/, 'w_');
    const wire = await stand.connect();
    await pipeline(wire, `RPUSH ${list} x y`, `MSET ${weight}x 2 ${weight}y 1`);
    await stand.open();
    expect(await pipeline(wire, `SORT ${list} ALPHA DESC`)).toEqual(['*2\r\n$1\r\ny\r\n$1\r\nx\r\n']);
    const asked = ask(wire, `SORT ${list} BY ${weight}*`);
    await sleep(50);
    expect(asked.reply).toBe(null);
    await pipeline(await stand.connect(), `EXISTS ${weight}x ${weight}y`);
    await stand.closeSet();
    await stand.publishClosed();
    expect(await asked.done).toBe('*2\r\n$1\r\ny\r\n$1\r\nx\r\n');
  });
});

describe('blocks', () => {
  test('pull their keys before EXEC, in the database in which each command runs', async () => {
    stand = await MoveStand.start();
    const [one, two] = tagged(true);
    const wire = await stand.connect();
    await pipeline(wire, `SET ${one} 1`, 'SELECT 2', `SET ${two} 2`, 'SELECT 0');
    await stand.open();
    const replies = await pipeline(wire, 'MULTI', `INCR ${one}`, 'SELECT 2', `INCR ${two}`, `GETS ${two}`, 'EXEC');
    expect(replies.at(-1)).toMatch(/^\*4\r\n:2\r\n\+OK\r\n:3\r\n\*2\r\n\$1\r\n3\r\n/);
    expect(await pipeline(wire, 'SELECT 0', `GET ${one}`)).toEqual(['+OK\r\n', '$1\r\n2\r\n']);
    expect(await giver().info('keyspace')).not.toContain('keys=');
  });

  test('that were begun before go by the owners at EXEC', async () => {
    stand = await MoveStand.start();
    const [one, two] = tagged(true);
    const wire = await stand.connect();
    await pipeline(wire, `SET ${one} 1`, `SET ${two} 1`, 'MULTI', `INCR ${one}`);
    await stand.open();
    const replies = await pipeline(wire, `INCR ${two}`, 'EXEC', `MGET ${one} ${two}`);
    expect(replies).toEqual(['+QUEUED\r\n', '*2\r\n:2\r\n:2\r\n', '*2\r\n$1\r\n2\r\n$1\r\n2\r\n']);
    await pipeline(wire, 'MULTI', `INCR ${one}`);
    await stand.closeSet();
    await stand.publishClosed();
    expect(await pipeline(wire, 'EXEC')).toEqual(['*1\r\n:3\r\n']);
  });

  test('are held at EXEC while the portion is prepared, and end with -TRYAGAIN when that takes too long', async () => {
    stand = await MoveStand.start({ proxyPart: '  hold: 400ms' });
    const [one, two] = tagged(true);
    const [wire, other] = [await stand.connect(), await stand.connect()];
    await pipeline(wire, 'MULTI', `SET ${one} 1`);
    await pipeline(other, 'MULTI', `SET ${two} 1`);
    await stand.prepare();
    const late = ask(wire, 'EXEC');
    expect(await late.done).toMatch(/^-TRYAGAIN/);
    expect(await pipeline(wire, 'EXEC')).toEqual(['-ERR EXEC without MULTI\r\n']);
    const held = ask(other, 'EXEC');
    await stand.fence();
    await stand.startMoving();
    expect(await held.done).toBe('*1\r\n+OK\r\n');
    expect(await Promise.all([taker().exists(one), taker().get(two), giver().exists(one, two)])).toEqual([0, '1', 0]);
  });

  test('whose keys have come apart answer -CROSSSLOT, and nothing of them was applied', async () => {
    stand = await MoveStand.start();
    const [inside] = stand.keys(1) as [string];
    const [outside] = stand.keys(1, false) as [string];
    const wire = await stand.connect();
    await pipeline(wire, 'MULTI', `SET ${inside} 1`, `SET ${outside} 1`);
    await stand.open();
    expect((await pipeline(wire, 'EXEC'))[0]).toMatch(/^-CROSSSLOT/);
    expect(await pipeline(wire, `EXISTS ${inside} ${outside}`, 'EXEC')).toEqual([
      ':0\r\n',
      '-ERR EXEC without MULTI\r\n',
    ]);
  });

  test('become one block for each shard where clients use them only to pipeline', async () => {
    stand = await MoveStand.start({ proxyPart: '  transactions: split' });
    const [inside] = stand.keys(1) as [string];
    const [outside] = stand.keys(1, false) as [string];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${inside} 1`, `SET ${outside} 1`, 'MULTI', `INCR ${inside}`, `INCR ${outside}`);
    await stand.open();
    expect(await pipeline(wire, `GET ${inside}`, 'EXEC')).toEqual(['+QUEUED\r\n', '*3\r\n:2\r\n:2\r\n$1\r\n2\r\n']);
    expect([await taker().get(inside), await giver().get(outside)]).toEqual(['2', '2']);
  });
});

describe('scripts', () => {
  test('run where their keys are, with them: EVAL, EVALSHA, GETS and CAS', async () => {
    stand = await MoveStand.start();
    const [one, two] = tagged(true);
    const client = stand.client();
    await client.mset(one, '1', two, '2');
    const sum = "return redis.call('GET', KEYS[1]) + redis.call('GET', KEYS[2])";
    const digest = String(await client.script('LOAD', sum));
    await stand.prepare();
    const held = client.eval(sum, 2, one, two);
    await sleep(30);
    await stand.fence();
    await stand.startMoving();
    expect(await held).toBe(3);
    const [other, more] = tagged(true, 1);
    await client.mset(other, '5', more, '6');
    expect(await client.evalsha(digest, 2, other, more)).toBe(11);
    const [, version] = (await client.call('GETS', one)) as [string, string];
    expect(await client.call('CAS', one, version, '7')).toBe('OK');
    expect(await client.call('CAS', one, version, '8')).toBe(null);
    expect([await taker().get(one), await giver().exists(one, two)]).toEqual(['7', 0]);
    const [staying] = stand.keys(1, false) as [string];
    await expect(client.eval(sum, 2, one, staying)).rejects.toThrow(/^CROSSSLOT/);
  });
});

describe('a script that selects another database', () => {
  test('finds its keys there too, and what it writes is not undone by a later pull', async () => {
    stand = await MoveStand.start();
    const [one, two] = tagged(true);
    const [client, other] = [stand.client(), stand.client(0, 5)];
    await other.set(one, 'old');
    await stand.open();
    const script =
      "redis.call('SELECT', 5) local v = redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], 'new') return v";
    expect(await client.eval(script, 1, one)).toBe('old');
    expect(await stand.leftOnGiver()).toEqual([]);
    expect(await other.get(one)).toBe('new');
    // Of a function nothing is known but its name.
    const body =
      "redis.register_function('f', function(keys) redis.call('SELECT', 5) return redis.call('GET', keys[1]) end)";
    await client.call('FUNCTION', 'LOAD', `#!lua name=lib\n${body}`);
    await stand.primary('s1').redis.select(5);
    await stand.primary('s1').redis.set(two, 'there');
    expect(await client.call('FCALL', 'f', 1, two)).toBe('there');
  });
});

describe('clients that wait for data', () => {
  async function untilBlocked(shard: string, count: number): Promise<void> {
    await until(async () => (await stand.primary(shard).info('blocked_clients')) === String(count));
  }

  test('are let go, held while the portion is prepared, and wait on the taker with the time that is left', async () => {
    stand = await MoveStand.start();
    const [key, other] = stand.keys(2) as [string, string];
    const [staying] = stand.keys(1, false) as [string];
    const wires = await Promise.all([0, 1, 2, 3].map(() => stand.connect()));
    const [served, timed, stays, pusher] = wires as [
      (typeof wires)[0],
      (typeof wires)[0],
      (typeof wires)[0],
      (typeof wires)[0],
    ];
    const waiting = [ask(served, `BLPOP ${key} 0`), ask(timed, `BLPOP ${other} 0.7`), ask(stays, `BLPOP ${staying} 0`)];
    await untilBlocked('s1', 3);
    const begun = performance.now();
    await stand.prepare();
    await until(() => stand.proxy.gate.waiting === 2);
    await untilBlocked('s1', 1);
    await stand.fence();
    await stand.startMoving();
    await untilBlocked('s2', 2);
    expect(await waiting[1]?.done).toBe('*-1\r\n');
    expect(performance.now() - begun).toBeLessThan(5000);
    await pipeline(pusher, `RPUSH ${key} a`, `RPUSH ${staying} b`);
    expect(await waiting[0]?.done).toBe(`*2\r\n$${key.length}\r\n${key}\r\n$1\r\na\r\n`);
    expect(await waiting[2]?.done).toBe(`*2\r\n$${staying.length}\r\n${staying}\r\n$1\r\nb\r\n`);
    // Nothing was taken from the one or the other twice, and their connections are whole.
    expect(await pipeline(served, `LLEN ${key}`, 'PING')).toEqual([':0\r\n', '+PONG\r\n']);
  });

  test('find what was pushed before the portion moved, and go on over its close', async () => {
    stand = await MoveStand.start();
    const [key, empty] = stand.keys(2) as [string, string];
    const [wire, pusher] = [await stand.connect(), await stand.connect()];
    await pipeline(pusher, `RPUSH ${key} a`);
    await stand.open();
    expect(await pipeline(wire, `BLPOP ${key} 0`)).toEqual([`*2\r\n$${key.length}\r\n${key}\r\n$1\r\na\r\n`]);
    const waiting = ask(wire, `BLPOP ${empty} 0`);
    await untilBlocked('s2', 1);
    await stand.closeSet();
    await stand.publishClosed();
    await untilBlocked('s2', 1);
    await pipeline(pusher, `RPUSH ${empty} z`);
    expect(await waiting.done).toBe(`*2\r\n$${empty.length}\r\n${empty}\r\n$1\r\nz\r\n`);
  });

  test('whose keys have come apart hear -CROSSSLOT', async () => {
    stand = await MoveStand.start();
    const [inside] = stand.keys(1) as [string];
    const [outside] = stand.keys(1, false) as [string];
    const wire = await stand.connect();
    const waiting = ask(wire, `BLPOP ${inside} ${outside} 0`);
    await untilBlocked('s1', 1);
    await stand.open();
    expect(await waiting.done).toMatch(/^-CROSSSLOT/);
    expect(await pipeline(wire, 'PING')).toEqual(['+PONG\r\n']);
  });

  test('that leave while they are held leave nothing behind', async () => {
    stand = await MoveStand.start({ proxyPart: '  hold: 30s' });
    const [key] = stand.keys(1) as [string];
    const wire = await stand.connect();
    ask(wire, `BLPOP ${key} 0`).done.catch(() => undefined);
    await untilBlocked('s1', 1);
    await stand.prepare();
    await until(() => stand.proxy.gate.waiting === 1);
    wire.close();
    await until(() => stand.proxy.gate.waiting === 0 && stand.proxy.clients.size === 0);
    await stand.fence();
    await stand.startMoving();
    await sleep(50);
    expect([await taker().scard(stand.setName()), await stand.primary('s2').info('blocked_clients')]).toEqual([1, '0']);
  });
});

describe('watched keys', () => {
  test('have changed, for EXEC, when their portion has moved in between', async () => {
    stand = await MoveStand.start();
    const [key] = stand.keys(1) as [string];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${key} 1`, `WATCH ${key}`, 'MULTI', `INCR ${key}`);
    await stand.open();
    expect(await pipeline(wire, 'EXEC', `GET ${key}`)).toEqual(['*-1\r\n', '$1\r\n1\r\n']);
    expect(await pipeline(wire, `WATCH ${key}`, 'MULTI', `INCR ${key}`, 'EXEC')).toEqual([
      '+OK\r\n',
      '+OK\r\n',
      '+QUEUED\r\n',
      '*1\r\n:2\r\n',
    ]);
    await pipeline(wire, `WATCH ${key}`, 'MULTI', `INCR ${key}`);
    await stand.closeSet();
    await stand.publishClosed();
    expect(await pipeline(wire, 'EXEC', `GET ${key}`)).toEqual(['*-1\r\n', '$1\r\n2\r\n']);
  });

  test('are watched on the taker, where others change them', async () => {
    stand = await MoveStand.start({ proxies: 2 });
    const [key, unchanged] = stand.keys(2) as [string, string];
    const [wire, other] = [await stand.connect(), await stand.connect(1)];
    await pipeline(wire, `SET ${key} 1`, `SET ${unchanged} 1`);
    await stand.open();
    // Its arrival there is no change: it comes before it is watched.
    const exec = await pipeline(wire, `WATCH ${unchanged}`, 'MULTI', `INCR ${unchanged}`, 'EXEC');
    expect(exec.at(-1)).toBe('*1\r\n:2\r\n');
    await pipeline(wire, `WATCH ${key}`, `GET ${key}`, 'MULTI', `SET ${key} mine`);
    await pipeline(other, `SET ${key} theirs`);
    expect(await pipeline(wire, 'EXEC', `GET ${key}`)).toEqual(['*-1\r\n', '$6\r\ntheirs\r\n']);
  });
});

describe('pipelines', () => {
  test('keep their order through all phases, and every command is carried out once', async () => {
    stand = await MoveStand.start();
    const inside = stand.keys(40);
    const outside = stand.keys(40, false);
    const wires = await Promise.all(Array.from({ length: 8 }, () => stand.connect()));
    let rounds = 0;
    let isOver = false;
    const clients = wires.map(async (wire, w) => {
      for (let n = 1; !isOver || n < 20; n += 1) {
        const own = [...inside.slice(w * 5, w * 5 + 5), ...outside.slice(w * 5, w * 5 + 5)];
        const commands = own.flatMap(key => [`INCR ${key}`, `GET ${key}`, `APPEND ${key}:log x`, `STRLEN ${key}:log`]);
        const replies = await pipeline(wire, ...commands);
        const each = [`:${n}\r\n`, `$${String(n).length}\r\n${n}\r\n`, `:${n}\r\n`, `:${n}\r\n`];
        expect(replies).toEqual(own.flatMap(() => each));
        rounds += 1;
      }
    });
    const further = async (): Promise<void> => {
      const target = rounds + 16;
      await until(() => rounds >= target);
    };
    await further();
    await stand.prepare();
    await sleep(60);
    await stand.fence();
    await stand.startMoving();
    await further();
    await stand.prepare('return');
    await sleep(60);
    await stand.fence();
    await stand.startMoving();
    await further();
    isOver = true;
    await Promise.all(clients);
  });

  test('what was queued while the giver was away is not overtaken', async () => {
    stand = await MoveStand.start({ copies: 1 });
    const [key] = stand.keys(1) as [string];
    const wire = await stand.connect();
    await pipeline(wire, `SET ${key} 0`);
    // Its lanes have no connection, so that what comes is queued.
    const cable = stand.proxies[0]?.cables.get('n1');
    cable?.cut();
    await until(() => stand.proxy.waitingFor().length > 0);
    await wire.send(command(`SET ${key} first`));
    await sleep(30);
    await stand.prepare();
    await stand.fence();
    await stand.startMoving();
    await wire.send(command(`GET ${key}`));
    await sleep(50);
    expect([await giver().get(key), await taker().exists(key)]).toEqual(['0', 0]);
    cable?.heal();
    expect((await wire.take(2)).map(String)).toEqual(['+OK\r\n', '$5\r\nfirst\r\n']);
    expect([await giver().exists(key), await taker().get(key)]).toEqual([0, 'first']);
  });
});

describe('what is lost and sent again', () => {
  test('is not overtaken by what its client sent later', async () => {
    stand = await MoveStand.start();
    const [key] = stand.keys(1) as [string];
    const [wire, other] = [await stand.connect(), await stand.connect()];
    await pipeline(wire, `SET ${key} old`);
    const cable = stand.proxies[0]?.cables.get('n1');
    cable?.hush();
    await wire.send(command(`GET ${key}`));
    await sleep(30);
    await stand.open();
    // By another client's command the key is known to have arrived.
    expect(await pipeline(other, `GET ${key}`)).toEqual(['$3\r\nold\r\n']);
    await wire.send(command(`SET ${key} new`));
    await sleep(50);
    cable?.cutOpen();
    expect((await wire.take(2)).map(String)).toEqual(['$3\r\nold\r\n', '+OK\r\n']);
    expect(await pipeline(other, `GET ${key}`)).toEqual(['$3\r\nnew\r\n']);
  });
});

describe('reads from copies', () => {
  test('of a key on the move come after its pull, which every copy of the taker has', async () => {
    stand = await MoveStand.start({ copies: 1, settings: 'reads: { from: any }' });
    const keys = stand.keys(20);
    const wires = await Promise.all([0, 1, 2, 3].map(() => stand.connect()));
    await pipeline(wires[0] as (typeof wires)[0], ...keys.map(key => `SET ${key} ${key}`));
    await stand.open();
    const expected = keys.map(key => `$${key.length}\r\n${key}\r\n`);
    for (const wire of wires) {
      const replies: string[] = [];
      for (const key of keys) replies.push(...(await pipeline(wire, `GET ${key}`)));
      expect(replies).toEqual(expected);
    }
    const stats = await stand.node('n2a').redis.info('commandstats');
    expect(stats).toMatch(/cmdstat_get:calls=\d/);
  });
});
