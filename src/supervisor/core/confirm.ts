import type { CallOutcome, Reply } from './effect.ts';
import { call, callBinary, type Procedure, type Target } from './procedure.ts';
import { failureOf, isFailure, replyAt } from './replies.ts';
import { shardOf, type World } from './world.ts';

/**
 * R1 for what the supervisor writes itself: it counts when every in-sync copy of the shard has it.
 *
 * The word moves the primary's offset past everything that was executed before it, on whatever connection. A count is
 * judged by what was required when it was asked, and only if the epoch is still the same after it and nobody was joining.
 */
export type Confirmed =
  | { readonly ok: true; readonly replies: readonly Reply[] }
  | { readonly ok: false; readonly why: string };

const WORD = ['SPUBLISH', 'ringside:barrier', ''];
/** Other procedures wait behind this on the node: rather often than long. */
const WAIT_MS = 100;
/** Then they are asked once more, for what delays a replica's answer in its kernel (see `proxy/barrier-link`). */
const FIRST_WAIT_MS = 5;
const TRIES = 10;
const LIMIT_MS = 1000;

/**
 * Sends commands to a shard's primary, then waits until all in-sync copies have what they wrote, and all that was written
 * before. With no commands: until they have that. An error reply of a command is for the caller to read.
 */
export function* confirm(
  world: World,
  shardName: string,
  target: Target,
  commands: readonly (readonly string[])[],
  limitMs: number = LIMIT_MS,
): Procedure<Confirmed> {
  const { epoch } = shardOf(world, shardName);
  let replies: readonly Reply[] = [];
  for (let tried = 0; tried < TRIES; tried++) {
    const why = whyNot(world, shardName, target, epoch);
    if (why !== null) return { ok: false, why };
    const required = shardOf(world, shardName).inSync.length;
    // Each wait has a word of its own: on another connection than the last one it would wait for nothing.
    const wait: readonly (readonly string[])[] = required === 0 ? [] : [WORD, ...waitsFor(required)];
    const first = tried === 0 ? commands : [];
    if (first.length + wait.length === 0) return { ok: true, replies };
    const outcome: CallOutcome = yield* callBinary(target, [...first, ...wait], limitMs + WAIT_MS);
    if (!outcome.ok) return { ok: false, why: `${target.nodeId}: ${failureOf(outcome)}` };
    if (tried === 0) replies = outcome.replies.slice(0, commands.length);
    const changed = whyNot(world, shardName, target, epoch);
    if (changed !== null) return { ok: false, why: changed };
    if (required === 0) return { ok: true, replies };
    const count = replyAt(outcome, -1);
    if (isFailure(count)) return { ok: false, why: `${target.nodeId}: ${count.error}` };
    if (typeof count === 'number' && count >= required) return { ok: true, replies };
  }
  return { ok: false, why: `not every copy of ${shardName} follows in time` };
}

function waitsFor(required: number): string[][] {
  return [FIRST_WAIT_MS, WAIT_MS - FIRST_WAIT_MS].map(waitMs => ['WAIT', String(required), String(waitMs)]);
}

function whyNot(world: World, shardName: string, { nodeId, runId }: Target, epoch: number): string | null {
  const shard = shardOf(world, shardName);
  const recorded = world.topology.nodes.find(({ id }) => id === nodeId)?.runId;
  if (shard.epoch !== epoch || shard.primary !== nodeId || recorded !== runId) return `${shardName} has changed`;
  return shard.joining === null ? null : `${shard.joining} is just joining ${shardName}`;
}

/** Whether a node answers as a primary; null: it does. */
export function* whyNoPrimary(target: Target, limitMs: number): Procedure<string | null> {
  const seen = yield* call(target, [['ROLE']], limitMs);
  const role = replyAt(seen, 0);
  if (!Array.isArray(role)) return `${target.nodeId}: ${failureOf(seen) ?? 'it does not say its role'}`;
  return role[0] === 'master' ? null : `${target.nodeId} is no primary any more`;
}
