import { createHash } from 'node:crypto';
import { type Exchange, exchangeBetween } from '../ring/arcs.ts';
import type { RingConfig } from '../ring/ring.ts';
import { placeShards } from '../topology/placement.ts';
import type { Topology, TopologyNode, TopologyShard } from '../topology/snapshot.ts';
import { type Claim, claimSpares, type Shortages, takenText } from './plan-spares.ts';
import { isSameRing, type Proposal, type ProposedShard } from './proposal.ts';
import { reconcile, withoutEmptyShards } from './reconcile.ts';

/**
 * What a proposal would change of a topology, and why it cannot: by ring, shards and nodes alone, without a look at keys.
 */
export interface Draft {
  /** Why it cannot be, in words a person can act on; empty: it can. */
  readonly refused: readonly string[];
  /** What is possible and may not be meant. */
  readonly warnings: readonly string[];
  readonly ring: { readonly before: RingConfig; readonly after: RingConfig } | null;
  readonly added: readonly NewShard[];
  /** What was chosen, or weighed, by more than the proposal says: a plan rests on that, too. */
  readonly choices: readonly string[];
  readonly removed: readonly TopologyShard[];
  readonly weights: readonly { readonly shard: string; readonly before: number; readonly after: number }[];
  /** New spares, spares that go, other zones and addresses, other numbers of copies: no key moves for them. */
  readonly nodeChanges: readonly string[];
  /** With the nodes as proposed, and with the added shards, which own nothing yet. */
  readonly next: Topology;
  /** Weights on the proposed ring, 0 for a shard that is to go; null: no key need move, or the proposal is no sound one. */
  readonly goal: ReadonlyMap<string, number> | null;
  /** By the indices of `next.shards`. */
  readonly exchange: Exchange;
}

export interface NewShard {
  readonly name: string;
  readonly weight: number;
  readonly nodes: readonly string[];
}

/** Names what a plan rests on: as long as this is the same, its words about keys, and about who gets which nodes, hold. */
export function basisOf({ ring, shards, move }: Topology, choices: readonly string[] = []): string {
  const parts = [ring, shards.map(({ name, weight }) => [name, weight]), move?.id ?? null, ...choices];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

const NO_SHORTAGES: Shortages = new Map();

/**
 * `unfit`: why nodes cannot be of a new shard, by id, those included that the topology does not know yet; `shortages`: what
 * shards lack, by name.
 */
export function draft(
  kept: Topology,
  proposal: Proposal,
  unfit: ReadonlyMap<string, string>,
  shortages: Shortages = NO_SHORTAGES,
): Draft {
  const base = withoutEmptyShards(kept);
  const { topology, refused: strange } = reconcile(base, proposal);
  const proposed = new Map(proposal.shards.map(shard => [shard.name, shard]));
  const present = new Map(base.shards.map(shard => [shard.name, shard]));
  const removed = base.shards.filter(({ name }) => !proposed.has(name));
  const weights = base.shards.flatMap(({ name, weight: before }) => {
    const after = proposed.get(name)?.weight ?? before;
    return after === before ? [] : [{ shard: name, before, after }];
  });
  const isOther = !isSameRing(base.ring, proposal.ring);
  const ring = isOther ? { before: base.ring, after: proposal.ring } : null;
  const wanted = proposal.shards.filter(({ name }) => !present.has(name));
  const claims = claimSpares(base, topology, proposal, freeOf(topology, wanted), shortages, unfit);
  const { added, refused: unplaced } = placeNew(topology, wanted, unfit, claims);
  const next = withNewShards(topology, added);
  const moves = isOther || removed.length > 0 || weights.length > 0 || added.length > 0;
  const unsound = wrongRing(proposal);
  const isSound = moves && unsound.length === 0;
  const goal = isSound ? new Map(next.shards.map(({ name }) => [name, proposed.get(name)?.weight ?? 0])) : null;
  const goesTo = destinations(base, next);
  const taken = claims.flatMap(claim => takenText(claim, goesTo) ?? []);
  const chosen = added.filter(({ name }) => wanted.some(shard => shard.name === name && shard.nodes === null));
  const wrong = [...whyNotBegun(kept), ...unsound, ...wrongMembers(proposal), ...unplaced, ...strange];
  return {
    refused: [...new Set(wrong)],
    warnings: [...warningsOf(ring, added, removed), ...taken],
    choices: [...chosen.map(({ name, nodes }) => `${name} ${nodes.join(' ')}`), ...taken],
    ...{ ring, added, removed, weights, next, goal },
    nodeChanges: nodeChangesOf(base, topology),
    exchange: goal === null ? NO_EXCHANGE : exchangeOf(next, proposal.ring, goal),
  };
}

const NO_EXCHANGE: Exchange = { before: [], after: [], flows: [], isExact: true };

function whyNotBegun({ move }: Topology): string[] {
  if (move === null) return [];
  return ['a move is on already: `ringside move` shows it; wait until it is over, or `ringside move abort`'];
}

/** More tokens than these would cost every proxy hundreds of megabytes. */
const MOST_TOKENS = 4_000_000;

/** What no ring can be made of. */
function wrongRing({ shards, ring }: Proposal): string[] {
  if (shards.length === 0) return ['no shard would be left'];
  const wrong: string[] = [];
  const names = shards.map(({ name }) => name);
  const twin = names.find((name, index) => names.indexOf(name) !== index);
  if (twin !== undefined) wrong.push(`two shards have the name ${twin}`);
  const total = shards.reduce((sum, { weight }) => sum + weight, 0);
  const uneven = ring.kind === 'twemproxy' ? shards.find(({ weight }) => !Number.isInteger(weight)) : undefined;
  if (uneven !== undefined)
    wrong.push(`weight ${uneven.weight} of shard ${uneven.name}: twemproxy's ring knows whole weights only`);
  const tokens = ring.kind === 'murmur3' ? ring.vnodes * total : ring.distribution === 'modula' ? total : 0;
  if (tokens > MOST_TOKENS)
    wrong.push(`the weights make ${Math.round(tokens)} tokens, and ${MOST_TOKENS} are bearable: take smaller weights`);
  return wrong;
}

function wrongMembers({ shards }: Proposal): string[] {
  const members = shards.flatMap(({ name, nodes }) => (nodes ?? []).map(id => ({ id, name })));
  const shared = members.filter(({ id }, index) => members.findIndex(one => one.id === id) !== index);
  return shared.map(({ id, name }) => {
    const other = members.find(one => one.id === id)?.name;
    return other === name
      ? `node ${id} is named twice in shard ${name}`
      : `node ${id} is named in shard ${other} and in shard ${name}`;
  });
}

/** Nodes of no shard, and named for none. */
function freeOf({ shards, nodes }: Topology, wanted: readonly ProposedShard[]): TopologyNode[] {
  const taken = new Set([...shards.flatMap(shard => shard.nodes), ...wanted.flatMap(shard => shard.nodes ?? [])]);
  return nodes.filter(({ id, draining }) => !taken.has(id) && !draining);
}

/** The shard to which each spare goes that is one no longer. */
function destinations(before: Topology, { shards }: Topology): ReadonlyMap<string, string> {
  const members = new Set(before.shards.flatMap(({ nodes }) => nodes));
  return new Map(
    shards.flatMap(({ name, nodes }) => nodes.flatMap(id => (members.has(id) ? [] : [[id, name] as const]))),
  );
}

/** Which nodes make up the new shards: those that are named, or whichever are free and kept for nobody. */
function placeNew(
  topology: Topology,
  wanted: readonly ProposedShard[],
  fitness: ReadonlyMap<string, string>,
  claims: readonly Claim[],
): { added: readonly NewShard[]; refused: readonly string[] } {
  const { nodes } = topology;
  const ids = new Set(nodes.map(({ id }) => id));
  const free = freeOf(topology, wanted);
  const unfit = new Map(fitness);
  for (const { shard, why, kept } of claims)
    for (const id of kept) unfit.set(id, `it is kept for shard ${shard}, where ${why}`);
  const refused: string[] = [];
  const added = wanted.map(({ name, weight, nodes: named, copies }): NewShard => {
    if (named !== null) return { name, weight, nodes: named };
    const fit = free.filter(({ id }) => !unfit.has(id));
    if (fit.length < copies) refused.push(tooFew(name, copies, free, unfit, claims));
    const chosen = placeShards(fit, 1, Math.max(1, Math.min(copies, fit.length)));
    const members = fit.length === 0 ? [] : (chosen.shards[0]?.nodes ?? []);
    for (const id of members)
      free.splice(
        free.findIndex(node => node.id === id),
        1,
      );
    return { name, weight, nodes: members };
  });
  for (const { name, nodes: members } of added) {
    const stranger = members.find(id => !ids.has(id));
    if (stranger !== undefined) {
      refused.push(`shard ${name}: there is no node ${stranger}: name it under \`nodes\` in the settings first`);
    }
    for (const id of members) {
      const why = nodes.find(node => node.id === id)?.draining === true ? 'it is being drained' : unfit.get(id);
      if (why !== undefined) refused.push(`shard ${name}: node ${id}: ${why}`);
    }
  }
  return { added, refused };
}

function tooFew(
  name: string,
  copies: number,
  free: readonly TopologyNode[],
  unfit: ReadonlyMap<string, string>,
  claims: readonly Claim[],
): string {
  const fit = free.filter(({ id }) => !unfit.has(id));
  const rest = free.flatMap(({ id }) => (unfit.has(id) ? [`${id}: ${unfit.get(id)}`] : []));
  const others = rest.length === 0 ? '' : ` (${rest.join('; ')})`;
  const isKept = free.some(({ id }) => claims.some(({ kept }) => kept.includes(id)));
  const named = isKept ? `, or name the shard's own to take what is kept` : '';
  const words = copies === 1 ? 'one free node' : `${copies} free nodes`;
  return `shard ${name} needs ${words}, and there ${fit.length === 1 ? 'is 1' : `are ${fit.length}`}${others}: name further ones under \`nodes\` in the settings${named}`;
}

/**
 * The new ones own nothing yet, and have never served: no incarnation of theirs is recorded. Their first epoch is the
 * version of the topology with which they come, which is above every epoch that any shard has ever had: whoever knows
 * their nodes from an earlier shard, by a user of its epoch, gets in nowhere.
 */
function withNewShards(topology: Topology, added: readonly NewShard[]): Topology {
  const members = new Set(added.flatMap(({ nodes }) => nodes));
  const shards = added.map(({ name, nodes }): TopologyShard => {
    const primary = nodes[0] ?? '';
    return {
      ...{ name, weight: 0, epoch: topology.version + 1, primary },
      ...{ inSync: [], joining: null, paused: false, nodes },
    };
  });
  return {
    ...topology,
    shards: [...topology.shards, ...shards],
    nodes: topology.nodes.map(node => (members.has(node.id) ? { ...node, runId: null } : node)),
  };
}

function exchangeOf(next: Topology, ring: RingConfig, goal: ReadonlyMap<string, number>): Exchange {
  const after = next.shards.map(({ name }) => ({ name, weight: goal.get(name) ?? 0 }));
  return exchangeBetween({ ring: next.ring, shards: next.shards }, { ring, shards: after });
}

function warningsOf(
  ring: Draft['ring'],
  added: readonly NewShard[],
  removed: readonly TopologyShard[],
): readonly string[] {
  const warnings: string[] = [];
  if (ring !== null && ring.before.hashTag !== ring.after.hashTag) {
    warnings.push(
      `the hash tag changes from ${tagText(ring.before)} to ${tagText(ring.after)}: until the move is over, keys that commands name together may be on two shards (-CROSSSLOT)`,
    );
  }
  if (ring !== null && ring.before.hash !== ring.after.hash) {
    warnings.push('the hash changes: nearly all keys move, each between any two shards');
  }
  if (added.length > 0 && removed.length > 0) {
    warnings.push(
      'shards come and others go: what was meant to be another name for the same shard moves all of its keys, since the name is what the ring hashes',
    );
  }
  return warnings;
}

function tagText({ hashTag }: RingConfig): string {
  return hashTag === '' ? 'none' : JSON.stringify(hashTag);
}

function nodeChangesOf(before: Topology, after: Topology): string[] {
  const old = new Map(before.nodes.map(node => [node.id, node]));
  const ids = new Set(after.nodes.map(({ id }) => id));
  const changes: string[] = [];
  for (const { id, host, port, zone } of after.nodes) {
    const node = old.get(id);
    if (node === undefined) changes.push(`node ${id} comes, at ${host}:${port}, zone ${zone}`);
    else if (node.host !== host || node.port !== port) changes.push(`node ${id} is at ${host}:${port}`);
    if (node !== undefined && node.zone !== zone) changes.push(`node ${id} is in zone ${zone}, was in ${node.zone}`);
  }
  for (const { id } of before.nodes) if (!ids.has(id)) changes.push(`spare ${id} goes`);
  for (const { name, nodes } of after.shards) {
    const members = before.shards.find(shard => shard.name === name)?.nodes ?? nodes;
    const further = nodes.filter(id => !members.includes(id));
    const copies = further.length === 1 ? 'a further copy' : `${further.length} further copies`;
    if (further.length > 0) changes.push(`shard ${name} gets ${copies}, on ${further.join(', ')}`);
  }
  return changes;
}
