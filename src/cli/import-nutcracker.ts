/**
 * Makes Ringside's settings of twemproxy's, so that every key stays on the server where twemproxy put it.
 *
 * Read the way nutcracker reads its own file (`nc_conf.c`): every scalar is text, a server is taken apart from its end,
 * and what it would refuse is refused here too. What has no counterpart is told, one note each; nothing is dropped in
 * silence.
 */
import { isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from 'yaml';
import { ConfigError } from '../config/mistakes.ts';
import { TWEMPROXY_HASHES } from '../ring/twemproxy-hashes.ts';

export interface Imported {
  /** The text of a settings file. */
  yaml: string;
  /** What is different from before, and what there was no counterpart for; one sentence or two each. */
  notes: string[];
}

/**
 * The settings for one pool of a nutcracker.yml; `pool` names it where the file has several.
 *
 * Throws a `ConfigError` with every mistake found, each as `FILE:LINE:COLUMN: pool.setting: what is wrong`.
 */
export function importNutcracker(yamlText: string, fileName: string, options: { pool?: string } = {}): Imported {
  const source = new Source(yamlText, fileName);
  const pool = source.pool(options.pool);
  const imported = settingsOf(pool);
  source.throwMistakes();
  return imported;
}

interface Value {
  text: string;
  /** Where it stands, for messages. */
  node: Node | null;
}

/** One pool of the file: its settings as text, its servers, and where to report what is wrong with them. */
interface Pool {
  name: string;
  node: Node | null;
  settings: Map<string, Value>;
  servers: Value[];
  fileName: string;
  mistake(node: Node | null, setting: string, problem: string): void;
}

/** The parsed file and the mistakes found in it so far. */
class Source {
  #fileName: string;
  #lines = new LineCounter();
  #pools: Pair[];
  #mistakes: string[] = [];

  constructor(text: string, fileName: string) {
    this.#fileName = fileName;
    const document = parseDocument(text, { schema: 'failsafe', lineCounter: this.#lines, prettyErrors: false });
    const root = document.contents;
    for (const error of document.errors) this.#add(error.pos[0], error.message);
    if (this.#mistakes.length === 0 && (!isMap(root) || root.items.length === 0)) {
      this.#add(0, 'no pool found, expected a map of pools as in a nutcracker.yml');
    }
    this.throwMistakes();
    this.#pools = isMap(root) ? (root.items as Pair[]) : [];
  }

  pool(wanted: string | undefined): Pool {
    const names = this.#pools.map(pair => textOf(pair.key)).join(', ');
    const pair = this.#pools.find(each => wanted === undefined || textOf(each.key) === wanted);
    if (wanted === undefined && this.#pools.length > 1) {
      this.#add(0, `it has ${this.#pools.length} pools, expected one of them by --pool: ${names}`);
    } else if (!pair) {
      this.#add(0, `no pool ${wanted} in it, expected one of ${names}`);
    } else if (!isMap(pair.value)) {
      this.#add(offsetOf(pair.key as Node), `${textOf(pair.key)}: expected a map of settings`);
    }
    this.throwMistakes();
    return this.#read(pair as Pair);
  }

  throwMistakes(): void {
    if (this.#mistakes.length > 0) throw new ConfigError(this.#mistakes);
  }

  #read(pair: Pair): Pool {
    const name = textOf(pair.key);
    const pool: Pool = {
      name,
      node: pair.key as Node,
      settings: new Map(),
      servers: [],
      fileName: this.#fileName,
      mistake: (node, setting, problem) => this.#add(offsetOf(node), `${name}.${setting}: ${problem}`),
    };
    for (const item of isMap(pair.value) ? (pair.value.items as Pair[]) : []) {
      const setting = textOf(item.key);
      const value = item.value as Node | null;
      if (setting === 'servers') {
        if (isSeq(value)) pool.servers = value.items.map(each => ({ text: textOf(each), node: each as Node }));
        else pool.mistake(item.key as Node, setting, 'expected a list of servers');
      } else if (!KNOWN_SETTINGS.includes(setting)) {
        pool.mistake(item.key as Node, setting, 'twemproxy has no such setting');
      } else if (isScalar(value)) {
        pool.settings.set(setting, { text: textOf(value), node: value });
      } else {
        pool.mistake(item.key as Node, setting, 'expected a single value');
      }
    }
    return pool;
  }

  #add(offset: number, problem: string): void {
    const { line, col } = this.#lines.linePos(offset);
    this.#mistakes.push(`${this.#fileName}:${Math.max(1, line)}:${Math.max(1, col)}: ${problem}`);
  }
}

function textOf(node: unknown): string {
  return isScalar(node) ? String(node.value) : '';
}

function offsetOf(node: Node | null): number {
  return node?.range?.[0] ?? 0;
}

// ---- what becomes of each setting

/** Settings that are only told; each gives the note, or null where Ringside does the same anyway. */
const WITHOUT_COUNTERPART: Record<string, (text: string) => string | null> = {
  timeout: text =>
    `timeout: ${text} ms is not taken over. proxy.timeout (10s) bounds an answer, proxy.connect (2s) a connection.`,
  backlog: () => 'backlog has no counterpart.',
  client_connections: () => 'client_connections has no effect in twemproxy; proxy.limits.clients bounds clients here.',
  tcpkeepalive: () => 'tcpkeepalive has no counterpart.',
  reuseport: () => 'reuseport has no counterpart; proxy.workers lets several processes serve one port.',
  preconnect: () => 'preconnect has no counterpart.',
  server_connections: () =>
    'server_connections has no counterpart: connections to a node are opened as they are needed.',
  server_retry_timeout: () => 'server_retry_timeout has no counterpart: lost nodes are tried again without end.',
  server_failure_limit: () => 'server_failure_limit has no counterpart: no number of errors takes a node out.',
  auto_eject_hosts: text =>
    text === 'false'
      ? null
      : 'auto_eject_hosts has no counterpart: keys of a lost node never move to other nodes. Their commands wait for proxy.hold (5s) and are then refused.',
  redis_db: text =>
    Number(text) === 0
      ? null
      : `redis_db: ${text} is not taken over: keys lie in database ${text}, so clients must SELECT ${text} (redis://HOST:PORT/${text}).`,
};

const KNOWN_SETTINGS = [
  'listen',
  'hash',
  'hash_tag',
  'distribution',
  'redis',
  'redis_auth',
  ...Object.keys(WITHOUT_COUNTERPART),
];

function settingsOf(pool: Pool): Imported {
  const notes: string[] = [];
  if (pool.settings.get('redis')?.text !== 'true') {
    const node = pool.settings.get('redis')?.node ?? pool.node;
    pool.mistake(
      node,
      'redis',
      'this is a pool of memcached servers, expected redis: true; Ringside speaks Redis only',
    );
  }
  const password = pool.settings.get('redis_auth')?.text ?? '';
  const lines = [
    `# Made of pool ${pool.name} of ${pool.fileName}: every key stays where it is.`,
    `cluster: ${clusterOf(pool, notes)}`,
    `secret: \${RINGSIDE_SECRET}`,
    '',
    ...serversOf(pool),
    '',
    ringOf(pool),
    ...(password === '' ? [] : [`nodeAccess: { password: ${quoted(password)} }`]),
    '',
    'proxy:',
    `  listen: [ ${quoted(listenOf(pool, password !== '', notes))} ]`,
    ...(password === '' ? [] : [`  auth: { password: ${quoted(password)} }`]),
    '',
  ];
  notes.push('Set RINGSIDE_SECRET in the environment of every part: at least 16 characters, the same for all.');
  if (password !== '') {
    notes.push(
      'redis_auth stands in the file twice, as it did for twemproxy: towards nodes, and for clients to present.',
    );
  }
  for (const [setting, { text }] of pool.settings) {
    const note = WITHOUT_COUNTERPART[setting]?.(text) ?? null;
    if (note !== null) notes.push(note);
  }
  return { yaml: lines.join('\n'), notes };
}

function clusterOf(pool: Pool, notes: string[]): string {
  const fit =
    pool.name
      .replace(/[^A-Za-z0-9._-]/g, '-')
      .replace(/^[^A-Za-z0-9]+/, '')
      .slice(0, 63) || 'imported';
  if (fit !== pool.name)
    notes.push(`The cluster is called ${fit}, as ${pool.name} is no name that a cluster can have.`);
  return quoted(fit);
}

function ringOf(pool: Pool): string {
  const { settings } = pool;
  const hash = settings.get('hash')?.text ?? 'fnv1a_64';
  if (!(TWEMPROXY_HASHES as readonly string[]).includes(hash)) {
    pool.mistake(
      settings.get('hash')?.node ?? null,
      'hash',
      `got ${hash}, expected one of ${TWEMPROXY_HASHES.join(', ')}`,
    );
  }
  const distribution = settings.get('distribution')?.text ?? 'ketama';
  if (distribution !== 'ketama' && distribution !== 'modula') {
    const why = distribution === 'random' ? ': a key without a place of its own cannot be found again' : '';
    pool.mistake(
      settings.get('distribution')?.node ?? null,
      'distribution',
      `got ${distribution}, expected ketama or modula${why}`,
    );
  }
  const tag = settings.get('hash_tag');
  if (tag && !/^[\x20-\x7e]{2}$/.test(tag.text)) {
    pool.mistake(tag.node, 'hash_tag', 'expected two characters, an opening and a closing one');
  }
  const hashTag = tag ? `, hashTag: ${quoted(tag.text)}` : '';
  return `ring: { like: twemproxy, hash: ${hash}, distribution: ${distribution}${hashTag} }`;
}

// ---- addresses

interface Server {
  address: string;
  weight: number;
  /** What twemproxy hashes. */
  name: string;
}

function serversOf(pool: Pool): string[] {
  const servers: Server[] = [];
  if (pool.servers.length === 0) pool.mistake(pool.node, 'servers', 'expected at least one server');
  for (const { text, node } of pool.servers) {
    const server = serverOf(text);
    const problem = typeof server === 'string' ? server : conflict(server, servers);
    if (problem !== null) pool.mistake(node, 'servers', problem);
    else servers.push(server as Server);
  }
  const nodes = servers.map(({ address }, i) => `  - { id: n${i + 1}, address: ${quoted(address)} }`);
  const shards = servers.map(
    ({ name, weight }, i) => `  - { name: ${quoted(name)}, weight: ${weight}, nodes: [ n${i + 1} ] }`,
  );
  return [
    'nodes:',
    ...nodes,
    '',
    '# The names are what the ring hashes; they stay when nodes change.',
    'shards:',
    ...shards,
  ];
}

function conflict(server: Server, earlier: readonly Server[]): string | null {
  if (earlier.some(other => other.name === server.name)) return `two servers are called ${server.name}`;
  if (earlier.some(other => other.address === server.address)) {
    return `two servers at ${server.address}: a node belongs to one shard, expected each server once`;
  }
  return null;
}

/** `host:port:weight` and perhaps ` name`, taken apart from the end because a host may contain colons; or what is wrong. */
function serverOf(text: string): Server | string {
  if (text.startsWith('/')) return `${text} is a Unix socket, expected host:port:weight: nodes are reached by TCP`;
  const match = /^(\S+):(\d+):(\d+)(?: (\S+))?$/.exec(text);
  const [, host, port, weight, given] = match ?? [];
  if (host === undefined || port === undefined)
    return `got "${text}", expected host:port:weight or host:port:weight name`;
  if (!isPort(port)) return `got port ${port}, expected 1 to 65535`;
  if (Number(weight) === 0) return 'got weight 0, expected at least 1';
  // libmemcached leaves its default port out of what is hashed, and twemproxy follows it. The port is hashed as written.
  const name = given ?? (Number(port) === 11211 ? host : `${host}:${port}`);
  if (!/^[\x21-\x7e]{1,255}$/.test(name)) return `got the name ${name}, expected up to 255 printable ASCII characters`;
  return { address: hostPortText(host, port), weight: Number(weight), name };
}

function listenOf(pool: Pool, hasPassword: boolean, notes: string[]): string {
  const { text, node } = pool.settings.get('listen') ?? { text: '', node: pool.node };
  if (text.startsWith('/')) {
    const [path, mode] = text.split(/ (?=[^ ]*$)/);
    if (mode !== undefined) notes.push(`listen: the permissions ${mode} of the socket are not taken over.`);
    return `unix:${path}`;
  }
  const [, host, port] = /^(\S+):(\d+)$/.exec(text) ?? [];
  if (host === undefined || port === undefined || !isPort(port)) {
    pool.mistake(node, 'listen', `got "${text}", expected host:port or the path of a socket`);
    return '';
  }
  if (!hasPassword && !/^(localhost|127(\.\d+){3}|::1)$/.test(host)) {
    notes.push(
      `listen: ${text} is open to whoever reaches it. Ringside starts so only with proxy.auth, proxy.tls or proxy.allowInsecure: true.`,
    );
  }
  return hostPortText(host, port);
}

function isPort(text: string): boolean {
  return Number(text) >= 1 && Number(text) <= 65535;
}

function hostPortText(host: string, port: string): string {
  return host.includes(':') ? `[${host}]:${Number(port)}` : `${host}:${Number(port)}`;
}

/** A YAML scalar that is read back as this very text: `$${` is how settings write a `${` that is no reference. */
function quoted(text: string): string {
  return JSON.stringify(text.replaceAll('${', () => '$${'));
}
