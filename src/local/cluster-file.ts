import { writeWhole } from './written-file.ts';

/**
 * `cluster.json`: every process of the local cluster as it is now, for scripts and tests.
 */
export interface ClusterFile {
  readonly proxy: { readonly port: number | null; readonly adminPort: number | null; readonly pid: number | null };
  readonly supervisors: readonly { readonly url: string; readonly pid: number | null }[];
  readonly nodes: readonly ClusterFileNode[];
}

export interface ClusterFileNode {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** null: the process is dead. */
  readonly pid: number | null;
  /** null: a spare. */
  readonly shard: string | null;
}

/** Writes the file, readable as a whole at any moment. */
export function writeClusterFile(file: string, cluster: ClusterFile): void {
  writeWhole(file, `${JSON.stringify(cluster)}\n`);
}
