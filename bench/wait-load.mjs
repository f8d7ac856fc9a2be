/**
 * The load of a client that makes sure of its copies by itself: `SET`s in a pipeline and one `WAIT 2` behind them.
 *
 * Started by bench/confirmed.mjs as a process of its own; it gets one order and answers with one result.
 */
import { connect } from 'node:net';

/** @typedef {{ port: number, connections: number, pipeline: number, commands: number }} Order */

process.once('message', message => void run(/** @type {Order} */ (message)));

/** @param {Order} order */
async function run({ port, connections, pipeline, commands }) {
  const value = 'x'.repeat(100);
  /** @type {number[]} */
  const tookMs = [];
  let left = Math.ceil(commands / pipeline);
  const sets = '+OK\r\n'.repeat(pipeline).length;
  const startMs = performance.now();
  const one = () =>
    new Promise((done, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
      let length = 0;
      let last = '';
      let sentMs = 0;
      const next = () => {
        if (left === 0) {
          socket.end();
          return done(undefined);
        }
        left -= 1;
        let batch = '';
        for (let i = 0; i < pipeline; i += 1) {
          const key = `key:${String(Math.floor(Math.random() * 100_000)).padStart(12, '0')}`;
          batch += `*3\r\n$3\r\nSET\r\n$16\r\n${key}\r\n$100\r\n${value}\r\n`;
        }
        length = 0;
        sentMs = performance.now();
        socket.write(`${batch}*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$1\r\n0\r\n`);
      };
      socket.once('connect', next);
      socket.on('data', bytes => {
        length += bytes.length;
        last = bytes.toString('latin1').slice(-4);
        if (length < sets + 4) return;
        if (last !== ':2\r\n') return reject(new Error(`WAIT answered ${last}`));
        tookMs.push(performance.now() - sentMs);
        next();
      });
      socket.once('error', reject);
    });
  await Promise.all(Array.from({ length: connections }, one));
  const seconds = (performance.now() - startMs) / 1000;
  tookMs.sort((a, b) => a - b);
  const at = (/** @type {number} */ share) => tookMs[Math.floor(tookMs.length * share)] ?? Number.NaN;
  const done = tookMs.length * pipeline;
  process.send?.({ perSecond: done / seconds, p50Ms: at(0.5), p99Ms: at(0.99), commands: done });
  process.disconnect?.();
}
