import { ADMIN_USER, supervisorUser } from '../../topology/credentials.ts';
import type { Call, CallOutcome, Login } from './effect.ts';
import type { Outbox } from './scheduler.ts';

/**
 * Sends calls to nodes, one at a time to each node, so that what a node carries out is in the order of the decisions.
 *
 * A call that ended without an answer may still lie in a socket and be carried out later, even after other commands. So
 * the next call to that node begins with closing every other connection of the same user: what was left in them is lost.
 */
interface Waiting<Asker> {
  readonly asker: Asker;
  readonly call: Call;
  readonly deadlineMs: number;
}

interface Outstanding<Asker> extends Waiting<Asker> {
  readonly id: number;
  /** Replies of commands of the desk's own, in front of the call's. */
  readonly ownReplies: number;
}

interface NodeDesk<Asker> {
  readonly waiting: Waiting<Asker>[];
  outstanding: Outstanding<Asker> | null;
  /** Logins under which a call was left without an answer. */
  readonly unsettled: Set<Login>;
}

/** Whoever carries calls out keeps to their limits; past it by so much, nothing more is expected of it. */
const OVERDUE_MS = 500;

export class CallDesk<Asker> {
  nowMs = 0;
  readonly #term: number;
  readonly #outbox: Outbox;
  readonly #onOutcome: (asker: Asker, outcome: CallOutcome) => void;
  /** A node no longer knows the user of this term. */
  readonly #onShutOut: (nodeId: string) => void;
  readonly #nodes = new Map<string, NodeDesk<Asker>>();

  constructor(
    term: number,
    outbox: Outbox,
    onOutcome: (asker: Asker, outcome: CallOutcome) => void,
    onShutOut: (nodeId: string) => void,
  ) {
    this.#term = term;
    this.#outbox = outbox;
    this.#onOutcome = onOutcome;
    this.#onShutOut = onShutOut;
  }

  ask(asker: Asker, call: Call): void {
    const desk = this.#deskOf(call.nodeId);
    desk.waiting.push({ asker, call, deadlineMs: this.nowMs + call.limitMs });
    this.#sendNext(desk);
  }

  complete(id: number, outcome: CallOutcome): void {
    for (const desk of this.#nodes.values()) {
      const { outstanding } = desk;
      if (outstanding?.id !== id) continue;
      desk.outstanding = null;
      if (!outcome.ok && outcome.why === 'denied' && outstanding.call.as === 'term') {
        this.#onShutOut(outstanding.call.nodeId);
      }
      if (!outcome.ok && outcome.why !== 'denied') desk.unsettled.add(outstanding.call.as);
      if (outcome.ok && outstanding.ownReplies > 0) desk.unsettled.delete(outstanding.call.as);
      this.#answer(
        desk,
        outstanding,
        outcome.ok ? { ok: true, replies: outcome.replies.slice(outstanding.ownReplies) } : outcome,
      );
      return;
    }
  }

  /** Gives up what waits too long behind another call, and what was never answered at all. */
  expire(): void {
    for (const desk of this.#nodes.values()) {
      const late = desk.waiting.filter(one => one.deadlineMs <= this.nowMs);
      for (const one of late) {
        desk.waiting.splice(desk.waiting.indexOf(one), 1);
        this.#onOutcome(one.asker, { ok: false, why: 'silent', text: 'waited behind another command to this node' });
      }
      const { outstanding } = desk;
      if (outstanding === null || outstanding.deadlineMs + OVERDUE_MS > this.nowMs) continue;
      this.complete(outstanding.id, { ok: false, why: 'silent', text: 'no outcome was told' });
    }
  }

  get nextDeadlineMs(): number | null {
    const times = [...this.#nodes.values()].flatMap(desk => desk.waiting.map(one => one.deadlineMs));
    return times.length === 0 ? null : Math.min(...times);
  }

  #answer(desk: NodeDesk<Asker>, { asker }: Outstanding<Asker>, outcome: CallOutcome): void {
    this.#onOutcome(asker, outcome);
    this.#sendNext(desk);
  }

  #sendNext(desk: NodeDesk<Asker>): void {
    if (desk.outstanding !== null) return;
    const next = desk.waiting.shift();
    if (next === undefined) return;
    const own = desk.unsettled.has(next.call.as) ? closeOthers(next.call.as, this.#term) : [];
    const call = { ...next.call, commands: [...own, ...next.call.commands] };
    desk.outstanding = {
      ...next,
      deadlineMs: this.nowMs + next.call.limitMs,
      id: this.#outbox.send(call),
      ownReplies: own.length,
    };
  }

  #deskOf(nodeId: string): NodeDesk<Asker> {
    const known = this.#nodes.get(nodeId);
    if (known !== undefined) return known;
    const desk = { waiting: [], outstanding: null, unsettled: new Set<Login>() };
    this.#nodes.set(nodeId, desk);
    return desk;
  }
}

/** What is asked as the settings say only looks, or makes an admin that is the same each time. */
function closeOthers(as: Login, term: number): string[][] {
  if (as === 'access') return [];
  const user = as === 'admin' ? ADMIN_USER : supervisorUser(term);
  return [['CLIENT', 'KILL', 'USER', user, 'SKIPME', 'yes']];
}
