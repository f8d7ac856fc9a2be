import { NodeCalls } from './act.ts';
import type { Holdings, OrderAnswer } from './core/engine.ts';
import { askHoldings, foundOf } from './core/holdings.ts';
import type { Sight } from './leading.ts';
import type { EmptyWish } from './orders.ts';
import { type PlanParts, settledSight } from './planner.ts';

/**
 * Orders to empty a spare, as the leader takes them: the node is asked what it holds, and the deciding half judges it.
 */
export interface EmptyAnswer extends OrderAnswer {
  /** What there was when it was accepted. */
  readonly holds?: Holdings;
}

const LOOK_MS = 1000;

/** Null: the leadership has ended meanwhile. Never rejects but for mistakes of this program. */
export async function emptySpare(parts: PlanParts, node: string, wish: EmptyWish): Promise<EmptyAnswer | null> {
  const { leading } = parts;
  // A leader that has just begun would refuse for what it has not heard yet.
  const sight = await settledSight(leading, parts.clock);
  const order = (holds: Holdings | null): OrderAnswer | null =>
    leading.order({ kind: 'empty', node, holds, confirmed: wish.confirmed, acceptLoss: wish.acceptLoss });
  const first = order(null);
  if (first === null || !first.accepted) return first;
  const holds = await lookInto(parts, sight, node);
  if (typeof holds === 'string') return leading.isStopped ? null : { accepted: false, text: holds };
  const answer = order(holds);
  return answer?.accepted === true ? { ...answer, holds } : answer;
}

/** What a spare says that it holds; a text: why it does not. */
async function lookInto({ config }: PlanParts, sight: Sight, nodeId: string): Promise<Holdings | string> {
  const { topology, knowledge, identity } = sight;
  const known = knowledge.engine.nodes.find(({ id }) => id === nodeId);
  const runId = known?.report?.runId;
  if (known === undefined || runId === undefined) return `nothing was heard of ${nodeId} yet: try again in a moment`;
  const address = topology.nodes.find(({ id }) => id === nodeId) ?? null;
  // By a connection of its own: one that is given up would take along what the deciding half has asked.
  const calls = new NodeCalls(identity, config.nodeAccess.tls, () => address);
  try {
    const as = known.ready ? 'term' : 'access';
    const outcome = await calls.perform({
      ...{ kind: 'call', nodeId, runId, as, commands: askHoldings, limitMs: LOOK_MS },
    });
    const found = foundOf(outcome);
    if (found !== null) return found.holdings;
    return `${nodeId} does not say what it holds${outcome.ok ? '' : `: ${outcome.text}`}`;
  } finally {
    calls.close();
  }
}
