/**
 * `ringside plan` and `ringside apply`: what a change of shards would move, and its beginning.
 */
import type { MovePlan } from '../supervisor/plan.ts';
import { bytesText, countText, shareText, timeText } from './amounts.ts';
import { isWanted } from './ask-person.ts';
import { askLeader } from './cluster-source.ts';
import { columns } from './columns.ts';
import { CommandFailure, NOT_NOW } from './failure.ts';
import { waitForMove } from './move.ts';
import { type Proposed, propose, settingsHint, type Wish } from './proposals.ts';
import { saveWish } from './settings-edit.ts';

/** The leader looks at nodes and keys first; and between two terms it is not there for a moment. */
const PATIENCE = { answerMs: 15_000, patienceMs: 8000 };

export interface ApplyOptions {
  readonly config: string;
  readonly yes?: boolean;
  readonly allowStalls?: boolean;
  readonly wait?: boolean;
  readonly save?: boolean;
}

/** Exit status 1 where it could not be done. */
export async function plan(wish: Wish, options: { config: string; json?: boolean }): Promise<number> {
  const proposed = await propose(wish, options.config);
  const made = await ask(proposed);
  process.stdout.write(options.json === true ? `${JSON.stringify(made)}\n` : planText(made, proposed));
  if (made.refused.length > 0) return NOT_NOW;
  if (options.json !== true && !made.isEmpty) process.stdout.write('\n`ringside apply` with the same words does it.\n');
  return 0;
}

/** Resolves once the move has begun, or with `--wait` once it is over. */
export async function apply(wish: Wish, options: ApplyOptions): Promise<number> {
  const proposed = await propose(wish, options.config);
  const made = await ask(proposed);
  process.stdout.write(planText(made, proposed));
  if (made.refused.length > 0) return NOT_NOW;
  if (made.isEmpty) return 0;
  const allowStalls = options.allowStalls === true;
  if (!allowStalls && made.largeKeys.some(({ needsLeave }) => needsLeave))
    throw new CommandFailure(
      'large keys would hold their shards up, as above: accept that with --allow-stalls',
      NOT_NOW,
    );
  if (options.yes !== true && !(await isWanted('apply?'))) return NOT_NOW;
  const body = { proposal: proposed.proposal, basis: made.basis, allowStalls };
  await askLeader(proposed.source, '/v1/apply', body, { ...PATIENCE, answerMs: 30_000 });
  process.stdout.write(`\nbegun: ${made.summary}\n`);
  const hint = keepInSettings(wish, made.shardsAdded[0]?.nodes ?? [], options);
  if (hint !== null) process.stdout.write(`${hint}\n`);
  if (made.flows.length === 0) return 0;
  if (options.wait === true) return waitForMove(proposed.source);
  process.stdout.write('`ringside move` shows how far it is.\n');
  return 0;
}

/** What the person is to do, or what was done, so that the settings say what is in force; null: they do. */
function keepInSettings(wish: Wish, nodes: readonly string[], { config, save }: ApplyOptions): string | null {
  if (wish.kind === 'file') return null;
  if (save === true && saveWish(config, wish, nodes)) return `written into ${config}`;
  return `so that ${config} says the same: ${settingsHint(wish, nodes)}`;
}

async function ask({ source, proposal }: Proposed): Promise<MovePlan> {
  return (await askLeader(source, '/v1/plan', { proposal }, PATIENCE)) as MovePlan;
}

/** The plan for a person: what changes, what moves, what it takes, what is in the way. */
export function planText(plan: MovePlan, { topology }: Pick<Proposed, 'topology'>): string {
  const head = `cluster ${topology.cluster}, against topology ${topology.version}: ${plan.summary}\n`;
  const parts = [changeLines(plan), flowLines(plan), needLines(plan), troubleLines(plan)];
  return head + parts.flatMap(lines => (lines.length === 0 ? [] : [`\n${lines.join('\n')}\n`])).join('');
}

function changeLines({ shardsAdded, shardsRemoved, weights, ring, nodeChanges }: MovePlan): string[] {
  return [
    ...shardsAdded.map(({ name, weight, nodes }) => `shard ${name} comes, weight ${weight}, on ${nodes.join(', ')}`),
    ...shardsRemoved.map(({ name, nodes }) => `shard ${name} goes; ${nodes.join(', ')} will be free`),
    ...weights.map(({ shard, before, after }) => `shard ${shard} has weight ${after}, was ${before}`),
    ...(ring === null ? [] : [`the ring is ${ringText(ring.after)}, was ${ringText(ring.before)}`]),
    ...nodeChanges.map(change => `${change} (no key moves for that)`),
  ];
}

type PlannedRing = NonNullable<MovePlan['ring']>['after'];

function ringText(ring: PlannedRing): string {
  const tag = ring.hashTag === '' ? 'no hash tag' : `hash tag ${ring.hashTag}`;
  if (ring.kind === 'murmur3') return `murmur3, ${ring.vnodes} vnodes, ${tag}`;
  return `as twemproxy's, ${ring.hash}, ${ring.distribution}, ${tag}`;
}

function flowLines(plan: MovePlan): string[] {
  const { flows, share, keys, bytes, keysInAll, portions, keysPerSecond, durationMs, isExact, sampled } = plan;
  if (flows.length === 0) return [];
  const rows = flows.map(flow => [
    ...[flow.source, flow.target, shareText(flow.share), `~${countText(flow.keys)}`],
    ...[`~${bytesText(flow.bytes)}`, String(flow.portions)],
  ]);
  const table = columns([['FROM', 'TO', 'OF ALL', 'KEYS', 'BYTES', 'PORTIONS'], ...rows]).trimEnd();
  const part = `${isExact ? '' : 'about '}${shareText(share)} of the keys`;
  const amount = `about ${countText(keys)} of ${countText(keysInAll)} (${bytesText(bytes)})`;
  const time = `about ${timeText(durationMs)}, at most ${countText(keysPerSecond)} keys a second`;
  return [
    table,
    '',
    `${part} move: ${amount}, in ${portions} ${portions === 1 ? 'portion' : 'portions'}; ${time}, or longer where answers would get slow`,
    `(numbers of keys and bytes are estimated from ${countText(sampled)} keys that were looked at)`,
  ];
}

function needLines({ memory, largeKeys }: MovePlan): string[] {
  const needs = memory.map(({ shard, node, usedBytes, maxBytes, neededBytes }) => {
    const most = maxBytes === 0 ? 'no maxmemory' : `maxmemory ${bytesText(maxBytes)}`;
    return `memory  ${shard}: ${node} uses ${bytesText(usedBytes)} and would need up to ${bytesText(neededBytes)} more (${most})`;
  });
  const large = largeKeys.map(({ shard, database, key, bytes, stallMs, needsLeave }) => {
    const leave = needsLeave ? ': longer than supervisor.move.stall, needs --allow-stalls' : '';
    return `large   ${shard}, database ${database}: ${key} (${bytesText(bytes)}) goes by itself, and holds the shard up for about ${stallMs} ms${leave}`;
  });
  return [...needs, ...large];
}

function troubleLines({ warnings, refused }: MovePlan): string[] {
  return [...warnings.map(text => `WARNING  ${text}`), ...refused.map(text => `CANNOT BE DONE  ${text}`)];
}
