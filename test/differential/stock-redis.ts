/** One stock redis-server with nothing configured but where it listens, as the measure of what is right. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HANG_MS } from '../support/patience.ts';
import { freePorts } from '../support/ports.ts';
import type { Endpoint } from './wire.ts';

export interface StockRedis extends Endpoint {
  stop(): Promise<void>;
}

/** Starts one on a free port; further arguments make it a server that is not quite stock. */
export async function startStockRedis(...further: readonly string[]): Promise<StockRedis> {
  const port = await freePorts(1);
  const directory = mkdtempSync(join(tmpdir(), 'ringside-stock-'));
  // `hz` changes no answer: it makes the time-outs of blocking commands precise, so that a run does not wait for them.
  const options = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    directory,
    '--save',
    '',
    '--appendonly',
    'no',
    '--hz',
    '500',
    ...further,
  ];
  const child = spawn('redis-server', options, { stdio: 'ignore' });
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()));
  let failure: Error | null = null;
  child.once('error', error => {
    failure = error;
  });
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      child.kill('SIGKILL');
      await exited;
    }
    rmSync(directory, { recursive: true, force: true });
  };
  for (const deadline = Date.now() + HANG_MS; !(await answers(port)); ) {
    if (failure !== null || child.exitCode !== null || Date.now() > deadline) {
      await stop();
      throw failure ?? new Error(`redis-server on port ${port} did not start`);
    }
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  return { host: '127.0.0.1', port, stop };
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
