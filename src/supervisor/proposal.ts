import { z } from 'zod';
import type { Config } from '../config/config.ts';
import type { RingConfig } from '../ring/ring.ts';
import { TWEMPROXY_HASHES } from '../ring/twemproxy-hashes.ts';
import type { Topology } from '../topology/snapshot.ts';

/**
 * What a person wants a cluster to be: the ring, the shards and the nodes of a settings file, or of a request.
 */
export interface Proposal {
  readonly ring: RingConfig;
  readonly shards: readonly ProposedShard[];
  readonly nodes: readonly ProposedNode[];
}

export interface ProposedShard {
  readonly name: string;
  readonly weight: number;
  /** Node ids, the proposed primary first; null: whichever are free, as many as `copies`. */
  readonly nodes: readonly string[] | null;
  readonly copies: number;
}

export interface ProposedNode {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  readonly zone: string;
}

export function proposalOf({ ring, shards, areShardsPlaced, nodes }: Config): Proposal {
  return {
    ring,
    shards: shards.map(({ name, weight, nodes: ids }) => {
      return { name, weight, nodes: areShardsPlaced ? null : ids, copies: ids.length };
    }),
    nodes: nodes.map(({ id, host, port, zone }) => ({ id, host, port, zone })),
  };
}

/** What is in force, as a proposal that changes nothing; with a move on, what that leads to. */
export function proposalInForce(topology: Topology): Proposal {
  const { ring, weights } = goalOf(topology);
  return {
    ring,
    shards: topology.shards.flatMap(({ name, nodes }) => {
      const weight = weights.get(name) ?? 0;
      return weight > 0 ? [{ name, weight, nodes, copies: nodes.length }] : [];
    }),
    nodes: topology.nodes.map(({ id, host, port, zone }) => ({ id, host, port, zone })),
  };
}

/** Which ring, and which weights on it, keys are on or on the way to; weight 0: the shard is to own nothing. */
export interface Goal {
  readonly ring: RingConfig;
  readonly weights: ReadonlyMap<string, number>;
}

export function goalOf({ ring, shards, move }: Topology): Goal {
  if (move === null || move.aborting) return { ring, weights: new Map(shards.map(one => [one.name, one.weight])) };
  return { ring: move.ring, weights: new Map(shards.map(({ name }) => [name, move.weights[name] ?? 0])) };
}

/** Whether two rings, written in whatever order of their fields, are the same. */
export function isSameRing(a: RingConfig, b: RingConfig): boolean {
  const key = (ring: RingConfig): string =>
    JSON.stringify([ring.kind, ring.hash, ring.hashTag, ring.kind === 'murmur3' ? ring.vnodes : ring.distribution]);
  return key(a) === key(b);
}

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/);
const hashTag = z.string().regex(/^([\x00-\x7f]{2})?$/);

const form = z.strictObject({
  ring: z.union([
    z.strictObject({
      kind: z.literal('murmur3'),
      hash: z.literal('murmur3'),
      hashTag,
      vnodes: z.int().min(1).max(10_000),
    }),
    z.strictObject({
      kind: z.literal('twemproxy'),
      hash: z.enum(TWEMPROXY_HASHES),
      distribution: z.enum(['ketama', 'modula']),
      hashTag,
    }),
  ]),
  shards: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[!-~]{1,255}$/),
        weight: z.number().gt(0).max(1_000_000),
        nodes: z.array(name).min(1).max(1024).nullable(),
        copies: z.int().min(1).max(1024),
      }),
    )
    .max(1024),
  nodes: z
    .array(z.strictObject({ id: name, host: z.string().min(1).max(255), port: z.int().min(1).max(65_535), zone: name }))
    .max(16_384),
});

/** A proposal as it comes over HTTP; a text: what is wrong with it. */
export function readProposal(value: unknown): Proposal | string {
  const read = form.safeParse(value);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  return `the proposal is malformed: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not what was expected'}`;
}
