import { assert } from '../base/assert.ts';

/**
 * Decides which nodes make up which shard, where the settings give only numbers.
 *
 * The same nodes in the same order always give the same answer. Each shard takes one node from each of the zones that
 * have most nodes left: that finds copies in different zones wherever such a placement exists (it is the construction
 * of the Gale–Ryser theorem). Of a shard's nodes, the one whose zone has fewest primaries so far comes first.
 *
 *   zones a: a1 a2   b: b1 b2   c: c1 c2      two shards of three      s1: a1 b1 c1     s2: b2 a2 c2
 */
export function placeShards(nodes: readonly PlacedNode[], count: number, copies: number): Placement {
  assert(count >= 1, 'a cluster has at least one shard');
  assert(copies >= 1, 'a shard has at least one copy');
  assert(count * copies <= nodes.length, 'the caller checks that there are enough nodes');
  const zones = groupByZone(nodes);
  const shards = Array.from({ length: count }, (_, index) => ({
    name: `s${index + 1}`,
    nodes: takeShard(zones, copies),
  }));
  const left = new Set(zones.flatMap(zone => zone.free));
  return { shards, spares: nodes.filter(node => left.has(node.id)).map(node => node.id) };
}

interface PlacedNode {
  readonly id: string;
  readonly zone: string;
}

export interface Placement {
  /** Named s1, s2, … ; node ids, the proposed primary first. */
  readonly shards: readonly { readonly name: string; readonly nodes: readonly string[] }[];
  /** Ids of the nodes in no shard, in the order given. */
  readonly spares: readonly string[];
}

interface Zone {
  /** Ids of the nodes that no shard has taken, in the order of the settings. */
  free: string[];
  primaries: number;
}

/** Zones in the order in which they first appear. */
function groupByZone(nodes: readonly PlacedNode[]): Zone[] {
  const zones = new Map<string, Zone>();
  for (const node of nodes) {
    const zone = zones.get(node.zone) ?? { free: [], primaries: 0 };
    zone.free.push(node.id);
    zones.set(node.zone, zone);
  }
  return [...zones.values()];
}

function takeShard(zones: readonly Zone[], copies: number): string[] {
  const taken: { id: string; zone: Zone }[] = [];
  while (taken.length < copies) {
    const zone = roomiestZone(
      zones,
      taken.map(copy => copy.zone),
    );
    taken.push({ id: zone.free.shift() as string, zone });
  }
  // The zones' own order first, so that equal zones do not swap places from shard to shard.
  taken.sort((a, b) => zones.indexOf(a.zone) - zones.indexOf(b.zone));
  const primary = taken.reduce((best, copy) => (copy.zone.primaries < best.zone.primaries ? copy : best));
  primary.zone.primaries += 1;
  return [primary, ...taken.filter(copy => copy !== primary)].map(copy => copy.id);
}

/** The zone to take the next copy from: least used by this shard, then with most nodes left, then the earliest. */
function roomiestZone(zones: readonly Zone[], used: readonly Zone[]): Zone {
  const uses = (zone: Zone) => used.filter(other => other === zone).length;
  const open = zones.filter(zone => zone.free.length > 0);
  return open.reduce((best, zone) => {
    const fewerUses = uses(zone) - uses(best);
    if (fewerUses !== 0) return fewerUses < 0 ? zone : best;
    return zone.free.length > best.free.length ? zone : best;
  });
}
