import { describedSchema, type JsonSchema } from './json-schema.ts';

/**
 * A settings file with every setting at its default, each with its description; what has no default is commented out.
 */
export function sampleSettings(): string {
  const lines = [...prose(HEAD), '# yaml-language-server: $schema=ringside.schema.json'];
  for (const [key, schema] of Object.entries(describedSchema().properties ?? {})) {
    lines.push('', ...setting(key, key, schema, false));
  }
  return `${lines.join('\n')}\n`;
}

const HEAD =
  'Every setting of Ringside with its default. cluster, secret and nodes are all that a file needs; what has no ' +
  'default is commented out, and taken in by taking away the first # of its lines. Any value may be given by ' +
  `environment, as \${NAME} or \${NAME:-default}.`;

/** Values for what has no default, as YAML. The first three are needed and not commented out. */
const EXAMPLES: Record<string, string> = {
  cluster: 'shop',
  secret: `\${RINGSIDE_SECRET}`,
  nodes: [
    '',
    '  - { id: a1, address: "127.0.0.1:7001", zone: a }',
    '  - { id: b1, address: "127.0.0.1:7002", zone: b }',
    '  - { id: c1, address: "127.0.0.1:7003", zone: c }',
  ].join('\n'),
  secretFile: '/run/secrets/ringside',
  'nodeAccess.tls.ca': 'tls/ca.pem',
  'nodeAccess.tls.cert': 'tls/proxy.pem',
  'nodeAccess.tls.key': 'tls/proxy.key',
  'nodeAccess.tls.serverName': 'redis.internal',
  'shards.count': '1',
  'shards.copies': '3',
  'shards.vnodes': '256',
  'ring.like': 'twemproxy',
  'ring.hash': 'murmur3',
  'ring.distribution': 'ketama',
  'ring.hashTag': '"{}"',
  'ring.vnodes': '256',
  'proxy.auth.password': `\${APP_PASSWORD}`,
  'proxy.tls.cert': 'tls/server.pem',
  'proxy.tls.key': 'tls/server.key',
  'proxy.tls.ca': 'tls/ca.pem',
  'proxy.tls.clientCertificates': 'required',
  'proxy.zone': `\${ZONE:-a}`,
  'supervisor.store.file': './state',
  'supervisor.store.etcd.endpoints': '[ "http://127.0.0.1:2379" ]',
  'supervisor.store.etcd.username': 'ringside',
  'supervisor.store.etcd.password': `\${ETCD_PASSWORD}`,
  'supervisor.store.etcd.tls.ca': 'tls/ca.pem',
  'supervisor.store.etcd.tls.cert': 'tls/etcd.pem',
  'supervisor.store.etcd.tls.key': 'tls/etcd.key',
  'supervisor.store.etcd.tls.serverName': 'etcd.internal',
  'supervisor.peers': '[ "http://127.0.0.1:7700" ]',
};

const NEEDED = new Set(['cluster', 'secret', 'nodes']);

const NAMED_SHARDS = ['shards:', '  - { name: s1, nodes: [a1, b1, c1], weight: 1 }'];

/** The lines of one setting, not indented. `isOff`: what is around it is commented out already. */
function setting(key: string, path: string, schema: JsonSchema, isOff: boolean): string[] {
  const about = prose(`${schema.description}${schema.values === undefined ? '' : ` (${schema.values})`}`);
  const comesOff = !isOff && schema.default === undefined && !NEEDED.has(path);
  const shape = shapeOf(schema);
  if (!shape) {
    const lines = `${key}: ${presetOf(path, schema)}`.replace(' \n', '\n').split('\n');
    return [...about, ...elementProse(schema), ...(comesOff ? switchOff(lines) : lines)];
  }
  const inner = Object.entries(shape).flatMap(([name, value]) =>
    setting(name, `${path}.${name}`, value, isOff || comesOff),
  );
  const lines = [`${key}:`, ...inner.map(line => `  ${line}`)];
  const others = path === 'shards' ? [...prose('Or by name:'), ...switchOff(NAMED_SHARDS)] : [];
  return [...about, ...(comesOff ? switchOff(lines) : lines), ...others];
}

/** The keys of a section; of one that has several forms, those of the map. */
function shapeOf({ properties, anyOf }: JsonSchema): Record<string, JsonSchema> | undefined {
  return properties ?? anyOf?.find(form => form.properties)?.properties;
}

function switchOff(lines: readonly string[]): string[] {
  return lines.map(line => `#${line}`);
}

/** What the elements of a list of maps may hold. */
function elementProse({ items }: JsonSchema): string[] {
  return Object.entries(items?.properties ?? {}).flatMap(([key, schema]) => memberProse(key, schema));
}

function memberProse(key: string, { description, values, default: preset, properties }: JsonSchema): string[] {
  const about = `${values ?? 'a map'}${preset === undefined || properties ? '' : `; default ${preset}`}`;
  const inner = Object.entries(properties ?? {}).flatMap(([name, schema]) => memberProse(`${key}.${name}`, schema));
  return [...prose(`${key}: ${description} (${about})`), ...inner];
}

function presetOf(path: string, schema: JsonSchema): string {
  return EXAMPLES[path] ?? JSON.stringify(schema.default).replace(/^"([a-z0-9./]+)"$/, '$1');
}

const WIDTH = 110;

function prose(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= WIDTH) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(`# ${word}`);
  }
  return lines;
}
