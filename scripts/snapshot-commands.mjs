// Writes src/commands/snapshot.json: the COMMAND reply of the redis-server on this machine, one command per line.
//
//   node scripts/snapshot-commands.mjs [redis-server]
//
// Run it with the oldest Redis that is supported; a newer node's own COMMAND replaces the rows at run time anyway.
// Rows are sorted, because Redis lists them in the order of a hash table seeded anew at each start.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import RedisParser from 'redis-parser';

const TARGET = new URL('../src/commands/snapshot.json', import.meta.url);
const START_MS = 5000;

const program = process.argv[2] ?? 'redis-server';
const port = await freePort();
const server = spawn(program, ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], {
  stdio: 'ignore',
});
server.once('error', error => fail(`cannot start ${program}: ${error.message}`));

try {
  const reply = await readCommands();
  writeFileSync(TARGET, print(reply));
  console.log(`${reply.length} commands written to src/commands/snapshot.json`);
} finally {
  server.kill();
  await once(server, 'exit');
}

function fail(message) {
  console.error(`snapshot-commands: ${message}`);
  process.exit(2);
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port: free } = probe.address();
  probe.close();
  await once(probe, 'close');
  return free;
}

async function readCommands() {
  const socket = await connected();
  const reply = new Promise((resolve, reject) => {
    const parser = new RedisParser({ returnReply: resolve, returnError: reject, returnFatalError: reject });
    socket.on('data', bytes => parser.execute(bytes));
    socket.on('error', reject);
  });
  socket.write('COMMAND\r\n');
  const rows = await reply;
  socket.destroy();
  return rows;
}

async function connected() {
  const untilMs = Date.now() + START_MS;
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      if (Date.now() > untilMs) throw error;
      await new Promise(resolve => setTimeout(resolve, 20));
    }
  }
}

function print(rows) {
  return `[\n${sorted(rows).map(printRow).join(',\n')}\n]\n`;
}

/** Its subcommands, the last element, get lines of their own. */
function printRow(row) {
  const fields = row.slice(0, -1);
  const subcommands = sorted(row.at(-1));
  const head = JSON.stringify(fields).slice(0, -1);
  if (subcommands.length === 0) return `  ${head},[]]`;
  return `  ${head},[\n${subcommands.map(sub => `    ${JSON.stringify(sub)}`).join(',\n')}\n  ]]`;
}

function sorted(rows) {
  return [...rows].sort((a, b) => (a[0] < b[0] ? -1 : 1));
}
