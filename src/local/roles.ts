import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { EnvironmentError } from '../base/environment-error.ts';
import type { Config, HostPort } from '../config/config.ts';
import { addressText } from './address.ts';
import { type EtcdMember, etcdArguments } from './etcd-command.ts';
import type { RolePlan } from './role-process.ts';

/**
 * Which processes the local cluster has besides its nodes: a proxy, supervisors, and etcd where there are several.
 *
 * Settings that `up` has written name all supervisors in `peers`, and a member of etcd for each. A person's own file
 * describes one supervisor, and an etcd that is the person's own as well.
 */
export interface LocalRoles {
  readonly supervisors: readonly HostPort[];
  readonly etcd: readonly EtcdMember[];
}

/** `directory`: of the cluster. Throws `EnvironmentError` where its settings name an etcd elsewhere. */
export function rolesOf(config: Config, directory: string): LocalRoles {
  const { listen, peers, store } = config.supervisor;
  if (path.dirname(config.file) !== directory || store.kind === 'file') return { supervisors: [listen], etcd: [] };
  const etcd = store.endpoints.map((endpoint, index) => {
    const { hostname: host, port } = new URL(endpoint);
    if (host !== '127.0.0.1')
      throw new EnvironmentError(
        `${config.file}: supervisor.store.etcd: \`up\` starts etcd on 127.0.0.1, not on ${host}`,
      );
    const id = `e${index + 1}`;
    return { id, host, port: Number(port), peerPort: Number(port) + 1, directory: path.join(directory, 'etcd', id) };
  });
  const supervisors = peers.map(peer => {
    const { hostname: host, port } = new URL(peer);
    return { host, port: Number(port) };
  });
  return { supervisors, etcd };
}

export function proxyPlan(config: Config, directory: string): RolePlan {
  return programPlan('proxy', config, path.join(directory, 'proxy.log'));
}

/** `index`: in the order of the settings' peers. */
export function supervisorPlan(config: Config, directory: string, roles: LocalRoles, index: number): RolePlan {
  const address = roles.supervisors[index] ?? config.supervisor.listen;
  const logFile = path.join(directory, index === 0 ? 'supervisor.log' : `supervisor-${index + 1}.log`);
  const plan = programPlan('supervisor', config, logFile);
  if (roles.supervisors.length === 1) return plan;
  return { ...plan, name: `supervisor ${index + 1}`, args: [...plan.args, '--listen', addressText(address)] };
}

export function etcdPlan(directory: string, { etcd }: LocalRoles, member: EtcdMember): RolePlan {
  return {
    name: `etcd ${member.id}`,
    command: 'etcd',
    args: etcdArguments(member, etcd),
    logFile: path.join(directory, `etcd-${member.id}.log`),
    endsWithUp: false,
  };
}

const program = fileURLToPath(new URL('../main.js', import.meta.url));

function programPlan(role: 'proxy' | 'supervisor', { file }: Config, logFile: string): RolePlan {
  const args = [program, role, '--config', file];
  return { name: role, command: process.execPath, args, logFile, endsWithUp: true };
}
