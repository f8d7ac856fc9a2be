import { Random } from '../base/random.ts';
import type { Config } from '../config/config.ts';
import { feedToken } from '../topology/credentials.ts';
import { TopologyFeed } from '../topology/feed.ts';
import { initialTopology, type Topology, type TopologyShard } from '../topology/snapshot.ts';

/** Supervisors of this machine that are just starting are asked again soon. */
const BACKOFF = { baseMs: 20, capMs: 300 };

/**
 * The local cluster as its supervisors publish it: who is whose primary, and which copies are in sync.
 */
export class ClusterView {
  readonly #config: Config;
  readonly #feed: TopologyFeed;
  #topology: Topology | null = null;

  /** `onChange` hears of every new version. */
  constructor(config: Config, onChange: () => void) {
    this.#config = config;
    this.#feed = new TopologyFeed({
      peers: config.supervisor.peers,
      token: feedToken(config.secret, config.cluster),
      cluster: config.cluster,
      knownVersion: 0,
      random: new Random(Date.now()),
      backoff: BACKOFF,
      onTopology: topology => {
        this.#topology = topology;
        onChange();
      },
      onEvent: () => undefined,
    });
  }

  start(): void {
    this.#feed.start();
  }

  close(): void {
    this.#feed.close();
  }

  /** Whether a supervisor has told it yet. */
  get isKnown(): boolean {
    return this.#topology !== null;
  }

  /** As last published; what the settings propose until then. */
  get topology(): Topology {
    return this.#topology ?? initialTopology(this.#config);
  }

  /** Null: a spare. */
  shardOf(id: string): TopologyShard | null {
    return this.topology.shards.find(shard => shard.nodes.includes(id)) ?? null;
  }

  roleOf(id: string): 'primary' | 'replica' | null {
    const shard = this.shardOf(id);
    if (shard === null || !this.isKnown) return null;
    return shard.primary === id ? 'primary' : 'replica';
  }

  /** What no proxy can serve yet, in words; null: nothing. */
  get unformed(): string | null {
    if (!this.isKnown) return 'no supervisor has told who owns what';
    const runIds = new Map(this.topology.nodes.map(node => [node.id, node.runId]));
    const shard = this.topology.shards.find(shard => (runIds.get(shard.primary) ?? null) === null || shard.paused);
    return shard === undefined ? null : `shard ${shard.name} has no primary yet`;
  }

  /** Which copies are not in sync, in words; null: all are. */
  get incomplete(): string | null {
    const lacking = this.topology.shards.flatMap(({ name, inSync }) => {
      const wanted = this.#config.shards.find(shard => shard.name === name)?.nodes.length ?? 1;
      const has = inSync.length + 1;
      return has < wanted ? [`${has} of ${wanted} copies of shard ${name}`] : [];
    });
    const joining = this.topology.shards.find(shard => shard.joining !== null);
    if (lacking.length > 0) return `only ${lacking.join(', ')} in sync`;
    return joining === undefined ? null : `node ${joining.joining} is about to join shard ${joining.name}`;
  }
}
