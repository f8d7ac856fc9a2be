import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { parseNodeReport } from '../../../src/supervisor/core/node-report.ts';
import { ADMIN_USER } from '../../../src/topology/credentials.ts';
import type { Topology } from '../../../src/topology/snapshot.ts';
import {
  asProxy,
  CLUSTER,
  onlyShard,
  password,
  quiet,
  RealLeader,
  type RealNode,
  realNodes,
  TEST_SETTINGS,
} from './real-stand.ts';

/**
 * Spares are emptied, on real redis-servers: nothing is left in memory or on disk, and an order that comes late, over the
 * connection of a leader that was deposed or of a try that was given up, meets no node that was put to use since.
 */
/** Nobody dies here before the end, however busy the machine is. */
const PATIENT = { ...TEST_SETTINGS, detect: { everyMs: 100, crashedMs: 3000, hungMs: 6000 } };
const KEYS = 2000;
const toEnd: { end(): Promise<void> | void }[] = [];
afterEach(async () => {
  for (const one of toEnd.splice(0).reverse()) await one.end();
});

interface Stand {
  readonly nodes: readonly RealNode[];
  readonly n2: RealNode;
  readonly leader: RealLeader;
  /** The cable between the leader and n2. */
  readonly cable: Cable;
  /** With the nodes' own addresses, as another leader reaches them. */
  readonly direct: (topology: Topology) => Topology;
}

/** s1 is n1 and n3; n2 was a copy, and still holds its keys. */
async function withOldSpare(): Promise<Stand> {
  const { nodes, topology } = await realNodes(2, 1);
  const [, n2] = nodes as [RealNode, RealNode, RealNode];
  toEnd.push(...nodes);
  await Promise.all(nodes.map(node => node.start()));
  const cable = await Cable.to(n2.port);
  toEnd.push(cable);
  const leader = led(
    { ...topology, nodes: topology.nodes.map(node => ({ ...node, port: node.id === 'n2' ? cable.port : node.port })) },
    1,
  );
  await leader.until('formed', () => onlyShard(leader).inSync.length === 1);
  const library = "#!lua name=mine\nredis.register_function('mine', function() return 1 end)";
  await asProxy(leader, async redis => {
    await redis.eval("for i = 1, ARGV[1] do redis.call('SET', 'key:' .. i, i) end", 0, KEYS);
    await redis.call('FUNCTION', 'LOAD', library);
    await redis.select(3);
    await redis.set('three', '3');
    await redis.wait(1, 2000);
  });
  await swap(leader, 'n2', 'n3');
  const direct = (now: Topology): Topology => {
    return {
      ...now,
      nodes: now.nodes.map(node => ({ ...node, port: nodes.find(({ id }) => id === node.id)?.port ?? 0 })),
    };
  };
  return { nodes, n2, leader, cable, direct };
}

function led(topology: Topology, term: number): RealLeader {
  const leader = new RealLeader(topology, term, PATIENT);
  toEnd.push({ end: () => leader.stop() });
  return leader;
}

/** The copy of one node goes to another; the first is a spare then. */
async function swap(leader: RealLeader, from: string, to: string): Promise<void> {
  // One that has just not answered in time is not chosen.
  await leader.until(`${from} goes to ${to}`, () => {
    return leader.engine.order({ kind: 'drain', node: from, to, zone: null }, performance.now()).accepted;
  });
  await leader.until(`${from} is free`, () => {
    return statusOf(leader, from)?.drain?.step === 'free' && onlyShard(leader).inSync.length === 1;
  });
  leader.engine.order({ kind: 'undrain', node: from }, performance.now());
  await leader.until(`${from} is kept`, () => statusOf(leader, from)?.drain === null);
}

const statusOf = (leader: RealLeader, id: string) =>
  leader.engine.status(performance.now()).nodes.find(node => node.id === id);
const stepOf = (leader: RealLeader) => statusOf(leader, 'n2')?.emptying?.step ?? null;

/** What a node holds and whom it follows, as an administrator sees it. */
async function look(node: RealNode): Promise<{ runId: string; keys: number; libraries: number; attached: boolean }> {
  const admin = quiet(node.port, ADMIN_USER, password(ADMIN_USER, CLUSTER));
  try {
    await admin.connect();
    const { runId, keys, following } = parseNodeReport(await admin.info());
    const libraries = ((await admin.call('FUNCTION', 'LIST')) as unknown[]).length;
    return { runId, keys, libraries, attached: following?.linkUp === true };
  } finally {
    admin.disconnect();
  }
}

async function order({ leader, n2 }: Pick<Stand, 'leader' | 'n2'>): Promise<void> {
  const { runId, keys } = await look(n2);
  const holds = { runId, databases: [{ database: 0, keys }], libraries: [], mark: null };
  const answer = leader.engine.order(
    { kind: 'empty', node: 'n2', holds, confirmed: { runId, keys }, acceptLoss: false },
    performance.now(),
  );
  expect(answer.accepted, answer.text).toBe(true);
}

test('nothing is left of what it held, neither now nor after a restart; and it is filled again when it is a copy again', async () => {
  const stand = await withOldSpare();
  const { leader, n2 } = stand;
  expect(await look(n2)).toMatchObject({ keys: KEYS + 1, libraries: 2, attached: false });
  await order(stand);
  await leader.until('n2 is empty', () => stepOf(leader) !== 'empties');
  expect(statusOf(leader, 'n2')?.emptying).toEqual({ step: 'empty', why: `${KEYS + 1} keys are gone` });
  expect(await look(n2)).toMatchObject({ keys: 0, libraries: 0 });
  // What the full copy had left on its disk would have come back.
  const { runId } = await look(n2);
  await n2.kill();
  await n2.start();
  await leader.until('n2 is back', () => {
    const { ready, report } = statusOf(leader, 'n2') ?? {};
    return ready === true && report?.runId !== runId;
  });
  expect(await look(n2)).toMatchObject({ keys: 0, libraries: 0 });
  await swap(leader, 'n3', 'n2');
  expect(await look(n2)).toMatchObject({ keys: KEYS + 1, libraries: 2, attached: true });
});

test('an order of a leader that was deposed comes late, and meets no node that its successor has put to use', async () => {
  const stand = await withOldSpare();
  const { leader, n2, cable, direct } = stand;
  cable.hold('FLUSHALL');
  await order(stand);
  await leader.until('the order is on its way', () => cable.holds);
  leader.stop();
  // Its connection stands, as it does behind a network that is slow in one direction.
  expect(cable.isOpen).toBe(true);
  expect((await look(n2)).keys).toBe(KEYS + 1);
  const next = led(direct(leader.topology), 2);
  await next.until('n2 is taken over', () => statusOf(next, 'n2')?.ready === true);
  await swap(next, 'n3', 'n2');
  expect(cable.isOpen).toBe(false);
  await cable.release();
  expect(await look(n2)).toMatchObject({ keys: KEYS + 1, libraries: 2, attached: true });
});

test('without a successor the same order, as late, is carried out: so it was whole', async () => {
  const stand = await withOldSpare();
  const { leader, n2, cable } = stand;
  cable.hold('FLUSHALL');
  await order(stand);
  await leader.until('the order is on its way', () => cable.holds);
  leader.stop();
  await cable.release();
  await leader.until('n2 is empty', () => cable.answers > 0);
  expect(await look(n2)).toMatchObject({ keys: 0, libraries: 0 });
});

test('a try that was given up comes late, and meets no node that the same leader has put to use since', async () => {
  const stand = await withOldSpare();
  const { leader, n2, cable } = stand;
  cable.hold('FLUSHALL', { breaks: true });
  await order(stand);
  await leader.until('the order is on its way', () => cable.holds);
  await leader.until('the next try has emptied it', () => stepOf(leader) === 'empty');
  await swap(leader, 'n3', 'n2');
  expect(cable.isOpen).toBe(false);
  await cable.release();
  expect(await look(n2)).toMatchObject({ keys: KEYS + 1, libraries: 2, attached: true });
});

/** Passes bytes on to one port; holds those back, once, that have a word in them, and what comes after on that connection. */
class Cable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #word: string | null = null;
  #breaks = false;
  #held: { readonly node: Socket; readonly bytes: Buffer[] } | null = null;
  /** Bytes that came back after the release. */
  answers = 0;

  private constructor(server: Server, port: number) {
    this.#server = server;
    server.on('connection', client => this.#join(client, connect({ host: '127.0.0.1', port })));
  }

  static async to(port: number): Promise<Cable> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Cable(server, port);
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    return address.port;
  }

  /** `breaks`: the other end sees the connection broken; the node does not. */
  hold(word: string, { breaks = false } = {}): void {
    this.#word = word;
    this.#breaks = breaks;
  }

  /** Whether all of it is held: the order ends with an EXEC, unless the connection broke before. */
  get holds(): boolean {
    return this.#held !== null && (this.#breaks || Buffer.concat(this.#held.bytes).includes('EXEC'));
  }

  /** Whether the node still has the connection over which what is held would come. */
  get isOpen(): boolean {
    return this.#held?.node.readyState === 'open';
  }

  /** What was held arrives, if the node still takes it; whole, before this resolves. */
  async release(): Promise<void> {
    const held = this.#held;
    if (held === null) throw new Error('nothing was held');
    held.node.on('data', bytes => {
      this.answers += bytes.length;
    });
    await new Promise<void>(resolve => held.node.write(Buffer.concat(held.bytes), () => resolve()));
  }

  #join(client: Socket, node: Socket): void {
    for (const socket of [client, node]) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
    }
    client.on('data', bytes => this.#pass(client, node, bytes));
    node.on('data', bytes => client.write(bytes));
    client.on('close', () => {
      if (this.#held?.node !== node) node.destroy();
    });
    node.on('close', () => client.destroy());
  }

  #pass(client: Socket, node: Socket, bytes: Buffer): void {
    if (this.#held?.node === node) this.#held.bytes.push(bytes);
    else if (this.#word === null || !bytes.includes(this.#word)) node.write(bytes);
    else {
      this.#word = null;
      this.#held = { node, bytes: [bytes] };
      if (this.#breaks) client.destroy();
    }
  }

  end(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
