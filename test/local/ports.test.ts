import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { checkPorts } from '../../src/local/ports.ts';
import { freePorts } from '../support/ports.ts';

const wanted = (port: number, what = 'the proxy') => ({ host: '127.0.0.1', port, what, remedy: 'take --port 6380' });

test('free ports pass', async () => {
  const first = await freePorts(2);
  await expect(checkPorts([wanted(first), wanted(first + 1, 'node n1')], 0)).resolves.toBeUndefined();
});

test('a taken port is told with who wants it and what to do', async () => {
  const port = await freePorts(1);
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  try {
    await expect(checkPorts([wanted(port)], 0)).rejects.toThrow(
      `the proxy cannot listen on 127.0.0.1:${port} (another process has the port): take --port 6380`,
    );
  } finally {
    server.close();
  }
});

test('a port on which nobody listens but that a connection has or had is told as such', async () => {
  const own = await freePorts(1);
  const server = createServer(socket => socket.on('end', () => socket.end()).resume()).listen(own, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect({ host: '127.0.0.1', port: own });
  await once(socket, 'connect');
  const port = socket.localPort as number;
  const told = `${port} (nobody listens there, but a connection has the port or has just given it back; wait a minute, or take another): take --port`;
  await expect(checkPorts([wanted(port)], 0)).rejects.toThrow(told);
  // Whoever closes first keeps its port in TIME-WAIT.
  socket.end();
  await once(socket.resume(), 'close');
  server.close();
  await expect(checkPorts([wanted(port)], 0)).rejects.toThrow(told);
});

test('a port that comes free in time is waited for', async () => {
  const port = await freePorts(1);
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  setTimeout(() => server.close(), 150);
  await expect(checkPorts([wanted(port)], 5000)).resolves.toBeUndefined();
});

test('two that want one port are told before anything listens', async () => {
  const port = await freePorts(1);
  await expect(checkPorts([wanted(port), wanted(port, 'node n1')], 0)).rejects.toThrow(
    `the proxy and node n1 would both listen on 127.0.0.1:${port}`,
  );
});

test('an address that this machine does not have is told as such', async () => {
  const port = { ...wanted(await freePorts(1)), host: '203.0.113.7' };
  await expect(checkPorts([port], 0)).rejects.toThrow('(EADDRNOTAVAIL)');
});
