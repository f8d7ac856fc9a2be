import { proxyUser } from '../../topology/credentials.ts';
import { deleteUsers, isProxyUser, olderProxies } from './acl.ts';
import { call, note, type Procedure, rest, type Target } from './procedure.ts';
import { clientsOf, failureOf, listOf, replyAt } from './replies.ts';
import type { World } from './world.ts';

/**
 * The fence (R3.3): from here on no proxy that knows an older epoch can have a write confirmed on this primary.
 *
 * Proxies that know the new epoch leave by themselves within milliseconds; the grace is for those, since whoever is
 * fenced in the middle of a write cannot tell what became of it.
 */
export const GRACE_MS = 200;
/** Where nobody's acknowledgement waits for the fence but at most that of a few keys: a proxy may stand still for longer. */
export const LONG_GRACE_MS = 1_000;
const LIMIT_MS = 500;

/** Returns what kept it from being closed; null: the fence stands. */
export function* fence(world: World, primary: Target, epoch: number, graceMs: number): Procedure<string | null> {
  const beganMs = world.nowMs;
  for (;;) {
    const seen = yield* call(
      primary,
      [
        ['CLIENT', 'LIST'],
        ['ACL', 'USERS'],
      ],
      LIMIT_MS,
    );
    const [clients, users] = [clientsOf(replyAt(seen, 0)), listOf(replyAt(seen, 1))];
    if (clients === null || users === null) return failureOf(seen) ?? 'it lists no clients';
    const older = olderProxies(users, epoch);
    const left = clients.filter(({ user }) => isProxyUser(user) && user !== proxyUser(epoch));
    if (left.length === 0 || world.nowMs - beganMs >= graceMs) {
      // What is in flight on them answers -UNCERTAIN: a person who sees that finds here why.
      if (left.length > 0 && older.length > 0)
        yield* note('warn', 'fence', `cut off: ${left.length} connections of proxies that have not left in time`, {
          nodeId: primary.nodeId,
        });
      return older.length === 0 ? null : failureOf(yield* call(primary, deleteUsers(older), LIMIT_MS));
    }
    yield* rest(5);
  }
}
