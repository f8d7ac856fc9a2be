/**
 * A real nutcracker (twemproxy) in front of redis-servers, as it runs where somebody comes from.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePorts } from '../../support/ports.ts';
import { until } from '../faults/stand.ts';
import { loopback } from '../safety/host.ts';
import { TestProcess } from '../safety/process.ts';
import type { RedisNode } from '../safety/redis-node.ts';
import { RespConnection } from '../safety/resp.ts';

export class Nutcracker {
  readonly host = loopback;
  readonly port: number;
  readonly file: string;
  readonly #process: TestProcess;

  private constructor(port: number, file: string, running: TestProcess) {
    this.port = port;
    this.file = file;
    this.#process = running;
  }

  /** `servers`: what the ring hashes, and how heavy. Writes nutcracker.yml into the directory. */
  static async start(
    directory: string,
    servers: readonly { node: RedisNode; name: string; weight: number }[],
    ring: { hash: string; distribution: string; hashTag: string },
  ): Promise<Nutcracker> {
    const port = await freePorts(2);
    const file = path.join(directory, 'nutcracker.yml');
    const lines = [
      'cache:',
      `  listen: 127.0.0.1:${port}`,
      '  redis: true',
      `  hash: ${ring.hash}`,
      `  distribution: ${ring.distribution}`,
      `  hash_tag: "${ring.hashTag}"`,
      '  auto_eject_hosts: false',
      '  servers:',
      ...servers.map(({ node, name, weight }) => `   - 127.0.0.1:${node.port}:${weight} ${name}`),
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    const own = [
      '-c',
      file,
      '-p',
      path.join(directory, 'nutcracker.pid'),
      '-o',
      path.join(directory, 'nutcracker.log'),
    ];
    const started = new TestProcess(
      'nutcracker',
      loopback,
      'nutcracker',
      [...own, '-a', '127.0.0.1', '-s', `${port + 1}`],
      {
        // Debian keeps it where a user's PATH often does not look.
        PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
      },
    );
    await until(
      () => `nutcracker accepts; it said ${started.log}`,
      async () => {
        const connection = await RespConnection.open('127.0.0.1', port, 500).catch(() => null);
        connection?.close();
        return connection !== null;
      },
    );
    return new Nutcracker(port, file, started);
  }

  async end(): Promise<void> {
    await this.#process.end();
  }
}
