/**
 * `ringside move`: how far keys have been moved, and orders about it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterStatus, MoveStatus } from '../supervisor/status.ts';
import { bytesText, countText, timeText } from './amounts.ts';
import { askLeader, askSupervisors, type ClusterSource, clusterSource } from './cluster-source.ts';
import { CommandFailure, NOT_NOW, tellFailure, USAGE } from './failure.ts';

const WATCH_EVERY_MS = 500;
const PATIENCE = { answerMs: 5000, patienceMs: 8000 };
const BAR = 30;

export async function moveStatus(options: {
  config: string;
  json?: boolean;
  watch?: boolean;
  wait?: boolean;
}): Promise<number> {
  const source = clusterSource(options.config);
  if (options.wait === true) return waitForMove(source);
  const print = async (): Promise<void> => {
    const { move } = await statusOf(source);
    if (options.json === true) process.stdout.write(`${JSON.stringify(move)}\n`);
    else process.stdout.write(move === null ? 'no keys are being moved\n' : moveText(move));
  };
  if (options.watch !== true) {
    await print();
    return 0;
  }
  for (;;) {
    if (process.stdout.isTTY && options.json !== true) process.stdout.write('\x1b[H\x1b[2J');
    await print().catch(tellFailure);
    await sleep(WATCH_EVERY_MS);
  }
}

/** Resolves once no move is on; prints each new state meanwhile. Exit status 1 where it waits for a person. */
export async function waitForMove(source: ClusterSource): Promise<number> {
  let told = '';
  for (let failures = 0; ; ) {
    const status = await statusOf(source).catch((error: Error) => error);
    if (status instanceof Error) {
      // Between two terms, or two leaders.
      failures += 1;
      if (failures * WATCH_EVERY_MS > 60_000) throw status;
    } else {
      failures = 0;
      const { move } = status;
      if (move === null) {
        process.stdout.write('done: no keys are being moved any more\n');
        return 0;
      }
      const line = progressLine(move);
      if (line !== told) process.stdout.write(`${line}\n`);
      told = line;
      if (move.needs !== null) throw new CommandFailure(move.needs, NOT_NOW);
      if (move.paused !== null) throw new CommandFailure(`the move is paused: ${move.paused}`, NOT_NOW);
    }
    await sleep(WATCH_EVERY_MS);
  }
}

/** An order about the move; `limit`: keys a second for `throttle`, or `off`. */
export async function moveOrder(
  what: 'pause' | 'resume' | 'abort' | 'throttle',
  options: { config: string; allowStalls?: boolean; limit?: string },
): Promise<number> {
  const source = clusterSource(options.config);
  const answer = (await askLeader(source, `/v1/move/${what}`, bodyOf(what, options), PATIENCE)) as { text?: string };
  process.stdout.write(`${answer.text ?? 'accepted'}\n`);
  return 0;
}

function bodyOf(what: string, { allowStalls, limit }: { allowStalls?: boolean; limit?: string }): object {
  if (what === 'resume') return { allowStalls: allowStalls === true };
  if (what !== 'throttle') return {};
  if (limit === 'off') return { keysPerSecond: null };
  if (/^[1-9]\d{0,7}$/.test(limit ?? '')) return { keysPerSecond: Number(limit) };
  throw new CommandFailure(`throttle ${limit}: expected keys a second from 1 to 10000000, or off`, USAGE);
}

async function statusOf(source: ClusterSource): Promise<ClusterStatus> {
  return (await askSupervisors(source, '/v1/status')).body as ClusterStatus;
}

/** Several lines: what is going on, how far, how fast, and what is in the way. */
export function moveText(move: MoveStatus): string {
  const { phase, why, keysPerSecond, mostKeysPerSecond, addedLatencyMs, mostAddedLatencyMs, bytesMoved } = move;
  const lines = [`${progressLine(move)}`, `${phase}: ${why}`];
  if (phase !== 'unknown') {
    const added = addedLatencyMs === null ? 'not measured yet' : `${addedLatencyMs.toFixed(1)} ms`;
    lines.push(
      `pace     ${countText(keysPerSecond)} keys a second, at most ${countText(mostKeysPerSecond)}; ${bytesText(bytesMoved)} so far`,
      `latency  added to the giver's answers: ${added}, at most ${mostAddedLatencyMs} ms`,
    );
  }
  for (const { shard, database, key, bytes, stallMs } of move.largeKeys)
    lines.push(
      `large    ${shard}, database ${database}: ${key} (${bytesText(bytes)}, about ${Math.round(stallMs)} ms)`,
    );
  if (move.evicted > 0)
    lines.push(
      `evicted  ${countText(move.evicted)} keys, since the set of pulled keys had been evicted (maxmemory-policy)`,
    );
  if (move.paused !== null)
    lines.push(`PAUSED   ${move.paused}; go on with \`ringside move resume\`, or back with \`ringside move abort\``);
  if (move.needs !== null) lines.push(`NEEDS YOU  ${move.needs}`);
  return `${lines.join('\n')}\n`;
}

/** One line, as wide as a terminal. */
export function progressLine(move: MoveStatus): string {
  const { portion, portions, keysMoved, keysInAll, giver, taker, leftMs, aborting, paused } = move;
  const part = keysInAll === 0 ? (portions === 0 ? 1 : portion / portions) : Math.min(1, keysMoved / keysInAll);
  const filled = Math.floor(BAR * part);
  const bar = `[${'#'.repeat(filled)}${'.'.repeat(BAR - filled)}]`;
  const way = giver === null || taker === null ? '' : ` ${giver} -> ${taker}`;
  const left = paused !== null ? ', paused' : leftMs === null ? '' : `, about ${timeText(leftMs)} left`;
  const keys = `${countText(keysMoved)} of about ${countText(keysInAll)} keys`;
  const back = aborting ? 'going back: ' : '';
  return `${back}${bar} ${Math.floor(100 * part)} %, portion ${Math.min(portion, portions)} of ${portions}${way}, ${keys}${left}`;
}
