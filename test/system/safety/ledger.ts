/**
 * What writers have asked for and been told, and whether what the copies hold agrees with it.
 *
 * Nothing here talks to anybody: the judgement is a function of the record and of the keys that were found.
 */

/**
 * `acknowledged`: the client was told that it is done. `uncertain`: it was told that nobody knows, or its connection
 * broke. `refused`: it was told that nothing was done.
 */
export type Outcome = 'acknowledged' | 'uncertain' | 'refused';

export type Write =
  /** Sets keys that nobody else ever sets, all of them or none. */
  | { readonly kind: 'put'; readonly keys: readonly string[]; readonly value: string }
  /** Sets keys that nobody else ever sets; some of them may be set without the others. */
  | { readonly kind: 'putEach'; readonly keys: readonly string[]; readonly value: string }
  /** Deletes a key that its writer has put, and that nobody sets again. */
  | { readonly kind: 'remove'; readonly key: string }
  /** Sets a key that nobody else ever sets, for so short a time that it must be gone when the record is judged. */
  | { readonly kind: 'brief'; readonly key: string }
  /** Sets a key that its writer sets again and again, one at a time, to a number that grows. */
  | { readonly kind: 'overwrite'; readonly key: string; readonly value: number }
  /** Adds one; `sum` is what was answered. */
  | { readonly kind: 'increment'; readonly key: string; readonly sum: number | null }
  /** Adds an element, which nobody else ever adds, to a list. */
  | { readonly kind: 'push'; readonly key: string; readonly value: string }
  /** Takes an element from a list; `value` is the one that was answered, null when there was none. */
  | { readonly kind: 'take'; readonly key: string; readonly value: string | null };

export interface Entry {
  readonly write: Write;
  readonly outcome: Outcome;
}

/** Of the keys that were found: their values as strings; of lists their elements. */
export type Found = ReadonlyMap<string, string | readonly string[]>;

export class Ledger {
  readonly entries: Entry[] = [];
  /** How many commands were answered with an error, or not at all, by the first word of it. */
  readonly errors = new Map<string, number>();

  /** Answers that no Redis gives to such a command, in words. */
  readonly strange: string[] = [];

  add(write: Write, outcome: Outcome): void {
    this.entries.push({ write, outcome });
  }

  /** The first of them in full, each with the time (milliseconds since 1970). */
  readonly firstErrors: string[] = [];

  countError(code: string, text = ''): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
    if (this.firstErrors.length < 10) this.firstErrors.push(`${Date.now()} ${text}`);
  }

  count(outcome: Outcome): number {
    return this.entries.filter(entry => entry.outcome === outcome).length;
  }

  /** One line: how many of each outcome, and the errors by kind. */
  summary(): string {
    const outcomes = (['acknowledged', 'uncertain', 'refused'] as const).map(one => `${this.count(one)} ${one}`);
    const errors = [...this.errors].map(([code, count]) => `${code} ${count}`);
    return `${outcomes.join(', ')}${errors.length === 0 ? '' : ` (${errors.join(', ')})`}`;
  }
}

/** Every disagreement in words; none: no acknowledged write is lost, nothing refused was done, nothing happened twice. */
export function judge(entries: readonly Entry[], found: Found): string[] {
  const problems: string[] = [];
  const counters = new Map<string, Entry[]>();
  const lists = new Map<string, Entry[]>();
  const overwritten = new Map<string, Entry[]>();
  const removed = new Map<string, Outcome>();
  for (const { write, outcome } of entries) if (write.kind === 'remove') removed.set(write.key, outcome);
  for (const entry of entries) {
    const { write } = entry;
    const [key = ''] = write.kind === 'put' ? write.keys : [];
    const removal = removed.get(key);
    if (write.kind === 'put' && removal !== undefined && removal !== 'refused')
      problems.push(...judgeRemoved(key, write.value, removal, found));
    else if (write.kind === 'put') problems.push(...judgePut(write, entry.outcome, found));
    else if (write.kind === 'remove') continue;
    else if (write.kind === 'brief') problems.push(...judgeBrief(write.key, found));
    else if (write.kind === 'putEach')
      for (const key of write.keys) problems.push(...judgePut({ ...write, keys: [key] }, entry.outcome, found));
    else if (write.kind === 'increment') group(counters, write.key).push(entry);
    else if (write.kind === 'overwrite') group(overwritten, write.key).push(entry);
    else group(lists, write.key).push(entry);
  }
  for (const [key, own] of overwritten) problems.push(...judgeOverwrites(key, own, found.get(key)));
  for (const [key, own] of counters) problems.push(...judgeCounter(key, own, found.get(key)));
  for (const [key, own] of lists) problems.push(...judgeList(key, own, found.get(key)));
  return problems;
}

function group(groups: Map<string, Entry[]>, key: string): Entry[] {
  const there = groups.get(key);
  if (there !== undefined) return there;
  const fresh: Entry[] = [];
  groups.set(key, fresh);
  return fresh;
}

function judgePut(
  { keys, value }: { keys: readonly string[]; value: string },
  outcome: Outcome,
  found: Found,
): string[] {
  const there = keys.filter(key => found.get(key) === value);
  const strange = keys.filter(key => found.has(key) && found.get(key) !== value);
  const name = keys.join(' and ');
  if (strange.length > 0) return [`${strange.join(', ')} holds what nobody wrote: ${found.get(strange[0] as string)}`];
  if (there.length !== 0 && there.length !== keys.length) return [`of ${name} only ${there.join(', ')} is there`];
  if (outcome === 'acknowledged' && there.length === 0) return [`lost: ${name} was acknowledged and is not there`];
  if (outcome === 'refused' && there.length > 0) return [`${name} was refused and is there all the same`];
  return [];
}

function judgeRemoved(key: string, value: string, removal: 'acknowledged' | 'uncertain', found: Found): string[] {
  const there = found.get(key);
  if (there === undefined) return [];
  if (there !== value) return [`${key} holds what nobody wrote: ${there}`];
  return removal === 'acknowledged' ? [`come back: ${key} was deleted, and is there`] : [];
}

function judgeBrief(key: string, found: Found): string[] {
  return found.has(key) ? [`outlived: ${key} is there, long after it was to expire`] : [];
}

function judgeOverwrites(
  key: string,
  entries: readonly Entry[],
  value: string | readonly string[] | undefined,
): string[] {
  const last = entries.findLastIndex(({ outcome }) => outcome === 'acknowledged');
  const allowed = new Set<string | undefined>(last < 0 ? [undefined] : []);
  for (const { write, outcome } of entries.slice(Math.max(last, 0)))
    if (write.kind === 'overwrite' && outcome !== 'refused') allowed.add(`${write.value}`);
  return typeof value !== 'object' && allowed.has(value)
    ? []
    : [`lost: ${key} is ${value ?? 'absent'}, of what its writer set only ${[...allowed].join(', ')} may be there`];
}

function judgeCounter(key: string, entries: readonly Entry[], value: string | readonly string[] | undefined): string[] {
  const problems: string[] = [];
  const acknowledged = entries.filter(({ outcome }) => outcome === 'acknowledged');
  const uncertain = entries.filter(({ outcome }) => outcome === 'uncertain').length;
  const sums = acknowledged.flatMap(({ write }) =>
    write.kind === 'increment' && write.sum !== null ? [write.sum] : [],
  );
  const total = Number(value ?? 0);
  const most = acknowledged.length + uncertain;
  if (total < acknowledged.length) problems.push(`lost: ${key} is ${total}, ${acknowledged.length} were acknowledged`);
  if (total > most) problems.push(`${key} is ${total}: more than the ${most} that were acknowledged or uncertain`);
  if (new Set(sums).size !== sums.length) problems.push(`lost: ${key} gave a sum twice: ${firstDouble(sums)}`);
  if (sums.some(sum => sum > total)) problems.push(`lost: ${key} is ${total}, and ${Math.max(...sums)} was answered`);
  return problems;
}

function judgeList(key: string, entries: readonly Entry[], value: string | readonly string[] | undefined): string[] {
  const problems: string[] = [];
  const elements = typeof value === 'object' ? value : [];
  const pushed = new Map<string, Outcome>();
  const taken: string[] = [];
  let uncertainTakes = 0;
  for (const { write, outcome } of entries) {
    if (write.kind === 'push') pushed.set(write.value, outcome);
    else if (write.kind === 'take' && outcome === 'uncertain') uncertainTakes += 1;
    else if (write.kind === 'take' && write.value !== null) taken.push(write.value);
  }
  const all = [...elements, ...taken];
  if (new Set(all).size !== all.length)
    problems.push(`${key} has, or has given, an element twice: ${firstDouble(all)}`);
  for (const element of all) {
    const outcome = pushed.get(element);
    if (outcome === undefined) problems.push(`${key} holds ${element}, which nobody pushed`);
    if (outcome === 'refused') problems.push(`${key} holds ${element}, which was refused`);
  }
  const known = new Set(all);
  const missing = [...pushed].filter(([element, outcome]) => outcome === 'acknowledged' && !known.has(element));
  if (missing.length > uncertainTakes)
    problems.push(
      `lost: of ${key} ${missing.length} acknowledged elements are gone, such as ${missing[0]?.[0]}; uncertain takes: ${uncertainTakes}`,
    );
  return problems;
}

function firstDouble<T>(items: readonly T[]): T | undefined {
  const seen = new Set<T>();
  return items.find(item => seen.has(item) || !seen.add(item));
}
