/** Many processes at once for one directory: the lock of the built program, without any fixture. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

const built = pathToFileURL(join(import.meta.dirname, '../../dist/topology/file-lock.js'));

/** Takes the lock when told to, says so, and holds it until told to end. */
const TAKER = `
  import { once } from 'node:events';
  import { FileLock } from ${JSON.stringify(built.href)};
  console.log('ready');
  await once(process.stdin, 'data');
  try {
    const lock = await FileLock.take(process.argv[1]);
    console.log('taken');
    await once(process.stdin, 'data');
    console.log((await lock.isHeld()) ? 'held' : 'lost');
    await lock.release();
  } catch (error) {
    console.log(error.name);
  }
  process.exit();
`;

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ringside-lock-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

class Taker {
  readonly #child;
  #output = '';

  constructor(path: string) {
    this.#child = spawn(process.execPath, ['--input-type=module', '-e', TAKER, path], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdout.on('data', data => {
      this.#output += data;
    });
    // One that did not get the lock has gone already when all are told to end.
    this.#child.stdin.on('error', () => {});
  }

  tell(): void {
    this.#child.stdin.write('go\n');
  }

  /** Waits for the next line that it says. */
  async line(): Promise<string> {
    while (!this.#output.includes('\n')) await once(this.#child.stdout, 'data');
    const end = this.#output.indexOf('\n');
    const line = this.#output.slice(0, end);
    this.#output = this.#output.slice(end + 1);
    return line;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

test('a stale lock is taken by exactly one of many processes that find it at the same time', async () => {
  for (let round = 0; round < 5; round += 1) {
    // No machine gives a pid above 2^22.
    writeFileSync(
      join(directory, `lock.${10 * round + 1}`),
      JSON.stringify({ pid: 2 ** 22 + 1, startedAt: '5', host: hostname() }),
    );
    const takers = Array.from({ length: 8 }, () => new Taker(directory));
    try {
      for (const taker of takers) expect(await taker.line()).toBe('ready');
      for (const taker of takers) taker.tell();
      const outcomes = await Promise.all(takers.map(taker => taker.line()));
      expect(outcomes.filter(outcome => outcome === 'taken').length).toBe(1);
      expect(outcomes.filter(outcome => outcome === 'LockError').length).toBe(7);
      const holder = takers[outcomes.indexOf('taken')] as Taker;
      holder.tell();
      expect(await holder.line()).toBe('held');
    } finally {
      for (const taker of takers) taker.kill();
    }
  }
  expect(readdirSync(directory)).toEqual(['lock.42']);
});
