import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { listenErrorLine } from '../../src/admin/listen-error.ts';

/** The error that Node gives for these arguments of listen. */
function errorOf(port: number, host: string): Promise<Error> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', resolve);
    server.listen(port, host, () => server.close(() => reject(new Error('it listens'))));
  });
}

describe('why listening failed', () => {
  it('names the taken port and the setting', async () => {
    const first = createServer();
    await new Promise<void>(resolve => first.listen(0, '127.0.0.1', resolve));
    const { port } = first.address() as { port: number };
    const line = listenErrorLine(await errorOf(port, '127.0.0.1'), 'proxy.admin');
    expect(line).toBe(
      `127.0.0.1:${port} is taken by another process: end that process, or set another port in proxy.admin`,
    );
    first.close();
  });

  it('proposes another port for the one that a Redis server has', () => {
    const error = Object.assign(new Error('bind EADDRINUSE'), { code: 'EADDRINUSE', address: '127.0.0.1', port: 6379 });
    expect(listenErrorLine(error, 'proxy.listen')).toBe(
      '127.0.0.1:6379 is taken by another process: a Redis server may run there; set another port in proxy.listen such as 6380 (with "ringside up": --port 6380)',
    );
  });

  it('says that an address is none of this machine', async () => {
    const line = listenErrorLine(await errorOf(0, '192.0.2.1'), 'proxy.listen');
    expect(line).toBe('192.0.2.1 is no address of this machine: correct proxy.listen');
  });

  it('tells a socket by its path', () => {
    const error = Object.assign(new Error('listen EACCES'), { code: 'EACCES', address: '/run/x.sock', port: -1 });
    expect(listenErrorLine(error, 'proxy.listen')).toBe(
      '/run/x.sock may not be listened on by this user: end that process, or set another path in proxy.listen',
    );
  });
});
