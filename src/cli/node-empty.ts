/**
 * `ringside node empty`: discards what a spare holds, after having said what that is.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Holdings } from '../supervisor/core/engine.ts';
import { countText } from './amounts.ts';
import { isWanted } from './ask-person.ts';
import { askLeader, type ClusterSource, clusterSource } from './cluster-source.ts';
import { CommandFailure, NOT_NOW } from './failure.ts';
import { nodeStatus } from './node.ts';

const PATIENCE = { answerMs: 8000, patienceMs: 8000 };
const LOOK_EVERY_MS = 100;
/** The leader tries for less than this, whatever the node does. */
const LIMIT_MS = 60_000;

export interface EmptyOptions {
  readonly config: string;
  readonly yes?: boolean;
  readonly acceptLoss?: boolean;
}

interface Answer {
  readonly text: string;
  readonly holds: Holdings;
}

/** Resolves once it holds nothing. */
export async function emptyNode(node: string, options: EmptyOptions): Promise<number> {
  const source = clusterSource(options.config);
  const acceptLoss = options.acceptLoss === true;
  const { holds } = await ask(source, node, { acceptLoss });
  const { runId, databases, libraries, mark } = holds;
  const keys = databases.reduce((sum, one) => sum + one.keys, 0);
  if (keys === 0 && libraries.length === 0 && mark === null) {
    process.stdout.write(`${node} is empty already\n`);
    return 0;
  }
  process.stdout.write(holdingsText(node, holds));
  if (options.yes !== true && !(await isWanted(`empty ${node}? ${lossText(keys)}`))) return NOT_NOW;
  await ask(source, node, { confirmed: { runId, keys }, acceptLoss });
  process.stdout.write(`${node} is empty: ${await awaitEmpty(source, node)}\n`);
  return 0;
}

async function ask(source: ClusterSource, node: string, wish: object): Promise<Answer> {
  return (await askLeader(source, `/v1/nodes/${encodeURIComponent(node)}/empty`, wish, PATIENCE)) as Answer;
}

/** A line for each database, and what else there is. */
export function holdingsText(node: string, { databases, libraries, mark }: Holdings): string {
  const whose =
    mark === null
      ? 'no copy of this cluster, as far as can be told: it carries no mark'
      : `once a copy of shard ${mark.shard}, of epoch ${mark.epoch}`;
  const lines = databases.map(one => `  database ${one.database}: ${keysText(one.keys)}`);
  if (libraries.length > 0) lines.push(`  functions: ${libraries.join(', ')}`);
  if (lines.length === 0) lines.push('  no key');
  return `${node} is a spare, ${whose}; it holds\n${lines.join('\n')}\n`;
}

function lossText(keys: number): string {
  return keys === 0 ? 'No key is lost.' : `What is above (${keysText(keys)}) is lost for good.`;
}

function keysText(keys: number): string {
  return keys === 1 ? '1 key' : `${countText(keys)} keys`;
}

/** What came of it, in words. Throws `CommandFailure` where it was not done. */
async function awaitEmpty(source: ClusterSource, node: string): Promise<string> {
  const endMs = performance.now() + LIMIT_MS;
  for (;;) {
    const status = await nodeStatus(source, node).catch(() => null);
    if (status?.emptying?.step === 'empty') return status.emptying.why;
    if (status?.emptying?.step === 'kept')
      throw new CommandFailure(`${node} was not emptied: ${status.emptying.why}`, NOT_NOW);
    // Who leads now has not heard of the order.
    const isOver = status?.up === true && status.emptying === null;
    if (isOver || performance.now() > endMs)
      throw new CommandFailure(
        `the supervisor that took the order leads no more, or does not answer: say it again to see whether ${node} is empty`,
        NOT_NOW,
      );
    await sleep(LOOK_EVERY_MS);
  }
}
