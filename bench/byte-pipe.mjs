/**
 * A proxy that only copies bytes: what Node's own sockets cost, and nothing else.
 *
 * The reference for Ringside at one connection, where no batching can hide that cost. It frames nothing, routes
 * nothing and opens one upstream connection per client.
 *
 * Usage: node bench/byte-pipe.mjs LISTEN_PORT UPSTREAM_PORT   (both on 127.0.0.1)
 */
import { connect, createServer } from 'node:net';

const [listenPort, upstreamPort] = process.argv.slice(2).map(Number);
if (!Number.isInteger(listenPort) || !Number.isInteger(upstreamPort)) {
  console.error('usage: node bench/byte-pipe.mjs LISTEN_PORT UPSTREAM_PORT');
  process.exit(2);
}

const server = createServer({ noDelay: true }, client => {
  const upstream = connect({ host: '127.0.0.1', port: upstreamPort, noDelay: true });
  client.pipe(upstream);
  upstream.pipe(client);
  const end = () => {
    client.destroy();
    upstream.destroy();
  };
  client.on('error', end).on('close', end);
  upstream.on('error', end).on('close', end);
});

server.listen({ host: '127.0.0.1', port: listenPort, backlog: 1024 });
process.once('SIGTERM', () => process.exit(0));
