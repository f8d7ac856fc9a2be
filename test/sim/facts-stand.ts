import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { Reply } from '../../src/supervisor/core/effect.ts';
import { freePorts } from '../support/ports.ts';
import { NodeClient } from './client.ts';
import { Network } from './network.ts';
import { SimNode } from './redis/node.ts';
import { Actor, World } from './world.ts';

/**
 * The same three nodes twice, behind one face: real processes, and simulated ones.
 *
 * What a simulation says of a protocol is worth as much as its nodes are like the real ones; so the facts that the
 * protocol relies on are asked of both, by the same commands.
 */
export interface Nodes {
  send(node: number, ...command: string[]): Promise<Reply>;
  rest(ms: number): Promise<void>;
  /** Host and port, as `REPLICAOF` takes them. */
  address(node: number): [string, string];
}

export interface RealNodes extends Nodes {
  stop(): Promise<void>;
}

export async function realNodes(count: number): Promise<RealNodes> {
  const first = await freePorts(count);
  // A copy that arrives is written to a file first, which the next process in the same place would begin with.
  const directory = mkdtempSync(join(tmpdir(), 'ringside-facts-'));
  const servers: ChildProcess[] = [];
  const clients: Redis[] = [];
  for (let index = 0; index < count; index++) {
    const port = first + index;
    const files = ['--dir', directory, '--dbfilename', `${index}.rdb`, '--save', '', '--appendonly', 'no'];
    const options = ['--port', String(port), '--bind', '127.0.0.1', '--repl-diskless-sync-delay', '0'];
    servers.push(spawn('redis-server', [...options, ...files], { stdio: 'ignore' }));
    clients.push(new Redis(port, '127.0.0.1', { retryStrategy: () => 50, maxRetriesPerRequest: null }));
    clients.at(-1)?.on('error', () => {});
  }
  await Promise.all(clients.map(client => client.ping()));
  return {
    send: (node, name = '', ...args) => {
      return (clients[node] as Redis).call(name, ...args).then(
        reply => reply as Reply,
        (error: Error) => ({ error: error.message }),
      );
    },
    rest: ms => new Promise(resolve => setTimeout(resolve, ms)),
    address: node => ['127.0.0.1', String(first + node)],
    stop: async () => {
      for (const client of clients) client.disconnect();
      await Promise.all(
        servers.map(server => {
          server.kill('SIGKILL');
          return once(server, 'exit');
        }),
      );
      rmSync(directory, { recursive: true });
    },
  };
}

export function simulatedNodes(count: number): Nodes {
  const world = new World(1);
  const network = new Network(world);
  const person = new Actor(world, 'person');
  const nature = { loadFailure: 0, backlogBytes: 1_000_000, runIdKept: false };
  const nodes = Array.from({ length: count }, (_, index) => new SimNode(network, `n${index + 1}`, 'a', nature));
  for (const node of nodes) {
    node.start(false);
    node.living?.config.set('repl-diskless-sync-delay', '0');
  }
  const clients = nodes.map(
    node => new NodeClient(network, 'person.sim', person, `${node.host}:${node.port}`, () => {}),
  );
  world.run(5);
  return {
    send: async (node, ...command) => {
      let answer: Reply | undefined;
      (clients[node] as NodeClient).send(command, reply => {
        answer = reply;
      });
      world.run(world.nowMs + 10_000, () => answer !== undefined);
      return answer ?? { error: 'no answer' };
    },
    rest: async ms => world.run(world.nowMs + ms),
    address: node => [`n${node + 1}.sim`, '6379'],
  };
}
