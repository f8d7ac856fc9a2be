import { describe, expect, test } from 'vitest';
import type { Reply } from '../../../src/supervisor/core/effect.ts';
import { setUpNode, whyNoCopy } from '../../../src/supervisor/core/set-up-node.ts';
import type { Taking } from '../../../src/supervisor/core/take-over.ts';
import type { Ready, World } from '../../../src/supervisor/core/world.ts';
import { REQUIRED_NODE_SETTINGS } from '../../../src/topology/node-settings.ts';

/**
 * R0 on servers of several kinds: what is set on them, and which of them may be a copy of which.
 */
const SECOND_CHANNEL = 'dual-channel-replication-enabled';

/** A server that knows these settings and no others, and `CONFIG SET`s all or nothing, as Redis and Valkey do. */
class Server {
  readonly settings: Map<string, string>;
  readonly #version: readonly string[];
  readonly #fixed: readonly string[];

  constructor(version: readonly string[], more: Readonly<Record<string, string>> = {}, fixed: readonly string[] = []) {
    const names = Object.keys(REQUIRED_NODE_SETTINGS);
    this.settings = new Map([...names.map((name): [string, string] => [name, '']), ...Object.entries(more)]);
    this.#version = version;
    this.#fixed = fixed;
  }

  answer([name, what, ...words]: readonly string[]): Reply {
    if (name === 'CONFIG' && what === 'SET') return this.#set(words);
    if (name === 'CONFIG') return words.flatMap(word => [...this.settings].filter(([key]) => key === word).flat());
    if (name === 'INFO') return [...this.#version, ...INFO].join('\r\n');
    if (name === 'COMMAND') return ['get', 'set'];
    if (name === 'MODULE') return [];
    return name === 'ACL' && what === 'USERS' ? ['default'] : 'OK';
  }

  #set(words: readonly string[]): Reply {
    const names = words.filter((_, index) => index % 2 === 0);
    const unknown = names.find(name => !this.settings.has(name) || this.#fixed.includes(name));
    if (unknown !== undefined) return { error: `ERR CONFIG SET failed - '${unknown}'` };
    for (const name of names) this.settings.set(name, words[words.indexOf(name) + 1] ?? '');
    return 'OK';
  }
}

const INFO = [
  ...['run_id:r1', 'process_id:1', 'role:master', 'connected_slaves:0', 'loading:0', 'used_memory:1', 'maxmemory:0'],
  ...['master_replid:h', 'master_replid2:0', 'master_repl_offset:0', 'second_repl_offset:-1'],
];

/** What came of setting it up. */
function setUp(server: Server): Taking {
  const settings = { keepDefaultUser: false, inspectUser: false, nodeSettings: {} };
  const work = setUpNode({ settings } as unknown as World, { nodeId: 'n1', runId: 'r1' }, ['default']);
  let step = work.next();
  while (!step.done) {
    if (step.value.kind !== 'call') throw new Error(`a ${step.value.kind} was not expected`);
    const replies = step.value.call.commands.map(words => server.answer(words));
    step = work.next({ kind: 'outcome', outcome: { ok: true, replies } });
  }
  return step.value;
}

describe('the settings of a node', () => {
  test('are set, and a full copy over a second connection is switched off where the server knows of it', () => {
    const valkey = new Server(['redis_version:7.2.4', 'valkey_version:8.0.1'], { [SECOND_CHANNEL]: 'yes' });
    expect(setUp(valkey)).toMatchObject({ kind: 'ready', ready: { version: '7.2.4', valkey: '8.0.1' } });
    expect(valkey.settings.get(SECOND_CHANNEL)).toBe('no');
    expect(valkey.settings.get('repl-backlog-ttl')).toBe('0');
  });

  test('are no others where it does not', () => {
    const redis = new Server(['redis_version:7.0.15']);
    expect(setUp(redis)).toMatchObject({ kind: 'ready', ready: { version: '7.0.15', valkey: null } });
    expect(redis.settings).toEqual(new Map(Object.entries(REQUIRED_NODE_SETTINGS)));
  });

  test('that a server does not take are told, and the node is refused', () => {
    const info = ['redis_version:7.2.4', 'valkey_version:8.0.1'];
    const channel = new Server(info, { [SECOND_CHANNEL]: 'yes' }, [SECOND_CHANNEL]);
    const timeout = new Server(info, {}, ['repl-timeout']);
    expect(setUp(channel)).toMatchObject({ kind: 'refused', why: expect.stringContaining(`${SECOND_CHANNEL} is yes`) });
    expect(setUp(timeout)).toMatchObject({ kind: 'refused', why: expect.stringContaining('repl-timeout is unknown') });
  });
});

describe('a copy runs no older a server than its primary', () => {
  const ready = (version: string, commands: readonly string[] = ['get']): Ready => {
    const [number = '', valkey = null] = version.split(' Valkey ');
    const common = { runId: 'r1', databases: '16', modules: [], users: [] };
    return { ...common, version: number, valkey, commands: new Set(commands) };
  };

  test.each([
    ['7.0.15', '7.0.15'],
    ['7.2.6', '7.0.15'],
    ['7.2.4 Valkey 8.0.1', '7.0.15'],
    // Of the same 7.2, whatever patch level Valkey names for all time.
    ['7.2.4 Valkey 8.0.1', '7.2.6'],
    ['7.2.4 Valkey 8.1.0', '7.2.4 Valkey 8.0.1'],
  ])('%s may copy from %s', (node, primary) => expect(whyNoCopy(ready(node), ready(primary))).toBeNull());

  test.each([
    ['7.0.14', '7.0.15', "it runs Redis 7.0.14, older than its primary's Redis 7.0.15"],
    ['7.0.15', '7.2.4 Valkey 8.0.1', "it runs Redis 7.0.15, older than its primary's Valkey 8.0.1"],
    ['7.2.4 Valkey 8.0.1', '7.4.0', "it runs Valkey 8.0.1, older than its primary's Redis 7.4.0"],
    ['7.2.4 Valkey 8.0.1', '7.2.4 Valkey 8.0.2', "it runs Valkey 8.0.1, older than its primary's Valkey 8.0.2"],
  ])('%s may not copy from %s', (node, primary, why) => expect(whyNoCopy(ready(node), ready(primary))).toBe(why));

  test('what Valkey has beyond Redis keeps a Redis from copying it', () => {
    const valkey = ready('7.2.4 Valkey 8.0.1', ['get', 'client|capa']);
    expect(whyNoCopy(ready('7.2.6'), valkey)).toBe('it lacks commands that its primary has: client|capa');
  });
});
