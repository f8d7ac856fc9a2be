import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseDocument } from 'yaml';
import { EnvironmentError } from '../base/environment-error.ts';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { writeWhole } from './written-file.ts';

/**
 * What was asked for on the command line; undefined: the directory decides, or the default where it is new.
 */
export interface LocalFlags {
  /** Port that clients connect to: 6379. */
  readonly port?: number | undefined;
  /** 3. */
  readonly shards?: number | undefined;
  /** Nodes of one shard, the primary included: 3. */
  readonly copies?: number | undefined;
  /** Nodes in no shard: 0. */
  readonly spares?: number | undefined;
  /** First of the nodes' ports: 7001. */
  readonly nodePort?: number | undefined;
  /** 9121. */
  readonly adminPort?: number | undefined;
  /** The first of the supervisors' ports: 7700. */
  readonly supervisorPort?: number | undefined;
  /** 1, which keeps the topology in a file, or 3 or 5, with as many members of etcd. */
  readonly supervisors?: number | undefined;
  /** The first of etcd's ports, two for each member: 7710. */
  readonly etcdPort?: number | undefined;
}

export const localDefaults = {
  port: 6379,
  shards: 3,
  copies: 3,
  spares: 0,
  nodePort: 7001,
  adminPort: 9121,
  supervisorPort: 7700,
  supervisors: 1,
  etcdPort: 7710,
} as const;

/** How each flag is written, and the least and greatest value it takes. */
const flagRules: Record<keyof LocalFlags, { readonly flag: string; readonly least: number; readonly most: number }> = {
  port: { flag: '--port', least: 1, most: 65535 },
  shards: { flag: '--shards', least: 1, most: 1024 },
  copies: { flag: '--copies', least: 1, most: 16 },
  spares: { flag: '--spares', least: 0, most: 1024 },
  nodePort: { flag: '--node-port', least: 1, most: 65535 },
  adminPort: { flag: '--admin-port', least: 1, most: 65535 },
  supervisorPort: { flag: '--supervisor-port', least: 1, most: 65535 },
  supervisors: { flag: '--supervisors', least: 1, most: 5 },
  etcdPort: { flag: '--etcd-port', least: 1, most: 65535 },
};

/** The settings of a person's own file, which says everything that the flags could. */
export function givenSettings(file: string, flags: LocalFlags, closed: boolean): Config {
  const name = namesOf(flags)[0];
  const also = name === undefined ? (closed ? '--closed' : null) : flagRules[name].flag;
  if (also !== null) {
    throw new EnvironmentError(
      `${also} does not go with --config: ${file} says it; change it there, or leave --config out`,
    );
  }
  return loadConfig(file);
}

/**
 * The settings of the directory's ringside.yaml, which is written at the first start.
 *
 * From then on it belongs to the person: only the ports that flags name are changed in it, in their place, and whether
 * the nodes are `closed` to their default user. What holds data cannot be changed by a flag.
 */
export function directorySettings(directory: string, flags: LocalFlags, closed: boolean): Config {
  checkFlags(flags);
  const file = path.join(directory, 'ringside.yaml');
  if (!existsSync(file)) {
    writeWhole(file, newSettings(flags, closed));
    return loadConfig(file);
  }
  const config = loadConfig(file);
  const other = otherShape(config, flags);
  if (other === null) return takeFlags(config, file, flags, closed);
  // A first start that failed, on a taken port for one, has bound nobody to anything yet.
  if (!existsSync(path.join(directory, 'nodes'))) {
    writeWhole(
      file,
      newSettings({ ...flagsOf(config), ...given(flags) }, closed || !config.nodeAccess.keepDefaultUser),
    );
    return loadConfig(file);
  }
  const { flag } = flagRules[other];
  throw new EnvironmentError(
    `${directory} was made with ${flag} ${flagsOf(config)[other]}, not ${flags[other]}: leave the flag out, or take another --dir`,
  );
}

function namesOf(flags: LocalFlags): (keyof LocalFlags)[] {
  return (Object.keys(flagRules) as (keyof LocalFlags)[]).filter(name => flags[name] !== undefined);
}

function checkFlags(flags: LocalFlags): void {
  for (const name of namesOf(flags)) {
    const value = flags[name] as number;
    const { flag, least, most } = flagRules[name];
    if (!Number.isInteger(value) || value < least || value > most) {
      throw new EnvironmentError(`${flag} ${value}: expected a whole number from ${least} to ${most}`);
    }
  }
  const { supervisors } = flags;
  if (supervisors !== undefined && supervisors % 2 === 0)
    throw new EnvironmentError(
      `--supervisors ${supervisors}: expected 1, 3 or 5; of an even number no more may be lost than of one less`,
    );
}

function newSettings(flags: LocalFlags, closed: boolean): string {
  const number = (name: keyof LocalFlags): number => flags[name] ?? localDefaults[name];
  const [shards, copies] = [number('shards'), number('copies')];
  const last = number('nodePort') + shards * copies + number('spares') - 1;
  if (last > 65535) throw new EnvironmentError(`the nodes' ports would end at ${last}: take a smaller --node-port`);
  const ids = Array.from({ length: shards * copies + number('spares') }, (_, index) => `n${index + 1}`);
  const nodes = ids.map((id, index) => {
    return `  - { id: ${id}, address: 127.0.0.1:${number('nodePort') + index}, zone: z${(index % copies) + 1} }`;
  });
  const members = Array.from({ length: shards }, (_, index) => {
    const list = ids.slice(index * copies, (index + 1) * copies).join(', ');
    return `  - { name: s${index + 1}, nodes: [${list}] }`;
  });
  return `# Written by \`ringside up\` at its first start here; yours to change from now on.
# Flags of a later \`up\` change the ports below and nothing else.
cluster: local
secret: ${randomBytes(32).toString('hex')}

nodes:
${nodes.join('\n')}

# Whether the nodes' own default user stays on, to look at them with redis-cli; it may neither copy nor administrate.
nodeAccess: { keepDefaultUser: ${!closed} }

# The first node of a shard is proposed as its primary. Nodes in no shard are spares.
shards:
${members.join('\n')}

proxy:
  listen: [ "127.0.0.1:${number('port')}" ]
  admin: 127.0.0.1:${number('adminPort')}

supervisor:
${supervisorLines(number('supervisors'), number('supervisorPort'), number('etcdPort')).join('\n')}
`;
}

function supervisorLines(count: number, port: number, etcdPort: number): string[] {
  if (count === 1) return [`  listen: 127.0.0.1:${port}`, '  store: { file: ./state }'];
  const peers = peersFrom(port, count).map(peer => `"${peer}"`);
  // Each member has the port after it for the other members.
  const endpoints = Array.from({ length: count }, (_, index) => `"http://127.0.0.1:${etcdPort + 2 * index}"`);
  return [
    '  # Of the first; `up` tells the others theirs.',
    `  listen: 127.0.0.1:${port}`,
    `  peers: [ ${peers.join(', ')} ]`,
    `  store: { etcd: { endpoints: [ ${endpoints.join(', ')} ] } }`,
  ];
}

function peersFrom(port: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `http://127.0.0.1:${port + index}`);
}

/** The first flag that would part the nodes from the data that they have; null: none. */
function otherShape(config: Config, flags: LocalFlags): keyof LocalFlags | null {
  const has = flagsOf(config);
  const shape = ['shards', 'copies', 'spares', 'nodePort', 'supervisors', 'etcdPort'] as const;
  return shape.find(name => flags[name] !== undefined && flags[name] !== has[name]) ?? null;
}

/** The flags with which these settings would have been made. */
function flagsOf({ nodes, shards, proxy, supervisor }: Config): LocalFlags {
  return {
    port: proxy.listen.find(address => address.kind === 'tcp')?.port,
    shards: shards.length,
    copies: shards[0]?.nodes.length,
    spares: nodes.length - shards.reduce((sum, shard) => sum + shard.nodes.length, 0),
    nodePort: nodes[0]?.port,
    adminPort: proxy.admin?.port,
    supervisorPort: supervisor.listen.port,
    supervisors: supervisor.peers.length,
    etcdPort: supervisor.store.kind === 'etcd' ? Number(new URL(supervisor.store.endpoints[0] ?? '').port) : undefined,
  };
}

function given(flags: LocalFlags): LocalFlags {
  return Object.fromEntries(namesOf(flags).map(name => [name, flags[name]]));
}

/** Writes into the file what flags say that may change; comments and all else are left as they are. */
function takeFlags(config: Config, file: string, flags: LocalFlags, closed: boolean): Config {
  const document = parseDocument(readFileSync(file, 'utf8'));
  const before = document.toString({ lineWidth: 0 });
  const { port, adminPort, supervisorPort } = flags;
  const listening = config.proxy.listen.findIndex(address => address.kind === 'tcp');
  const tcp = config.proxy.listen[listening];
  if (port !== undefined && tcp?.kind === 'tcp' && tcp.port !== port) {
    document.setIn(['proxy', 'listen', listening], `${tcp.host}:${port}`);
  }
  if (adminPort !== undefined && config.proxy.admin?.port !== adminPort) {
    document.setIn(['proxy', 'admin'], `${config.proxy.admin?.host ?? '127.0.0.1'}:${adminPort}`);
  }
  const { listen, peers } = config.supervisor;
  if (supervisorPort !== undefined && listen.port !== supervisorPort) {
    document.setIn(['supervisor', 'listen'], `${listen.host}:${supervisorPort}`);
    if (peers.length > 1)
      document.setIn(['supervisor', 'peers'], document.createNode(peersFrom(supervisorPort, peers.length)));
  }
  if (closed && config.nodeAccess.keepDefaultUser) document.setIn(['nodeAccess', 'keepDefaultUser'], false);
  const after = document.toString({ lineWidth: 0 });
  if (after === before) return config;
  writeWhole(file, after);
  return loadConfig(file);
}
