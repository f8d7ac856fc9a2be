/**
 * `ringside node`: has a node freed, so that it may be stopped, or its copy moved to another; and takes that back.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterStatus, NodeStatus } from '../supervisor/status.ts';
import { askLeader, askSupervisors, type ClusterSource, clusterSource } from './cluster-source.ts';
import { CommandFailure, NOT_NOW, USAGE } from './failure.ts';

const LOOK_EVERY_MS = 200;
const PATIENCE = { answerMs: 5000, patienceMs: 8000 };
/** A supervisor that is replaced is back well within this time. */
const SILENCE_MS = 60_000;
/** What was ordered is published within this time, as long as the leader stays the same. */
const BEGIN_MS = 3000;
/** What a person must do for so long, nobody else is about to do. */
const SURE_MS = 1000;

export interface Destination {
  readonly to: string | null;
  readonly zone: string | null;
}

/** Resolves once the node is free; with `wait: false` once the order was taken. */
export async function drainNode(
  node: string,
  destination: Destination,
  options: { config: string; wait?: boolean },
): Promise<number> {
  const source = clusterSource(options.config);
  process.stdout.write(`${await orderNode(source, node, 'drain', destination)}\n`);
  if (options.wait === false) return 0;
  await awaitFree(source, node);
  process.stdout.write(`${node} is free: it may be stopped\n`);
  return 0;
}

/** As `drainNode`, with a place for the copy that has to be named. */
export async function replaceNode(
  node: string,
  options: { config: string; with?: string; zone?: string; wait?: boolean },
): Promise<number> {
  const destination = { to: options.with ?? null, zone: options.zone ?? null };
  if (destination.to === null && destination.zone === null)
    throw new CommandFailure('say where its copy is to go: --with NODE, or --zone ZONE', USAGE);
  return drainNode(node, destination, options);
}

export async function undrainNode(node: string, options: { config: string }): Promise<number> {
  process.stdout.write(`${await orderNode(clusterSource(options.config), node, 'undrain', {})}\n`);
  return 0;
}

async function orderNode(source: ClusterSource, node: string, word: string, body: object): Promise<string> {
  const path = `/v1/nodes/${encodeURIComponent(node)}/${word}`;
  const answer = (await askLeader(source, path, body, PATIENCE)) as { text?: string };
  return answer.text ?? 'accepted';
}

/** Prints each new step. Throws `CommandFailure` where a person must help; the order stands all the same. */
async function awaitFree(source: ClusterSource, node: string): Promise<void> {
  const beganMs = performance.now();
  let heardMs = beganMs;
  let told = '';
  let needsSinceMs = Number.POSITIVE_INFINITY;
  for (;;) {
    await sleep(LOOK_EVERY_MS);
    const found = await nodeStatus(source, node).catch((error: Error) => error);
    const nowMs = performance.now();
    if (found instanceof Error) {
      if (nowMs - heardMs > SILENCE_MS) throw found;
      continue;
    }
    // Only a leader tells; between two there is nothing to be heard.
    if (found.drain === null && found.draining && nowMs - heardMs <= SILENCE_MS) continue;
    heardMs = nowMs;
    if (found.drain === null) {
      if (nowMs - beganMs < BEGIN_MS) continue;
      throw new CommandFailure(
        `${node} is not being drained: either it was undrained, or the supervisor that took the order leads no more; ringside events tells`,
        NOT_NOW,
      );
    }
    const { step, why, needs } = found.drain;
    if (step === 'free') return;
    const line = `${node} ${step}: ${why}`;
    if (withoutNumbers(line) !== withoutNumbers(told)) process.stdout.write(`${line}\n`);
    told = line;
    if (needs === null) needsSinceMs = Number.POSITIVE_INFINITY;
    else needsSinceMs = Math.min(needsSinceMs, nowMs);
    if (nowMs - needsSinceMs >= SURE_MS) throw new CommandFailure(`${node} waits: ${needs}`, NOT_NOW);
  }
}

/** Some reasons count milliseconds. */
function withoutNumbers(text: string): string {
  return text.replace(/\b\d+ ms\b/g, '');
}

/** As the leader sees it. Throws `CommandFailure` when there is none of this name, or nobody answers. */
export async function nodeStatus(source: ClusterSource, id: string): Promise<NodeStatus> {
  const { shards, spares } = (await askSupervisors(source, '/v1/status')).body as ClusterStatus;
  const found = [...shards.flatMap(shard => shard.nodes), ...spares].find(node => node.id === id);
  if (found !== undefined) return found;
  throw new CommandFailure(`there is no node ${id}`, USAGE);
}
