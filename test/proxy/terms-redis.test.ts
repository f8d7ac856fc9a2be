/** Writes, reads and rules as they take effect: a proxy in front of a real primary with two real replicas. */
import { afterEach, describe, expect, test } from 'vitest';
import type { Wire } from '../differential/wire.ts';
import { ask, CopiesStand, type CopyNode } from './copies.ts';
import { command, pipeline, until } from './stand.ts';

let stand: CopiesStand;
const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));
const node = (index: number): CopyNode => stand.nodes[index] as CopyNode;

afterEach(() => stand.stop());

const RULES = `rules:
  - { match: "lax:*", writes: { acknowledge: primary } }
  - { match: "money:*", writes: { minimumCopies: 3 }, reads: { strict: true } }
  - { match: "any:*", reads: { from: any } }
  - { match: "both:*", writes: { acknowledge: primary }, reads: { from: any } }
  - { match: "quick:*", writes: { timeout: 200ms } }
`;

async function clientList(): Promise<string> {
  return String(await node(0).redis.call('CLIENT', 'LIST'));
}

/** How often each node has carried out GET. */
async function gets(): Promise<number[]> {
  const texts = await Promise.all(stand.nodes.map(one => one.redis.info('commandstats')));
  return texts.map(text => Number(/cmdstat_get:calls=(\d+)/.exec(text)?.[1] ?? 0));
}

/** A client whose reads go to a replica: one in three has the primary for its copy. */
async function readerOfCopies(key: string): Promise<Wire> {
  for (let i = 0; i < 6; i += 1) {
    const wire = await stand.connect();
    await until(async () => {
      const before = await gets();
      await pipeline(wire, `GET ${key}`);
      const after = await gets();
      return i % 3 === 2 || after[0] === before[0];
    }).catch(() => undefined);
    const before = await gets();
    await pipeline(wire, `GET ${key}`);
    if ((await gets())[0] === before[0]) return wire;
  }
  throw new Error('no client reads from a replica');
}

describe('with a replica that stands still', () => {
  test('a write of a lax key is answered by the primary alone, a usual one waits, and so does one with both', async () => {
    stand = await CopiesStand.start(RULES);
    const [lax, usual, mixed] = await Promise.all([stand.connect(), stand.connect(), stand.connect()]);
    node(2).freeze();
    expect(await pipeline(lax, 'SET lax:1 v', 'INCR lax:2', 'MSET lax:3 a lax:4 b')).toEqual([
      '+OK\r\n',
      ':1\r\n',
      '+OK\r\n',
    ]);
    const waiting = [ask(usual, 'SET usual v'), ask(mixed, 'MSET lax:1 w usual2 w')];
    await sleep(300);
    expect(waiting.map(({ reply }) => reply)).toEqual([null, null]);
    const block = await stand.connect();
    expect((await pipeline(block, 'MULTI', 'SET lax:1 x', 'EXEC')).at(-1)).toBe('*1\r\n+OK\r\n');
    expect(await pipeline(block, 'EVAL return(1) 1 lax:1')).toEqual([':1\r\n']);
    node(2).thaw();
    expect(await Promise.all(waiting.map(({ done }) => done))).toEqual(['+OK\r\n', '+OK\r\n']);
  });

  test('blocks, scripts and blocking commands of usual keys wait too', async () => {
    stand = await CopiesStand.start(RULES);
    const wires = await Promise.all([0, 1, 2].map(() => stand.connect()));
    const [block, script, pop] = wires as [Wire, Wire, Wire];
    await pipeline(pop, 'RPUSH list a b');
    await pipeline(block, 'MULTI', 'SET k v');
    node(2).freeze();
    const waiting = [
      ask(block, 'EXEC'),
      ask(script, 'EVAL return(redis.call("SET",KEYS[1],"v")) 1 k'),
      ask(pop, 'BLPOP list 0'),
    ];
    await sleep(300);
    expect(waiting.map(({ reply }) => reply)).toEqual([null, null, null]);
    node(2).thaw();
    const replies = await Promise.all(waiting.map(({ done }) => done));
    expect(replies).toEqual(['*1\r\n+OK\r\n', '+OK\r\n', '*2\r\n$4\r\nlist\r\n$1\r\na\r\n']);
  });

  test('a strict read waits, and a usual one does not', async () => {
    stand = await CopiesStand.start(RULES);
    const [strict, usual] = await Promise.all([stand.connect(), stand.connect()]);
    await pipeline(usual, 'SET money:1 5');
    node(2).freeze();
    const waiting = ask(strict, 'GET money:1');
    expect(await pipeline(usual, 'GET other')).toEqual(['$-1\r\n']);
    await sleep(300);
    expect(waiting.reply).toBe(null);
    node(2).thaw();
    expect(await waiting.done).toBe('$1\r\n5\r\n');
  });

  test('where every read is strict, a walk over all keys waits, and so does a list of libraries', async () => {
    stand = await CopiesStand.start('reads: { strict: true }\n');
    const wires = await Promise.all([0, 1, 2].map(() => stand.connect()));
    const [walker, lister, dumper] = wires as [Wire, Wire, Wire];
    node(2).freeze();
    const waiting = [ask(walker, 'SCAN 0'), ask(lister, 'FUNCTION LIST'), ask(dumper, 'FUNCTION DUMP')];
    await sleep(300);
    expect(waiting.map(({ reply }) => reply)).toEqual([null, null, null]);
    node(2).thaw();
    expect((await Promise.all(waiting.map(({ done }) => done))).slice(0, 2)).toEqual([
      '*2\r\n$1\r\n0\r\n*0\r\n',
      '*0\r\n',
    ]);
  });

  test('a rule has its own time-out', async () => {
    stand = await CopiesStand.start(RULES);
    const [quick, usual] = await Promise.all([stand.connect(), stand.connect()]);
    node(2).freeze();
    const slow = ask(usual, 'SET usual v');
    expect((await pipeline(quick, 'SET quick:1 v'))[0]).toMatch(/^-UNCERTAIN .*shard s1/);
    expect(slow.reply).toBe(null);
    node(2).thaw();
    expect(await slow.done).toBe('+OK\r\n');
  });
});

test('rules that come while running hold from the next command on', async () => {
  stand = await CopiesStand.start();
  const wires = await Promise.all([0, 1, 2].map(() => stand.connect()));
  const [first, second, third] = wires as [Wire, Wire, Wire];
  node(2).freeze();
  const before = ask(first, 'SET lax:1 v');
  await until(async () => (await node(0).redis.get('lax:1')) === 'v');
  const { config } = stand.proxy;
  const lax = { match: 'lax:*', writes: { ...config.writes, acknowledge: 'primary' as const }, reads: config.reads };
  stand.proxy.reconfigure({ ...config, rules: [lax] });
  expect(await pipeline(second, 'SET lax:1 w')).toEqual(['+OK\r\n']);
  stand.proxy.reconfigure({ ...config, rules: [] });
  const after = ask(third, 'SET lax:1 x');
  await until(async () => (await node(0).redis.get('lax:1')) === 'x');
  await sleep(200);
  expect([before.reply, after.reply]).toEqual([null, null]);
  node(2).thaw();
  expect(await Promise.all([before.done, after.done])).toEqual(['+OK\r\n', '+OK\r\n']);
});

test('writes are refused below the least number of copies, reads and other keys are not', async () => {
  stand = await CopiesStand.start(RULES);
  const wire = await stand.connect();
  expect(await pipeline(wire, 'SET money:1 5', 'RPUSH money:list a')).toEqual(['+OK\r\n', ':1\r\n']);
  stand.tell({ inSync: ['n2'] });
  const refused =
    /^-NOREPLICAS Not enough good replicas to write\. .*shard s1 has 2 copies in sync, writes\.minimumCopies is 3/;
  for (const words of [
    'SET money:1 6',
    'MSET a 1 money:1 6',
    'BLPOP money:list 0',
    'EVAL return(1) 1 money:1',
    'DEL money:1 x',
  ]) {
    expect((await pipeline(wire, words))[0], words).toMatch(refused);
  }
  const replies = await pipeline(
    wire,
    'MULTI',
    'SET money:1 6',
    'EXEC',
    'GET money:1',
    'SET other v',
    'PFCOUNT money:2',
    'EVAL_RO return(1) 1 money:1',
  );
  expect(replies[1]).toMatch(refused);
  expect(replies[2]).toMatch(/^-EXECABORT /);
  expect(replies.slice(3)).toEqual(['$1\r\n5\r\n', '+OK\r\n', ':0\r\n', ':1\r\n']);
  await pipeline(wire, 'MULTI', 'SET money:1 7').then(([, queued]) => expect(queued).toMatch(refused));
  await pipeline(wire, 'DISCARD');
  stand.tell({ inSync: ['n2', 'n3'] });
  await pipeline(wire, 'MULTI', 'SET money:1 7');
  stand.tell({ inSync: ['n2'] });
  expect((await pipeline(wire, 'EXEC'))[0]).toMatch(refused);
  expect(await pipeline(wire, 'GET money:1')).toEqual(['$1\r\n5\r\n']);
});

describe('reads from copies', () => {
  test('are answered by a replica, and all others by the primary', async () => {
    stand = await CopiesStand.start(RULES);
    const writer = await stand.connect();
    await pipeline(writer, 'SET any:1 v', 'SET other w');
    const reader = await readerOfCopies('any:1');
    const before = await gets();
    const replies = await pipeline(reader, ...Array.from({ length: 20 }, () => 'GET any:1'));
    expect(new Set(replies)).toEqual(new Set(['$1\r\nv\r\n']));
    const between = await gets();
    expect(between[0]).toBe(before[0]);
    await pipeline(reader, 'GET other', 'MGET any:1 other', 'EVAL_RO return(redis.call("GET",KEYS[1])) 1 any:1');
    expect((await gets())[0]).toBe((between[0] as number) + 2);
  });

  test('never overtake the writes of their own client, nor are they overtaken by them', async () => {
    stand = await CopiesStand.start(RULES);
    const reader = await readerOfCopies('any:1');
    for (let i = 0; i < 200; i += 1) {
      const replies = await pipeline(
        reader,
        `SET any:1 ${i}`,
        'GET any:1',
        `SET any:1 x${i}`,
        'GET any:1',
        'PING',
        'GET any:1',
      );
      expect(replies.map(reply => reply.split('\r\n')[1])).toEqual(['', `${i}`, '', `x${i}`, '', `x${i}`]);
      const back = await pipeline(reader, 'GET any:1', 'GET any:1', `SET any:1 y${i}`, 'INCR any:n', 'GET any:1');
      expect(back.map(reply => reply.split('\r\n')[1])).toEqual([`x${i}`, `x${i}`, '', '', `y${i}`]);
    }
  });

  test('go to the primary once their client has written something that no copy is known to have', async () => {
    stand = await CopiesStand.start(RULES);
    const reader = await readerOfCopies('both:1');
    node(1).freeze();
    node(2).freeze();
    expect(await pipeline(reader, 'SET both:1 mine')).toEqual(['+OK\r\n']);
    expect(await pipeline(reader, 'GET both:1', 'GET any:1')).toEqual(['$4\r\nmine\r\n', '$-1\r\n']);
    node(1).thaw();
    node(2).thaw();
  });

  test('are answered by the primary, unseen, when their replica dies or leaves', async () => {
    stand = await CopiesStand.start(RULES);
    const writer = await stand.connect();
    await pipeline(writer, 'SET any:1 v');
    const reader = await readerOfCopies('any:1');
    stand.nodes.slice(1).forEach(one => void one.freeze());
    await reader.send(Buffer.concat([command('GET any:1'), command('GET any:1')]));
    await sleep(100);
    stand.tell({ inSync: [] });
    expect((await reader.take(2)).map(String)).toEqual(['$1\r\nv\r\n', '$1\r\nv\r\n']);
    expect(await pipeline(reader, 'SET any:1 w', 'GET any:1')).toEqual(['+OK\r\n', '$1\r\nw\r\n']);
  });
});

describe('a wait through another epoch', () => {
  test('is begun again unseen, when the epoch of the same primary ends', async () => {
    stand = await CopiesStand.start();
    const [popper, writer] = await Promise.all([stand.connect(), stand.connect()]);
    const waiting = ask(popper, 'BLPOP list 0');
    await until(async () => (await node(0).info('blocked_clients')) === '1');
    await stand.publish({ epoch: 2 });
    await until(async () => !(await clientList()).includes('user=ringside-proxy-1 '));
    await node(0).redis.call('ACL', 'DELUSER', 'ringside-proxy-1');
    await until(async () => (await clientList()).includes('cmd=blpop user=ringside-proxy-2 '));
    expect(waiting.reply).toBe(null);
    expect(await pipeline(writer, 'RPUSH list a')).toEqual([':1\r\n']);
    expect(await waiting.done).toBe('*2\r\n$4\r\nlist\r\n$1\r\na\r\n');
  });

  test('ends when its time is over, however many epochs it saw', async () => {
    stand = await CopiesStand.start();
    const popper = await stand.connect();
    const begun = performance.now();
    const waiting = ask(popper, 'BLPOP list 3');
    let lastMs = 0;
    for (let epoch = 2; epoch < 6; epoch += 1) {
      await sleep(600);
      await stand.publish({ epoch });
      lastMs = performance.now();
    }
    expect(await waiting.done).toBe('*-1\r\n');
    expect(performance.now() - begun).toBeGreaterThan(2_900);
    // Sooner than when the last epoch had begun all of the time anew.
    expect(performance.now() - lastMs).toBeLessThan(2_900);
  });

  test('that was served in the moment in which the epoch ended is answered, and served once', async () => {
    stand = await CopiesStand.start();
    const writer = await stand.connect();
    for (let round = 0; round < 20; round += 1) {
      const popper = await stand.connect();
      const waiting = ask(popper, 'BLPOP list 5');
      await until(async () => (await node(0).info('blocked_clients')) === '1');
      const pushed = ask(writer, `RPUSH list ${round}`);
      await stand.publish({ epoch: round + 2 });
      expect(await pushed.done).toBe(':1\r\n');
      expect(await waiting.done).toContain(`\r\n${round}\r\n`);
      expect(await node(0).redis.llen('list')).toBe(0);
    }
  });

  test('is held while the primary is about to change, and begun on the next one', async () => {
    stand = await CopiesStand.start();
    const popper = await stand.connect();
    const waiting = ask(popper, 'BLPOP list 0');
    await until(async () => (await node(0).info('blocked_clients')) === '1');
    await stand.publish({ epoch: 2, paused: true });
    await until(async () => (await node(0).info('blocked_clients')) === '0');
    await node(0).redis.call('ACL', 'DELUSER', 'ringside-proxy-1');
    await node(1).redis.call('REPLICAOF', 'NO', 'ONE');
    await stand.publish({ epoch: 3, primary: 'n2', inSync: [], paused: false });
    await until(async () => (await node(1).info('blocked_clients')) === '1');
    expect(waiting.reply).toBe(null);
    await node(1).redis.rpush('list', 'a');
    expect(await waiting.done).toContain('\r\na\r\n');
  });

  test('a watch ends with the epoch: EXEC answers nil', async () => {
    stand = await CopiesStand.start();
    const wire = await stand.connect();
    await pipeline(wire, 'WATCH k', 'MULTI', 'SET k v');
    await stand.publish({ epoch: 2 });
    expect(await pipeline(wire, 'EXEC')).toEqual(['*-1\r\n']);
    expect(await node(0).redis.get('k')).toBe(null);
  });
});
