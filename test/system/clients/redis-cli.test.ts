import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type RunOptions, run } from './run.ts';
import { againstStockRedis, startTarget, type Target } from './target.ts';

let target: Target;
let redis: Redis;

beforeAll(async () => {
  target = await startTarget();
  redis = new Redis({ port: target.port });
});

beforeEach(async () => {
  await redis.flushall();
});

afterAll(async () => {
  redis?.disconnect();
  await target?.stop();
});

const cli = (args: string[], options: RunOptions = {}) =>
  run('redis-cli', ['-p', String(target.port), ...args], options);
const lines = (text: string) => text.trim().split(/\r?\n/);

/** What a person sees who types these lines into redis-cli at a terminal. */
async function atTerminal(typed: string[]): Promise<string[]> {
  const command = `stty cols 200 rows 50; redis-cli -p ${target.port}`;
  const { stdout } = await run('/usr/bin/script', ['-qec', `TERM=xterm sh -c '${command}'`, '/dev/null'], {
    typed: {
      pieces: typed.map(line => `${line}\r`),
      ready: since => /:\d+(\[\d+\])?(\(TX\))?> $/.test(withoutEscapes(since)),
    },
    limitMs: 30_000,
  });
  return rendered(stdout);
}

/** The lines that stay on the screen when each carriage return goes back to the line's begin. */
function rendered(output: string): string[] {
  return withoutEscapes(output)
    .split('\n')
    .map(line => line.split('\r').findLast(part => part !== '') ?? '');
}

const ESCAPES = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*[A-Za-z]`, 'g');

const withoutEscapes = (output: string) => output.replace(ESCAPES, '');

async function fill(count: number, prefix = 'key'): Promise<string[]> {
  const keys = Array.from({ length: count }, (_, i) => `${prefix}:${i}`);
  await redis.mset(new Map(keys.map(key => [key, 'x'])));
  return keys;
}

describe('redis-cli at a terminal', () => {
  it('shows prompt, answers, database, transaction and errors as with one Redis', async () => {
    const prompt = `127.0.0.1:${target.port}`;
    const screen = await atTerminal([
      'set k "v 1"',
      'get k',
      'get none',
      'lpush k x',
      'select 3',
      'multi',
      'incr a',
      'exec',
      'nosuch',
      'get',
      'quit',
    ]);
    expect(screen.filter(line => line !== '')).toEqual([
      `${prompt}> set k "v 1"`,
      'OK',
      `${prompt}> get k`,
      '"v 1"',
      `${prompt}> get none`,
      '(nil)',
      `${prompt}> lpush k x`,
      '(error) WRONGTYPE Operation against a key holding the wrong kind of value',
      `${prompt}> select 3`,
      'OK',
      `${prompt}[3]> multi`,
      'OK',
      `${prompt}[3](TX)> incr a`,
      'QUEUED',
      `${prompt}[3](TX)> exec`,
      '1) (integer) 1',
      `${prompt}[3]> nosuch`,
      "(error) ERR unknown command 'nosuch', with args beginning with: ",
      `${prompt}[3]> get`,
      "(error) ERR wrong number of arguments for 'get' command",
      `${prompt}[3]> quit`,
    ]);
  });

  it('knows the help of commands from the server', async () => {
    const screen = await atTerminal(['help getex', 'quit']);
    expect(screen.join('\n')).toContain('summary: Get the value of a key and optionally set its expiration');
  });

  it('changes to RESP3 in the middle', async () => {
    await redis.hset('h', { f: 'v' });
    await redis.zadd('z', 1.5, 'm');
    const screen = await atTerminal(['hello 3', 'hgetall h', 'zscore z m', 'quit']);
    expect(screen).toContain('1# "server" => "redis"');
    expect(screen).toContain('3# "proto" => (integer) 3');
    expect(screen).toContain('1# "f" => "v"');
    expect(screen).toContain('(double) 1.5');
  });

  it('listens to a channel', async () => {
    const watching = run(
      '/usr/bin/script',
      // `exec`: Ctrl-C must find redis-cli in the terminal's foreground group, whatever shell `script` starts.
      ['-qec', `exec redis-cli -p ${target.port} subscribe news`, '/dev/null'],
      {
        // Ctrl-C, once the message is there.
        typed: { pieces: ['\x03'], ready: since => since.includes('hello') },
      },
    );
    await expect.poll(() => redis.pubsub('NUMSUB', 'news')).toEqual(['news', 1]);
    await redis.publish('news', 'hello');
    const screen = rendered((await watching).stdout);
    const from = screen.indexOf('1) "subscribe"');
    expect(screen.slice(from, from + 6)).toEqual([
      '1) "subscribe"',
      '2) "news"',
      '3) (integer) 1',
      '1) "message"',
      '2) "news"',
      '3) "hello"',
    ]);
  });

  it('shows the running totals of --stat', async () => {
    await fill(321);
    const rowsOf = (output: string) => rendered(output).filter(line => /^\d+ /.test(line));
    const { stdout } = await run(
      '/usr/bin/script',
      // Ctrl-C, once there is a row and part of a further one behind it.
      ['-qec', `exec redis-cli -p ${target.port} --stat -i 0.2`, '/dev/null'],
      { typed: { pieces: ['\x03'], ready: since => rowsOf(since).length > 2 } },
    );
    const rows = rowsOf(stdout.slice(0, stdout.lastIndexOf('\n')));
    expect(rows.length).toBeGreaterThanOrEqual(2);
    for (const row of rows) {
      const [keys, memory, clients, , requests] = row.trim().split(/\s+/);
      expect(keys).toBe('321');
      expect(memory).toMatch(/^\d+(\.\d+)?[BKMG]$/);
      expect(Number(clients)).toBeGreaterThanOrEqual(1);
      expect(Number(requests)).toBeGreaterThan(0);
    }
  });
});

describe('redis-cli from a script', () => {
  it('runs one command per call, raw or formatted', async () => {
    expect(await cli(['set', 'k', 'a b\n']).then(out => out.stdout)).toBe('OK\n');
    expect(await cli(['get', 'k']).then(out => out.stdout)).toBe('a b\n\n');
    expect(await cli(['--no-raw', 'get', 'k']).then(out => out.stdout)).toBe('"a b\\n"\n');
    await redis.hset('h', { f: 'v' });
    expect(await cli(['-3', '--no-raw', 'hgetall', 'h']).then(out => out.stdout)).toBe('1# "f" => "v"\n');
    expect(await cli(['--json', 'hgetall', 'h']).then(out => out.stdout)).toBe('{"f":"v"}\n');
    expect(await cli(['-n', '5', 'incr', 'n']).then(out => out.stdout)).toBe('1\n');
    expect(await cli(['-n', '5', '-r', '4', 'incr', 'n']).then(out => out.stdout)).toBe('2\n3\n4\n5\n');
    expect(await cli(['exists', 'n']).then(out => out.stdout)).toBe('0\n');
  });

  it('ends with an error status and text when asked to', async () => {
    await redis.set('text', 'x');
    const { status, stdout, stderr } = await cli(['-e', 'lpush', 'text', 'x']);
    expect(status).toBe(1);
    expect(stdout + stderr).toContain('WRONGTYPE Operation against a key holding the wrong kind of value');
  });

  it('reads commands from its input', async () => {
    const input = Array.from({ length: 500 }, (_, i) => `SET in:${i} ${i}\nGET in:${i}\n`).join('');
    const { stdout } = await cli([], { input });
    expect(lines(stdout)).toEqual(Array.from({ length: 500 }, (_, i) => ['OK', String(i)]).flat());
  });

  it('takes the last argument from its input with -x, every byte of it', async () => {
    const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7) % 256));
    expect(await cli(['-x', 'set', 'blob'], { input: bytes }).then(out => out.stdout)).toBe('OK\n');
    expect((await redis.getBuffer('blob'))?.equals(bytes)).toBe(true);
    expect(await cli(['-X', 'TAG', 'set', 'TAG', 'value'], { input: 'key from input' }).then(out => out.stdout)).toBe(
      'OK\n',
    );
    expect(await redis.get('key from input')).toBe('value');
  });

  it('inserts en masse with --pipe and counts answers and errors', async () => {
    const frame = (...args: string[]) =>
      `*${args.length}\r\n${args.map(arg => `$${arg.length}\r\n${arg}\r\n`).join('')}`;
    const input = Array.from({ length: 20_000 }, (_, i) => frame('SET', `mass:${i}`, `value ${i}`)).join('');
    const { stdout, status } = await cli(['--pipe'], { input });
    expect(stdout).toContain('errors: 0, replies: 20000');
    expect(status).toBe(0);
    expect(await redis.dbsize()).toBe(20_000);
    expect(await redis.mget('mass:0', 'mass:777', 'mass:19999')).toEqual(['value 0', 'value 777', 'value 19999']);
    const failing = await cli(['--pipe'], { input: `${frame('LPUSH', 'mass:1', 'x')}${frame('SET', 'fine', '1')}` });
    expect(failing.stdout).toContain('errors: 1, replies: 2');
  });

  it('inserts inline commands with --pipe', async () => {
    const input = Array.from({ length: 100 }, (_, i) => `SET inline:${i} "a ${i}"\r\n`).join('');
    expect(await cli(['--pipe'], { input }).then(out => out.stdout)).toContain('errors: 0, replies: 100');
    expect(await redis.get('inline:42')).toBe('a 42');
  });

  it('lists every key once or more with --scan', async () => {
    const keys = await fill(2_000);
    const { stdout } = await cli(['--scan']);
    expect(new Set(lines(stdout))).toEqual(new Set(keys));
    const narrowed = await cli(['--scan', '--pattern', 'key:19*']);
    expect(new Set(lines(narrowed.stdout))).toEqual(new Set(keys.filter(key => key.startsWith('key:19'))));
  });

  it('finds the biggest keys of all shards', async () => {
    await fill(500);
    await redis.set('the big string', 'x'.repeat(5_000));
    await redis.rpush('the long list', ...Array.from({ length: 300 }, String));
    await redis.sadd('the set', 'a', 'b', 'c');
    const { stdout, status } = await cli(['--bigkeys']);
    expect(status).toBe(0);
    expect(stdout).toContain('Sampled 503 keys in the keyspace!');
    expect(stdout).toMatch(/Biggest string found '"the big string"' has 5000 bytes/);
    expect(stdout).toMatch(/Biggest +list found '"the long list"' has 300 items/);
    expect(stdout).toMatch(/Biggest +set found '"the set"' has 3 members/);
    expect(stdout).toContain('501 strings with 5500 bytes');
  });

  it('finds the keys that take the most memory', async () => {
    await fill(200);
    await redis.set('the heavy one', 'x'.repeat(50_000));
    const { stdout } = await cli(['--memkeys']);
    expect(stdout).toContain('Sampled 201 keys in the keyspace!');
    const [, bytes] = /Biggest string found '"the heavy one"' has (\d+) bytes/.exec(stdout) ?? [];
    expect(Number(bytes)).toBeGreaterThan(50_000);
    expect(Number(bytes)).toBeLessThan(70_000);
  });

  it('says of --hotkeys what Redis says when no LFU policy is set', async () => {
    await fill(20);
    const { stderr, status } = await cli(['--hotkeys']);
    expect(stderr).toContain('ERR An LFU maxmemory policy is not selected, access frequency not tracked.');
    expect(status).toBe(1);
  });

  it('measures latency for a second', async () => {
    const { stdout, status } = await cli(['--latency']);
    expect(status).toBe(0);
    const [, max, mean, samples] = stdout.trim().split(' ').map(Number);
    expect(samples).toBeGreaterThan(0);
    expect(mean).toBeGreaterThanOrEqual(0);
    expect(max).toBeGreaterThanOrEqual(mean as number);
  });

  it('runs a Lua file with --eval', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ringside-lua-'));
    const script = join(folder, 'double.lua');
    writeFileSync(
      script,
      "redis.call('SET', KEYS[1], ARGV[1]); redis.call('SET', KEYS[2], ARGV[1] * 2); return {KEYS[1], redis.call('GET', KEYS[2])}",
    );
    const { stdout } = await cli(['--eval', script, '{e}k1', '{e}k2', ',', '5']);
    rmSync(folder, { recursive: true });
    expect(lines(stdout)).toEqual(['{e}k1', '10']);
  });

  it("prints INFO in Redis's own sections", async () => {
    await fill(77);
    const { stdout } = await cli(['info']);
    const sections = [...stdout.matchAll(/^# (\w+)/gm)].map(match => match[1]);
    expect(sections).toEqual(
      expect.arrayContaining(['Server', 'Clients', 'Memory', 'Persistence', 'Stats', 'Replication', 'CPU', 'Keyspace']),
    );
    expect(stdout).toMatch(/^redis_version:7\./m);
    expect(stdout).toMatch(/^used_memory_human:/m);
    expect(stdout).toMatch(/^db0:keys=77,/m);
    if (!againstStockRedis) expect(sections).toContain('Ringside');
    expect(lines((await cli(['info', 'clients'])).stdout)[0]).toBe('# Clients');
  });
});

describe.skipIf(againstStockRedis)('what redis-cli cannot do through a proxy is refused by name', () => {
  it.each([
    [['monitor'], /monitor/i],
    [['--rdb', '/dev/null'], /sync|rdb|master/i],
    [['cluster', 'nodes'], /cluster/i],
    [['config', 'set', 'maxmemory', '1'], /config/i],
    [['debug', 'sleep', '0'], /debug/i],
    [['shutdown'], /shutdown/i],
    [['replicaof', 'no', 'one'], /replicaof/i],
    [['acl', 'setuser', 'x'], /acl/i],
    [['swapdb', '0', '1'], /swapdb/i],
  ])('%j', async (args, named) => {
    const { stdout, stderr } = await cli(args);
    expect(stdout + stderr).toMatch(named);
    if (args[0] !== '--rdb') expect(stdout).toMatch(/^(ERR|NOPERM|DENIED) /);
    expect(await redis.ping()).toBe('PONG');
  });
});
