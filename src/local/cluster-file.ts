import { writeWhole } from './written-file.ts';

/**
 * `cluster.json`: every process of the local cluster as it is now, for scripts and tests. Readable by its owner only.
 */
export interface ClusterFile {
  readonly proxy: { readonly port: number | null; readonly adminPort: number | null; readonly pid: number | null };
  readonly supervisors: readonly { readonly url: string; readonly pid: number | null }[];
  /** The members of etcd; empty where one supervisor keeps the topology in a file. */
  readonly etcd: readonly { readonly endpoint: string; readonly pid: number | null }[];
  readonly nodes: readonly ClusterFileNode[];
  /** Who may read on the nodes themselves, where their default user is switched off; null: the default user may. */
  readonly inspect: { readonly username: string; readonly password: string } | null;
}

export interface ClusterFileNode {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** null: the process is dead. */
  readonly pid: number | null;
  /** null: a spare. */
  readonly shard: string | null;
  /** As the topology last had it; null: a spare, or nothing was heard yet. */
  readonly role: 'primary' | 'replica' | null;
}

/** Writes the file, readable as a whole at any moment. */
export function writeClusterFile(file: string, cluster: ClusterFile): void {
  writeWhole(file, `${JSON.stringify(cluster)}\n`);
}
