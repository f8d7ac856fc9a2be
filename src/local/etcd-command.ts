import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { EnvironmentError } from '../base/environment-error.ts';
import { addressText } from './address.ts';

/**
 * How members of a small etcd on one machine are started.
 */
export interface EtcdMember {
  /** Such as `e1`. */
  readonly id: string;
  readonly host: string;
  /** For clients. */
  readonly port: number;
  /** For the other members. */
  readonly peerPort: number;
  /** Its data. */
  readonly directory: string;
}

/** The arguments of `etcd` for one of these members. */
export function etcdArguments(member: EtcdMember, members: readonly EtcdMember[]): string[] {
  const values: Record<string, string> = {
    name: member.id,
    'data-dir': member.directory,
    'listen-client-urls': clientUrl(member),
    'advertise-client-urls': clientUrl(member),
    'listen-peer-urls': peerUrl(member),
    'initial-advertise-peer-urls': peerUrl(member),
    'initial-cluster': members.map(other => `${other.id}=${peerUrl(other)}`).join(','),
    // Of two clusters on one machine no member joins the other's.
    'initial-cluster-token': peerUrl(members[0] ?? member),
    // Half of the defaults: there is no network between these members, so that a lost one may be missed sooner.
    'heartbeat-interval': '50',
    'election-timeout': '500',
    // A document that is replaced for years: what nobody asks for any more is forgotten hour by hour.
    'auto-compaction-retention': '1',
    logger: 'zap',
    'log-outputs': 'stderr',
    'log-level': 'warn',
  };
  return Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]);
}

/** Where clients reach a member. */
export function clientUrl(member: EtcdMember): string {
  return `http://${addressText(member)}`;
}

/** The version of the `etcd` that `PATH` finds, such as `3.4.23`; throws `EnvironmentError` where there is none. */
export async function etcdVersion(): Promise<string> {
  const output = await promisify(execFile)('etcd', ['--version'], { timeout: 10_000 }).catch((error: Error) => {
    const { code } = error as NodeJS.ErrnoException;
    const remedy =
      'install it (Debian, Ubuntu: apt-get install etcd-server), or take --supervisors 1, which needs none';
    throw new EnvironmentError(
      code === 'ENOENT'
        ? `several supervisors need etcd, and no etcd is in PATH: ${remedy}`
        : `etcd --version fails (${error.message}): ${remedy}`,
    );
  });
  const version = /etcd Version: (\S+)/.exec(output.stdout)?.[1];
  if (version !== undefined) return version;
  throw new EnvironmentError(`the etcd in PATH does not tell its version: ${output.stdout.slice(0, 200)}`);
}

function peerUrl({ host, peerPort }: EtcdMember): string {
  return `http://${addressText({ host, port: peerPort })}`;
}
