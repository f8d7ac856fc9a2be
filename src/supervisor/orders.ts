import { z } from 'zod';
import type { Order } from './core/engine.ts';

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
