/** Keys by shard, and other ways to look into a stand, for tests about what becomes of commands. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Client } from '../../src/proxy/client.ts';
import type { Endpoint, Wire } from '../differential/wire.ts';
import { command, pipeline, type Stand, until } from './stand.ts';

/** A key of the shard with this index, by a name that begins with `prefix`. */
export function keyOn(stand: Stand, shard: number, prefix = 'k'): string {
  for (let i = 0; ; i += 1) {
    const key = Buffer.from(`${prefix}${i}`);
    if (stand.proxy.ring.ownerOf(key, 0, key.length) === shard) return key.toString();
  }
}

/** The client at the other end of a wire. */
export async function clientOf(stand: Stand, wire: Wire): Promise<Client> {
  const [id = ''] = await pipeline(wire, 'CLIENT ID');
  return stand.proxy.clients.get(Number(id.slice(1))) as Client;
}

/** Connections that are lent to single clients at this moment. */
export function lent(stand: Stand): number {
  return stand.proxy.shards.reduce((sum, shard) => sum + shard.cells.exclusive, 0);
}

/** Lets the node carry out no write until the returned function is called. */
export async function holdWrites(stand: Stand, node: Endpoint): Promise<() => Promise<void>> {
  const wire = await stand.connectTo(node);
  await pipeline(wire, 'CLIENT PAUSE 60000 WRITE');
  return async () => {
    await pipeline(wire, 'CLIENT UNPAUSE');
  };
}

/** Another redis-server, empty, at the address where one was stopped. */
export async function startAgain(stand: Stand, port: number): Promise<() => Promise<void>> {
  const child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', '/tmp'], {
    stdio: 'ignore',
  });
  await until(async () => {
    try {
      const wire = await stand.connectTo({ host: '127.0.0.1', port });
      return (await pipeline(wire, 'PING'))[0] === '+PONG\r\n';
    } catch {
      return false;
    }
  });
  // It is another incarnation, without users: a supervisor would set it up and say so.
  await stand.follow(stand.topology);
  return async () => {
    if (child.exitCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
}

/** Sends commands whose replies are taken later. */
export function send(wire: Wire, ...commands: string[]): Promise<void> {
  return wire.send(Buffer.concat(commands.map(command)));
}

/** The next frames, as text. */
export async function take(wire: Wire, count: number): Promise<string[]> {
  return (await wire.take(count)).map(frame => frame.toString('latin1'));
}

/** The keys in the reply to KEYS. */
export function clientsKeys(reply: string): string[] {
  return reply
    .split('\r\n')
    .slice(1, -1)
    .filter((_, i) => i % 2 === 1);
}

/** All that SCAN with these options tells, doubles and all. */
export async function walk(wire: Wire, options: string): Promise<string[]> {
  const found: string[] = [];
  let cursor = '0';
  for (let pages = 0; pages < 10_000; pages += 1) {
    const [reply = ''] = await pipeline(wire, `SCAN ${cursor} ${options}`.trim());
    const lines = reply.split('\r\n').filter(line => !/^[*$]/.test(line));
    cursor = lines[0] as string;
    found.push(...lines.slice(1, -1));
    if (cursor === '0') return found;
  }
  throw new Error('the walk did not end');
}
