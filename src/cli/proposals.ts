/**
 * What a person wants the cluster to be, as `ringside plan` and `ringside apply` take it: all of a settings file, or what is
 * in force with one thing changed.
 */
import { loadConfig } from '../config/load.ts';
import { type Proposal, type ProposedShard, proposalInForce, proposalOf } from '../supervisor/proposal.ts';
import type { Topology } from '../topology/snapshot.ts';
import { validateTopology } from '../topology/validate.ts';
import { askSupervisors, type ClusterSource, clusterSource } from './cluster-source.ts';
import { CommandFailure, NOT_NOW, USAGE } from './failure.ts';
import { requireSettingsFile } from './settings-file.ts';

/** What was asked for. */
export type Wish =
  /** All that the file says; null: the file of `--config`. */
  | { readonly kind: 'file'; readonly file: string | null }
  /** `nodes`: null: whichever are free, `copies` of them (null: as many as the other shards have). */
  | {
      readonly kind: 'add-shard';
      readonly name: string;
      readonly nodes: readonly string[] | null;
      readonly copies: number | null;
      readonly weight: number;
    }
  | { readonly kind: 'remove-shard'; readonly name: string }
  | { readonly kind: 'weight'; readonly name: string; readonly weight: number };

export interface Proposed {
  readonly source: ClusterSource;
  readonly proposal: Proposal;
  /** In force when the proposal was made. */
  readonly topology: Topology;
}

/** `config`: the settings file in which supervisors and secret are found. */
export async function propose(wish: Wish, config: string): Promise<Proposed> {
  const file = wish.kind === 'file' ? (wish.file ?? config) : config;
  if (/^https?:/i.test(file))
    throw new CommandFailure('a plan needs the token of the cluster: give --config FILE with its secret', USAGE);
  requireSettingsFile(file);
  const source = clusterSource(file);
  const { url, body } = await askSupervisors(source, '/v1/topology');
  const topology = understood(url, body);
  if (source.config !== null && topology.cluster !== source.config.cluster)
    throw new CommandFailure(
      `${url} is a supervisor of cluster ${topology.cluster}, not ${source.config.cluster}`,
      USAGE,
    );
  const proposal = wish.kind === 'file' ? proposalOf(loadConfig(file)) : changed(topology, wish);
  return { source, proposal, topology };
}

function changed(topology: Topology, wish: Exclude<Wish, { kind: 'file' }>): Proposal {
  if (topology.move !== null)
    throw new CommandFailure(
      'a move is on already: `ringside move` shows it; wait until it is over, or `ringside move abort`',
      NOT_NOW,
    );
  const present = proposalInForce(topology);
  const { name } = wish;
  const isThere = present.shards.some(shard => shard.name === name);
  if (wish.kind === 'add-shard') {
    if (isThere) throw new CommandFailure(`there is a shard ${name} already: take another name`, USAGE);
    const usual = Math.max(...present.shards.map(({ copies }) => copies));
    const copies = wish.nodes?.length ?? wish.copies ?? usual;
    const added: ProposedShard = { name, weight: wish.weight, nodes: wish.nodes, copies };
    return { ...present, shards: [...present.shards, added] };
  }
  if (!isThere) {
    const names = present.shards.map(shard => shard.name).join(', ');
    throw new CommandFailure(`there is no shard ${name}; there are ${names}`, USAGE);
  }
  const others = present.shards.filter(shard => shard.name !== name);
  if (wish.kind === 'remove-shard') return { ...present, shards: others };
  return {
    ...present,
    shards: present.shards.map(shard => (shard.name === name ? { ...shard, weight: wish.weight } : shard)),
  };
}

function understood(url: string, body: unknown): Topology {
  try {
    return validateTopology(body);
  } catch (error) {
    throw new CommandFailure(
      `${url} answered with no topology that this version understands: ${(error as Error).message}`,
      USAGE,
    );
  }
}

/** What to write into the settings so that they say what was applied without them. */
export function settingsHint(wish: Exclude<Wish, { kind: 'file' }>, nodes: readonly string[]): string {
  switch (wish.kind) {
    case 'add-shard': {
      const weight = wish.weight === 1 ? '' : `, weight: ${wish.weight}`;
      return `under \`shards\` write  - { name: ${wish.name}, nodes: [${nodes.join(', ')}]${weight} }`;
    }
    case 'remove-shard':
      return `take shard ${wish.name} out of \`shards\``;
    case 'weight':
      return `give shard ${wish.name} \`weight: ${wish.weight}\``;
  }
}
