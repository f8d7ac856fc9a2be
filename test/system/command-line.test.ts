import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { localDefaults } from '../../src/local/local-settings.ts';
import { program } from '../support/cluster.ts';
import { freePorts } from '../support/ports.ts';
import { type Ended, runProgram } from '../support/run-program.ts';

let dir = '';

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'ringside-cli-'));
});

afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

/** Runs the program in the test's directory, as a person does. */
function ringside(...words: string[]): Promise<Ended> {
  return runProgram(words, dir);
}

function write(name: string, text: string): void {
  writeFileSync(join(dir, name), text);
}

const SETTINGS = `cluster: shop
secret: a secret of the tests, long enough
nodes:
  - { id: a1, address: 127.0.0.1:19001, zone: a }
  - { id: b1, address: 127.0.0.1:19002, zone: b }
  - { id: c1, address: 127.0.0.1:19003, zone: c }
shards: { count: 2, copies: 1 }
supervisor: { listen: "127.0.0.1:19009" }
`;

/** The settings with the supervisor and the proxy elsewhere. */
function settingsAt(supervisorPort: number, proxy: string): string {
  return `${SETTINGS.replace('19009', String(supervisorPort))}proxy: ${proxy}\n`;
}

describe('ringside', () => {
  it('tells its version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    expect(await ringside('--version')).toEqual({ status: 0, out: `${version}\n`, err: '' });
  });

  it('explains itself and each command, with an example', async () => {
    const commands = [
      'up',
      'proxy',
      'supervisor',
      'check',
      'status',
      'events',
      'switchover',
      'recover',
      'plan',
      'apply',
      'move',
      'node',
      'where',
      'import',
    ];
    const all = await ringside('--help');
    expect(all.status).toBe(0);
    for (const name of commands) expect(all.out).toMatch(new RegExp(`^  ${name} `, 'm'));
    for (const name of commands) {
      const { status, out } = await ringside(name, '--help');
      expect(status).toBe(0);
      expect(out).toContain(`Usage: ringside ${name}`);
      expect(out).toMatch(/Example:\n {2}ringside /);
    }
  });

  it('tells the defaults of `up` as they are', async () => {
    const { out } = await ringside('up', '--help');
    const text = out.replace(/\s+/g, ' ');
    for (const [name, value] of Object.entries(localDefaults)) {
      const flag = `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)} <`;
      const [, after] = text.split(flag);
      expect(after?.slice(0, after.indexOf(')') + 1), flag).toMatch(new RegExp(`\\(default: ${value}\\)$`));
    }
  });

  it('shows what there is to who says nothing, with status 2', async () => {
    const { status, err } = await ringside();
    expect(status).toBe(2);
    expect(err).toContain('Usage: ringside');
  });

  it.each([
    [['chek', 'x.yaml'], "ringside: unknown command 'chek' (Did you mean check?); see --help\n"],
    [['up', '--shard', '3'], "ringside: unknown option '--shard' (Did you mean --shards?); see --help\n"],
    [
      ['up', '--port', 'x'],
      "ringside: option '--port <port>' argument 'x' is invalid. Expected a whole number.; see --help\n",
    ],
    [['check'], "ringside: missing required argument 'file'; see --help\n"],
    [['where'], "ringside: missing required argument 'key'; see --help\n"],
    [['switchover'], "ringside: missing required argument 'shard'; see --help\n"],
    [['recover'], "ringside: missing required argument 'shard'; see --help\n"],
    [['proxy', '--config'], "ringside: option '-c, --config <file>' argument missing; see --help\n"],
    [['read-settings', 'x'], "ringside: unknown command 'read-settings'; see --help\n"],
  ])('answers %j with one line and status 2', async (words, line) => {
    expect(await ringside(...words)).toEqual({ status: 2, out: '', err: line });
  });

  it.each(['proxy', 'supervisor', 'status', 'where a', 'proxy --replace'])(
    'tells for `%s` that there are no settings here',
    async words => {
      const { status, err } = await ringside(...words.split(' '));
      expect(status).toBe(2);
      expect(err).toMatch(/^(ringside: )?.*ringside\.yaml.*\n$/);
      expect(err).toContain('there is no');
    },
  );

  it.each(['proxy', 'supervisor', 'status', 'where a', 'proxy --replace'])(
    'points to the settings that `up` wrote here when `%s` finds none',
    async words => {
      mkdirSync(join(dir, '.ringside'));
      write('.ringside/ringside.yaml', SETTINGS);
      const { status, err } = await ringside(...words.split(' '));
      expect(status).toBe(2);
      expect(err).toContain('--config .ringside/ringside.yaml');
    },
  );
});

describe('ringside check', () => {
  it('says what the settings make, and how many connections that may take', async () => {
    write('ringside.yaml', SETTINGS);
    const { status, out, err } = await ringside('check', 'ringside.yaml');
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(out).toMatch(/^ringside\.yaml: ok\n/);
    expect(out).toContain('shop: 3 nodes, 2 in shards, 1 spare');
    expect(out).toContain('s1 (weight 1): a1');
    expect(out).toMatch(/connections .* maxclients of 10000/);
  });

  it('says the same to scripts', async () => {
    write('ringside.yaml', SETTINGS);
    const { status, out } = await ringside('check', '--json', 'ringside.yaml');
    expect(status).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      file: 'ringside.yaml',
      ok: true,
      nodes: 3,
      shards: [
        { name: 's1', nodes: ['a1'] },
        { name: 's2', nodes: ['b1'] },
      ],
      spares: ['c1'],
      connections: { perProxyAndNode: 566, proxies: 17 },
    });
  });

  it('tells every mistake with its place, and status 2', async () => {
    write('bad.yaml', `${SETTINGS}ring: { hash: md6 }\nprox: {}\n`);
    const { status, out, err } = await ringside('check', 'bad.yaml');
    expect({ status, out }).toEqual({ status: 2, out: '' });
    const lines = err.trimEnd().split('\n');
    expect(lines).toHaveLength(2);
    for (const line of lines) expect(line).toMatch(/^bad\.yaml:\d+:\d+: /);
    const json = await ringside('check', 'bad.yaml', '--json');
    expect(json.status).toBe(2);
    expect(JSON.parse(json.out)).toEqual({ file: 'bad.yaml', ok: false, mistakes: lines });
  });

  it('warns of a denied name that is no command, which is no mistake', async () => {
    write('ringside.yaml', `${SETTINGS}proxy: { deny: [keys, FLUSHAL, json.set] }\n`);
    const { status, out } = await ringside('check', 'ringside.yaml');
    expect(status).toBe(0);
    expect(out.split('\n').filter(line => line.startsWith('warning      proxy.deny'))).toEqual([
      'warning      proxy.deny: FLUSHAL is no command of Redis: did you mean FLUSHALL?',
      'warning      proxy.deny: JSON.SET is no command of Redis: right only for one of a module that the nodes load',
    ]);
    const json = JSON.parse((await ringside('check', 'ringside.yaml', '--json')).out);
    expect(json.warnings.filter((line: string) => line.startsWith('proxy.deny'))).toHaveLength(2);
  });

  it('tells that there is no such file', async () => {
    const { status, err } = await ringside('check', 'nowhere.yaml');
    expect(status).toBe(2);
    expect(err).toMatch(/^nowhere\.yaml: .*no such file.*\n$/);
  });
});

describe('ringside where', () => {
  it('needs no cluster', async () => {
    write('ringside.yaml', SETTINGS);
    const { status, out } = await ringside('where', 'a', '{a}:b', '--json');
    expect(status).toBe(0);
    const { keys, source } = JSON.parse(out);
    expect(keys).toHaveLength(2);
    expect(keys[0].shard).toBe(keys[1].shard);
    expect(keys[1]).toMatchObject({ key: '{a}:b', hashed: 'a', why: 'the hash tag {a}', hash: keys[0].hash });
    expect(source).toContain('no supervisor answers');
  });

  it('shows hash, shard, node and reason as a table', async () => {
    write('ringside.yaml', SETTINGS);
    const { out } = await ringside('where', 'user:1');
    expect(out).toMatch(
      /^KEY +HASH +SHARD +NODE +WHY\n"user:1" +0x[0-9a-f]{8} +s[12] +[ab]1 127\.0\.0\.1:1900[12] +the whole key/,
    );
    expect(out).toContain('ring: murmur3, 256 tokens per unit of weight');
  });
});

describe('ringside import', () => {
  const NUTCRACKER = `cache:
  listen: 127.0.0.1:22121
  hash: fnv1a_64
  distribution: ketama
  redis: true
  servers:
   - 127.0.0.1:6401:1 one
   - 127.0.0.1:6402:2 two
`;

  it('writes settings that check finds right, and that tell where keys lie', async () => {
    write('nutcracker.yml', NUTCRACKER);
    const { status, out } = await ringside('import', 'nutcracker.yml');
    expect({ status, out }).toEqual({
      status: 0,
      out: 'ringside.yaml: written; next: ringside check ringside.yaml\n',
    });
    process.env['RINGSIDE_SECRET'] = 'a secret of the tests, long enough';
    expect((await ringside('check', 'ringside.yaml')).status).toBe(0);
    const where = JSON.parse((await ringside('where', 'k', '--json')).out);
    expect(where.ring).toMatchObject({ kind: 'twemproxy', hash: 'fnv1a_64', distribution: 'ketama' });
    expect(['one', 'two']).toContain(where.keys[0].shard);
    delete process.env['RINGSIDE_SECRET'];
  });

  it('writes over no file unless told so', async () => {
    write('nutcracker.yml', NUTCRACKER);
    write('ringside.yaml', 'mine');
    const refused = await ringside('import', 'nutcracker.yml');
    expect(refused.status).toBe(2);
    expect(refused.err).toMatch(/^ringside: ringside\.yaml exists: .*--out.*--force\n$/);
    expect(readFileSync(join(dir, 'ringside.yaml'), 'utf8')).toBe('mine');
    expect((await ringside('import', 'nutcracker.yml', '--force')).status).toBe(0);
    expect(readFileSync(join(dir, 'ringside.yaml'), 'utf8')).toContain('cluster:');
  });

  it('writes to standard output alone when asked to', async () => {
    write('nutcracker.yml', NUTCRACKER);
    const { status, out } = await ringside('import', 'nutcracker.yml', '--out', '-');
    expect(status).toBe(0);
    expect(out).toContain('like: twemproxy');
    expect(existsSync(join(dir, 'ringside.yaml'))).toBe(false);
  });

  it('tells what it cannot take over as notes, and what it cannot read as an error', async () => {
    write('nutcracker.yml', `${NUTCRACKER}  auto_eject_hosts: true\n`);
    const { status, err } = await ringside('import', 'nutcracker.yml', '--out', '-');
    expect(status).toBe(0);
    expect(err).toMatch(/^note: .*auto_eject_hosts/m);
    expect(await ringside('import', 'gone.yml')).toMatchObject({
      status: 2,
      err: 'ringside: gone.yml cannot be read (there is no such file)\n',
    });
    write('memcached.yml', NUTCRACKER.replace('redis: true', 'redis: false'));
    expect((await ringside('import', 'memcached.yml')).status).toBe(2);
  });
});

describe('ringside proxy', () => {
  let taken: Server;
  let port = 0;

  beforeAll(async () => {
    port = await freePorts(1);
    taken = createServer();
    await new Promise<void>(resolve => taken.listen(port, '127.0.0.1', resolve));
  });

  afterAll(() => {
    taken.close();
  });

  it('tells a taken port in one line, with status 2', async () => {
    const free = await freePorts(1);
    write('ringside.yaml', settingsAt(free, `{ listen: ["127.0.0.1:${port}"], admin: "127.0.0.1:${free}" }`));
    const { status, out, err } = await ringside('proxy');
    const lines = err
      .trimEnd()
      .split('\n')
      .filter(line => !line.startsWith('{'));
    expect({ status, out, lines }).toEqual({
      status: 2,
      out: '',
      lines: [
        `ringside: 127.0.0.1:${port} is taken by another process: end that process, or set another port in proxy.listen`,
      ],
    });
  });

  it('tells a taken admin port by its own name', async () => {
    const free = await freePorts(1);
    write('ringside.yaml', settingsAt(free, `{ listen: ["127.0.0.1:${free}"], admin: "127.0.0.1:${port}" }`));
    const { status, err } = await ringside('proxy');
    expect(status).toBe(2);
    expect(err).toContain(`ringside: 127.0.0.1:${port} is taken by another process: `);
    expect(err).toContain('proxy.admin');
  });

  it('tells mistakes in the settings with their place, with status 2', async () => {
    write('bad.yaml', `${SETTINGS}prox: {}\n`);
    const { status, err } = await ringside('proxy', '--config', 'bad.yaml');
    expect(status).toBe(2);
    expect(err).toMatch(/^bad\.yaml:9:1: prox: unknown setting.*\n$/);
  });

  it('--replace tells when no proxy runs, with status 1', async () => {
    write('ringside.yaml', SETTINGS);
    const { status, err } = await ringside('proxy', '--replace');
    expect(status).toBe(1);
    expect(err).toMatch(/^ringside: no proxy of ringside\.yaml runs here .*\n$/);
  });
});

describe('ringside supervisor', () => {
  let child: ChildProcess | null = null;

  afterEach(async () => {
    if (child !== null && child.exitCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    child = null;
  });

  async function startSupervisor(): Promise<string> {
    const port = await freePorts(2);
    write('ringside.yaml', settingsAt(port, `{ listen: ["127.0.0.1:${port + 1}"] }`));
    child = spawn(process.execPath, [program, 'supervisor'], { cwd: dir, stdio: 'ignore' });
    const url = `http://127.0.0.1:${port}`;
    await expect
      .poll(() =>
        fetch(`${url}/v1/topology`).then(
          answer => answer.status,
          () => 0,
        ),
      )
      .toBe(200);
    return url;
  }

  it('is what status and where ask, by the settings or by its URL', async () => {
    const url = await startSupervisor();
    const byFile = await ringside('status', '--json');
    expect(byFile.status).toBe(0);
    const status = JSON.parse(byFile.out);
    expect(status).toMatchObject({ cluster: 'shop', changesRoles: true, leader: url });
    expect(Object.keys(status.shards[0])).toEqual(
      expect.arrayContaining(['name', 'epoch', 'primary', 'inSync', 'joining', 'nodes']),
    );
    expect(Object.keys(status.shards[0].nodes[0])).toEqual(expect.arrayContaining(['id', 'role', 'up', 'lagBytes']));
    for (const words of [['status', url], ['status', '--config', url], ['status']]) {
      const table = await ringside(...words);
      expect(table.status, words.join(' ')).toBe(0);
      expect(table.out).toContain(`cluster shop, topology 1, term 1, leader ${url}\n`);
      expect(table.out).toMatch(/^s1 +1 +a1 +primary +DOWN +127\.0\.0\.1:19001 +\w+$/m);
    }
    expect((await ringside('where', 'k')).out).toContain(`primaries from supervisor ${url}, topology 1`);
    expect((await ringside('where', 'k', '--config', url)).status).toBe(0);
  });

  it('takes another address from the command line, and refuses one that is none', async () => {
    const port = await freePorts(1);
    write('ringside.yaml', SETTINGS);
    for (const words of [
      ['--listen', 'here'],
      ['--listen', '127.0.0.1:70000'],
      ['--advertise', '127.0.0.1:1'],
    ]) {
      const { status, err } = await ringside('supervisor', ...words);
      expect({ status, lines: err.split('\n').length }, err).toEqual({ status: 2, lines: 2 });
      expect(err).toContain(`ringside: ${words.join(' ')}: write it as `);
    }
    const listen = `127.0.0.1:${port}`;
    const words = ['supervisor', '--listen', listen, '--advertise', `http://localhost:${port}`];
    child = spawn(process.execPath, [program, ...words], { cwd: dir, stdio: 'ignore' });
    const leader = async () => {
      const answer = await fetch(`http://${listen}/v1/status`).catch(() => null);
      return answer === null ? null : ((await answer.json()) as { leader: string | null }).leader;
    };
    await expect.poll(leader).toBe(`http://localhost:${port}`);
  });

  it('is asked for events, and takes orders only where they make sense', async () => {
    await startSupervisor();
    const { status, out } = await ringside('events');
    expect({ status, out }).toEqual({ status: 0, out: expect.stringMatching(/^\S+Z leading: leading, term 1/m) });
    expect(await ringside('switchover', 's9')).toMatchObject({
      status: 2,
      err: expect.stringContaining('no shard s9'),
    });
    expect(await ringside('recover', 's1')).toMatchObject({ status: 2, err: expect.stringContaining('--accept-loss') });
  });

  it('is waited for by status --watch, which goes on when it is away', async () => {
    await startSupervisor();
    const watch = spawn(process.execPath, [program, 'status', '--watch'], {
      cwd: dir,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let out = '';
    let err = '';
    watch.stdout.on('data', (piece: Buffer) => {
      out += piece.toString();
    });
    watch.stderr.on('data', (piece: Buffer) => {
      err += piece.toString();
    });
    try {
      await expect.poll(() => out.match(/^SHARD/gm)?.length ?? 0).toBeGreaterThanOrEqual(2);
      child?.kill('SIGTERM');
      await expect.poll(() => err).toContain('no supervisor answers');
      expect(watch.exitCode).toBeNull();
    } finally {
      watch.kill('SIGINT');
      await once(watch, 'exit');
    }
  });

  it('is asked no more by status --watch when nobody reads its output any more', async () => {
    await startSupervisor();
    const watch = spawn(process.execPath, [program, 'status', '--watch'], {
      cwd: dir,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let err = '';
    watch.stderr.on('data', (piece: Buffer) => {
      err += piece.toString();
    });
    await once(watch.stdout, 'data');
    watch.stdout.destroy();
    const [status] = (await once(watch, 'close')) as [number | null];
    expect({ status, err }).toEqual({ status: 0, err: '' });
  });

  it('ends with status 0 on SIGTERM', async () => {
    await startSupervisor();
    child?.kill('SIGTERM');
    const [status] = (await once(child as ChildProcess, 'exit')) as [number | null];
    expect(status).toBe(0);
  });

  it('tells a taken port in one line, with status 2', async () => {
    const url = await startSupervisor();
    write(
      'other.yaml',
      readFileSync(join(dir, 'ringside.yaml'), 'utf8').replace(
        'supervisor: {',
        'supervisor: { store: { file: other }, ',
      ),
    );
    const { status, err } = await ringside('supervisor', '--config', 'other.yaml');
    expect(status).toBe(2);
    expect(err).toContain(`ringside: ${url.slice('http://'.length)} is taken by another process`);
  });

  it('that does not run is told by status in one line, with status 1', async () => {
    write('ringside.yaml', SETTINGS);
    expect(await ringside('status')).toEqual({
      status: 1,
      out: '',
      err: 'ringside: no supervisor answers (http://127.0.0.1:19009: connection refused): is one running, and is this its address?\n',
    });
  });
});
