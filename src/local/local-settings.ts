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
  /** 7700. */
  readonly supervisorPort?: number | undefined;
}

export const localDefaults = {
  port: 6379,
  shards: 3,
  copies: 3,
  spares: 0,
  nodePort: 7001,
  adminPort: 9121,
  supervisorPort: 7700,
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
};

/** The settings of a person's own file, which says everything that the flags could. */
export function givenSettings(file: string, flags: LocalFlags): Config {
  const also = namesOf(flags)[0];
  if (also !== undefined) {
    throw new EnvironmentError(
      `${flagRules[also].flag} does not go with --config: ${file} says it; change it there, or leave --config out`,
    );
  }
  return loadConfig(file);
}

/**
 * The settings of the directory's ringside.yaml, which is written at the first start.
 *
 * From then on it belongs to the person: only the ports that flags name are changed in it, in their place. What holds
 * data cannot be changed by a flag.
 */
export function directorySettings(directory: string, flags: LocalFlags): Config {
  checkFlags(flags);
  const file = path.join(directory, 'ringside.yaml');
  if (!existsSync(file)) {
    writeWhole(file, newSettings(flags));
    return loadConfig(file);
  }
  const config = loadConfig(file);
  const other = otherShape(config, flags);
  if (other === null) return takePorts(config, file, flags);
  // A first start that failed, on a taken port for one, has bound nobody to anything yet.
  if (!existsSync(path.join(directory, 'nodes'))) {
    writeWhole(file, newSettings({ ...flagsOf(config), ...given(flags) }));
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
}

function newSettings(flags: LocalFlags): string {
  const number = (name: keyof LocalFlags): number => flags[name] ?? localDefaults[name];
  const [shards, copies] = [number('shards'), number('copies')];
  const last = number('nodePort') + shards * copies + number('spares') - 1;
  if (last > 65535) throw new EnvironmentError(`the nodes' ports would end at ${last}: take a smaller --node-port`);
  const ids = Array.from({ length: shards * copies + number('spares') }, (_, index) => `n${index + 1}`);
  const nodes = ids.map((id, index) => {
    const zone = index < shards * copies ? `z${(index % copies) + 1}` : 'z1';
    return `  - { id: ${id}, address: 127.0.0.1:${number('nodePort') + index}, zone: ${zone} }`;
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

# The first node of a shard is its primary. Nodes in no shard are spares.
shards:
${members.join('\n')}

proxy:
  listen: [ "127.0.0.1:${number('port')}" ]
  admin: 127.0.0.1:${number('adminPort')}

supervisor:
  listen: 127.0.0.1:${number('supervisorPort')}
  store: { file: ./state }
`;
}

/** The first flag that would part the nodes from the data that they have; null: none. */
function otherShape(config: Config, flags: LocalFlags): keyof LocalFlags | null {
  const has = flagsOf(config);
  const shape = ['shards', 'copies', 'spares', 'nodePort'] as const;
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
  };
}

function given(flags: LocalFlags): LocalFlags {
  return Object.fromEntries(namesOf(flags).map(name => [name, flags[name]]));
}

/** Writes the ports that flags name into the file, comments and all else left as they are. */
function takePorts(config: Config, file: string, flags: LocalFlags): Config {
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
  if (supervisorPort !== undefined && config.supervisor.listen.port !== supervisorPort) {
    document.setIn(['supervisor', 'listen'], `${config.supervisor.listen.host}:${supervisorPort}`);
  }
  const after = document.toString({ lineWidth: 0 });
  if (after === before) return config;
  writeWhole(file, after);
  return loadConfig(file);
}
