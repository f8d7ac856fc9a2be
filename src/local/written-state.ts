import path from 'node:path';
import type { Config } from '../config/config.ts';
import { INSPECT_USER, userPassword } from '../topology/credentials.ts';
import { addressText } from './address.ts';
import { writeClusterFile } from './cluster-file.ts';
import type { ClusterView } from './cluster-view.ts';
import { clientUrl } from './etcd-command.ts';
import type { ProcessIds } from './overview.ts';
import type { ProcessIdentity } from './process-identity.ts';
import type { RedisProcess } from './redis-process.ts';
import type { LocalRoles } from './roles.ts';
import { writeRunRecord } from './run-record.ts';

/**
 * The state of the local cluster as two files tell it: `cluster.json` to others, `run.json` to the next run.
 */
export interface LocalState {
  readonly config: Config;
  readonly directory: string;
  readonly roles: LocalRoles;
  readonly view: ClusterView;
  readonly pids: ProcessIds;
  /** The nodes of this machine, whether they run or not. */
  readonly nodes: readonly RedisProcess[];
  /** The other processes that run. */
  readonly running: readonly { readonly name: string; readonly identity: ProcessIdentity }[];
}

export function writeState(state: LocalState): void {
  const { config, directory, roles, view, pids, nodes, running } = state;
  const tcp = config.proxy.listen.find(address => address.kind === 'tcp');
  writeClusterFile(path.join(directory, 'cluster.json'), {
    proxy: { port: tcp?.port ?? null, adminPort: config.proxy.admin?.port ?? null, pid: pids.proxy },
    supervisors: roles.supervisors.map((address, index) => {
      return { url: `http://${addressText(address)}`, pid: pids.supervisors[index] ?? null };
    }),
    etcd: roles.etcd.map((member, index) => ({ endpoint: clientUrl(member), pid: pids.etcd[index] ?? null })),
    nodes: nodes.map(({ node: { id, host, port } }) => {
      return { id, host, port, pid: pids.node(id), shard: view.shardOf(id)?.name ?? null, role: view.roleOf(id) };
    }),
    inspect: inspectLogin(config),
  });
  writeRunRecord(path.join(directory, 'run.json'), {
    roles: Object.fromEntries(running.map(({ name, identity }) => [name, identity])),
    nodes: Object.fromEntries(
      nodes.flatMap(({ node: { id, host, port }, identity }) =>
        identity === null ? [] : [[id, { host, port, process: identity }]],
      ),
    ),
  });
}

/** Null: the nodes' default user may look at them. */
function inspectLogin({ cluster, secret, nodeAccess }: Config): { username: string; password: string } | null {
  if (nodeAccess.keepDefaultUser) return null;
  return { username: INSPECT_USER, password: userPassword(secret, INSPECT_USER, cluster) };
}
