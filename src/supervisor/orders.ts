import { z } from 'zod';
import type { Confirmed, Order } from './core/engine.ts';
import type { Leave } from './planner.ts';

/**
 * A person's orders as they come over HTTP, read and checked; what becomes of them the deciding half says.
 */
export interface OrderMistake {
  /** HTTP status. */
  readonly status: 400 | 404;
  readonly error: string;
}

const switchover = z.strictObject({ to: z.string().min(1).nullable().default(null) });
const recover = z.strictObject({ acceptLoss: z.literal(true) });

/** `word`: the last part of the path. An empty body counts as `{}`. */
export function readOrder(shard: string, word: string, body: unknown): Order | OrderMistake {
  if (word === 'switchover') {
    const read = switchover.safeParse(body ?? {});
    if (read.success) return { kind: 'switchover', shard, to: read.data.to };
    return { status: 400, error: 'expected { "to": NODE }, or nothing for whichever copy is best' };
  }
  if (word === 'recover') {
    const read = recover.safeParse(body ?? {});
    if (read.success) return { kind: 'recover', shard, acceptLoss: true };
    return {
      status: 400,
      error: 'expected { "acceptLoss": true }: what only missing nodes hold is given up, and that must be said',
    };
  }
  return { status: 404, error: `there is no order ${word}; there are switchover and recover` };
}

const nothing = z.strictObject({});
const resume = z.strictObject({ allowStalls: z.boolean().default(false) });
const throttle = z.strictObject({ keysPerSecond: z.int().min(1).max(10_000_000).nullable() });

/** About the move that is on. `word`: the last part of the path. */
export function readMoveOrder(word: string, body: unknown): Order | OrderMistake {
  const order = { kind: 'move', keysPerSecond: null } as const;
  if (word === 'pause' || word === 'abort') {
    if (nothing.safeParse(body ?? {}).success) return { ...order, what: word };
    return { status: 400, error: `expected nothing, ${word} takes no words` };
  }
  if (word === 'resume') {
    const read = resume.safeParse(body ?? {});
    if (read.success) return { ...order, what: 'resume', allowStalls: read.data.allowStalls };
    return { status: 400, error: 'expected { "allowStalls": true }, or nothing' };
  }
  if (word === 'throttle') {
    const read = throttle.safeParse(body ?? {});
    if (read.success) return { kind: 'move', what: 'throttle', keysPerSecond: read.data.keysPerSecond };
    return {
      status: 400,
      error: 'expected { "keysPerSecond": N }, from 1 to 10000000, or null for what the settings say',
    };
  }
  return { status: 404, error: `there is no order ${word} for a move; there are pause, resume, throttle and abort` };
}

const drain = z.strictObject({
  to: z.string().min(1).nullable().default(null),
  zone: z.string().min(1).nullable().default(null),
});

/** What a person says of a spare that is to be emptied. */
export interface EmptyWish {
  /** What was shown and is given up; null: it is only asked what there is. */
  readonly confirmed: Confirmed | null;
  readonly acceptLoss: boolean;
}

const empty = z.strictObject({
  confirmed: z
    .strictObject({ runId: z.string().min(1), keys: z.int().min(0) })
    .nullable()
    .default(null),
  acceptLoss: z.boolean().default(false),
});

export function readEmptyWish(body: unknown): EmptyWish | OrderMistake {
  const read = empty.safeParse(body ?? {});
  if (read.success) return read.data;
  return {
    status: 400,
    error: 'expected { "confirmed": { "runId", "keys" } as they were shown, "acceptLoss": true or false }, or nothing',
  };
}

/** About one node's place. */
export function readNodeOrder(node: string, word: string, body: unknown): Order | OrderMistake {
  if (word === 'drain') {
    const read = drain.safeParse(body ?? {});
    if (read.success) return { kind: 'drain', node, ...read.data };
    return { status: 400, error: 'expected { "to": NODE }, { "zone": ZONE }, or nothing' };
  }
  if (word === 'undrain') {
    if (nothing.safeParse(body ?? {}).success) return { kind: 'undrain', node };
    return { status: 400, error: 'expected nothing, undrain takes no words' };
  }
  return { status: 404, error: `there is no order ${word} for a node; there are drain, undrain and empty` };
}

const leave = z.looseObject({ basis: z.string().min(1), allowStalls: z.boolean().default(false) });

/** What a person accepts with `apply`. */
export function readLeave(body: unknown): Leave | OrderMistake {
  const read = leave.safeParse(body);
  if (read.success) return { basis: read.data.basis, allowStalls: read.data.allowStalls };
  return {
    status: 400,
    error: 'expected { "proposal": …, "basis": what the plan has told, "allowStalls": true or false }',
  };
}
