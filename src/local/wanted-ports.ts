import path from 'node:path';
import type { Config, NodeConfig } from '../config/config.ts';
import type { WantedPort } from './ports.ts';
import type { LocalRoles } from './roles.ts';

/**
 * The ports that the local cluster is about to listen on, each with what a person can do where one is taken.
 *
 * `nodes`: those that are to be started, without those that run already.
 */
export function wantedPorts(
  config: Config,
  directory: string,
  roles: LocalRoles,
  nodes: readonly NodeConfig[],
): WantedPort[] {
  const isOurFile = path.dirname(config.file) === directory;
  const remedy = (flag: string, key: string, port: number): string =>
    isOurFile ? `choose another port, such as ${flag} ${port + 1}` : `set another ${key} in ${config.file}`;
  const change = isOurFile ? 'choose others with --node-port and a new --dir' : `set another address in ${config.file}`;
  const wanted: WantedPort[] = nodes.map(({ id, host, port }) => {
    return { host, port, what: `node ${id}`, remedy: `end that process, or ${change}` };
  });
  const { proxy } = config;
  for (const address of proxy.listen.filter(address => address.kind === 'tcp')) {
    wanted.push({ ...address, what: 'the proxy', remedy: remedy('--port', 'proxy.listen', address.port) });
  }
  const { admin } = proxy;
  if (admin !== null) {
    wanted.push({ ...admin, what: 'the admin endpoint', remedy: remedy('--admin-port', 'proxy.admin', admin.port) });
  }
  const first = roles.supervisors[0]?.port ?? 0;
  roles.supervisors.forEach((address, index) => {
    const what = roles.supervisors.length === 1 ? 'the supervisor' : `supervisor ${index + 1}`;
    wanted.push({ ...address, what, remedy: remedy('--supervisor-port', 'supervisor.listen', first + index) });
  });
  for (const { id, host, port, peerPort } of roles.etcd) {
    const ofEtcd = {
      host,
      what: `etcd ${id}`,
      remedy: 'end that process, or choose others with --etcd-port and a new --dir',
    };
    wanted.push({ ...ofEtcd, port }, { ...ofEtcd, port: peerPort });
  }
  return wanted;
}
