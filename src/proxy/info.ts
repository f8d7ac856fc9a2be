import { randomBytes } from 'node:crypto';
import os from 'node:os';
import type { Arguments } from '../resp/arguments.ts';
import { verbatim } from '../resp/encoder.ts';
import { MINUS } from '../resp/protocol.ts';
import { decodeReply } from '../resp/reply-value.ts';
import { ringsideVersion } from '../telemetry/version.ts';
import { wordArgument } from './argument-values.ts';
import type { Client } from './client.ts';
import { isBlocked } from './client-line.ts';
import { sendParts } from './every-shard.ts';
import { Verdict } from './forward.ts';
import { Gather } from './gather.ts';
import { formatInfo, type InfoSection, type InfoSections, mergeInfo, parseInfo, parsePairs } from './info-merge.ts';
import type { Proxy } from './proxy.ts';
import { ownKeyIn } from './pulled-keys.ts';
import type { Shard } from './shard.ts';

/**
 * INFO [section …]: one server's answer, made of those of all primaries and of what the proxy knows of itself.
 *
 * The nodes choose the sections, being asked in the client's own words. What concerns the process that the client talks
 * to (Server, Clients, connections) is the proxy's; data, hits, memory and load are the sum of the primaries. A shard
 * that cannot be asked is left out rather than waited for, and `# Ringside` says which.
 */
export function sendInfo(proxy: Proxy, client: Client, args: Arguments): Verdict {
  const wanted = new Wanted(args);
  const asked = proxy.shards.filter(shard => shard.up);
  const slot = client.reserve();
  proxy.metrics.commands.local += 1;
  const finish = (parts: readonly Buffer[]): void => {
    const heard = new Set<string>();
    const texts: InfoSections[] = [];
    parts.forEach((part, i) => {
      if (part.length === 0 || part[0] === MINUS) return;
      const shard = asked[i] as Shard;
      heard.add(shard.name);
      const sections = parseInfo(String(decodeReply(part)));
      hideOwnKey(proxy, shard, sections.get('Keyspace'));
      texts.push(sections);
    });
    client.fulfil(slot, verbatim(client.protocol, composeInfo(proxy, wanted, texts, heard)));
  };
  if (asked.length === 0) {
    finish([]);
    return Verdict.Done;
  }
  const gather = new Gather(client, slot, one => finish(one.parts));
  sendParts(proxy, gather, asked, args.bytes.subarray(args.from, args.to), false);
  return Verdict.Done;
}

/** Which sections the client asked for, as far as the proxy must know it by itself. */
class Wanted {
  readonly #words = new Set<string>();
  readonly #default: boolean;
  readonly #all: boolean;

  constructor(args: Arguments) {
    for (let i = 1; i < args.count; i += 1) this.#words.add(wordArgument(args, i));
    this.#default = this.#words.size === 0 || this.#words.has('default');
    this.#all = this.#words.has('all') || this.#words.has('everything');
  }

  /** For sections that INFO without arguments shows. */
  has(section: string): boolean {
    return this.#default || this.#all || this.#words.has(section.toLowerCase());
  }
}

function composeInfo(proxy: Proxy, wanted: Wanted, texts: InfoSections[], heard: ReadonlySet<string>): string {
  const sections = mergeInfo(texts);
  for (const [title, fields] of ownFields(proxy)) {
    const present = sections.get(title);
    if (present !== undefined) for (const [name, value] of fields) present.set(name, value);
    else if (texts.length === 0 && wanted.has(title)) sections.set(title, fields);
  }
  hideMark(sections.get('Memory'));
  addOwnErrors(proxy, sections.get('Errorstats'));
  if (wanted.has('ringside')) sections.set('Ringside', ringsideFields(proxy, heard));
  return formatInfo(sections);
}

/** What the proxy says of itself, in Redis's names. Also all there is to say while no shard can be asked. */
function ownFields(proxy: Proxy): InfoSections {
  const sections: InfoSections = new Map([
    ['Server', serverFields(proxy)],
    ['Clients', clientFields(proxy)],
  ]);
  const { accepted, refused } = proxy.metrics.clients;
  sections.set('Stats', fieldsOf({ total_connections_received: accepted, rejected_connections: refused }));
  // As many as WAIT can answer. Which they are is not for clients to know, as in ROLE.
  const replicas = Math.min(...proxy.holders.map(shard => shard.copies - 1));
  sections.set('Replication', fieldsOf({ role: 'master', connected_slaves: replicas }));
  sections.set('Cluster', fieldsOf({ cluster_enabled: 0 }));
  return sections;
}

function serverFields(proxy: Proxy): InfoSection {
  const uptime = Math.floor((Date.now() - proxy.startedWallMs) / 1000);
  const { listen } = proxy.config.proxy;
  const tcp = listen.find(address => address.kind === 'tcp');
  return fieldsOf({
    redis_version: proxy.nodeVersion,
    redis_mode: 'standalone',
    os: `${os.type()} ${os.release()} ${os.machine()}`,
    process_id: process.pid,
    process_supervised: 'no',
    run_id: RUN_ID,
    tcp_port: tcp?.kind === 'tcp' ? tcp.port : 0,
    server_time_usec: Date.now() * 1000,
    uptime_in_seconds: uptime,
    uptime_in_days: Math.floor(uptime / 86_400),
    executable: process.execPath,
    config_file: proxy.config.file,
  });
}

function clientFields(proxy: Proxy): InfoSection {
  let blocked = 0;
  let largestOutput = 0;
  for (const client of proxy.clients.values()) {
    if (isBlocked(client)) blocked += 1;
    largestOutput = Math.max(largestOutput, client.outBytes);
  }
  return fieldsOf({
    connected_clients: proxy.clients.size,
    cluster_connections: 0,
    maxclients: proxy.config.proxy.limits.clients,
    client_recent_max_input_buffer: 0,
    client_recent_max_output_buffer: largestOutput,
    blocked_clients: blocked,
    tracking_clients: 0,
    clients_in_timeout_table: 0,
  });
}

/** Every shard that serves carries the mark, a library with one function, which clients are not to know of. */
function hideMark(section: InfoSection | undefined): void {
  for (const name of ['number_of_functions', 'number_of_libraries']) {
    const count = section?.get(name);
    if (count !== undefined) section?.set(name, String(Math.max(0, Number(count) - 1)));
  }
}

/**
 * The set of pulled keys is not the clients'. While a portion is being prepared, it may not be there yet, and is counted
 * for the moment that it takes to begin.
 */
function hideOwnKey(proxy: Proxy, shard: Shard, section: InfoSection | undefined): void {
  const text = section?.get('db0');
  const isThere = proxy.moving?.phase === 'moving' || shard === proxy.moving?.giver;
  if (section === undefined || text === undefined || !isThere || ownKeyIn(proxy, shard, 0) === '') return;
  const keys = (parsePairs(text).get('keys') ?? 0) - 1;
  if (keys > 0) section.set('db0', text.replace(/keys=\d+/, `keys=${keys}`));
  else section.delete('db0');
}

/** Errors that the proxy answered without asking a node. */
function addOwnErrors(proxy: Proxy, section: InfoSection | undefined): void {
  if (section === undefined) return;
  for (const [word, count] of proxy.metrics.errors.entries()) {
    const name = `errorstat_${word}`;
    const before = parsePairs(section.get(name) ?? 'count=0').get('count') ?? 0;
    section.set(name, `count=${before + count}`);
  }
  const sorted = [...section].sort(([a], [b]) => (a < b ? -1 : 1));
  section.clear();
  for (const [name, value] of sorted) section.set(name, value);
}

function ringsideFields(proxy: Proxy, heard: ReadonlySet<string>): InfoSection {
  const { topology, shards } = proxy;
  const fields = fieldsOf({
    ringside_version: ringsideVersion(),
    cluster: topology.cluster,
    topology_version: topology.version,
    shards: shards.length,
    shards_up: shards.filter(shard => shard.up).length,
    shards_left_out: proxy.holders.flatMap(shard => (heard.has(shard.name) ? [] : shard.name)).join(','),
  });
  shards.forEach((shard, index) => {
    const { nodeId, host, port } = shard.address;
    // One that holds no keys yet is missed by nobody.
    const state = shard.up ? 'up' : proxy.holders.includes(shard) ? 'down' : 'coming';
    fields.set(`shard${index}`, `name=${shard.name},primary=${nodeId},addr=${host}:${port},state=${state}`);
  });
  return fields;
}

function fieldsOf(values: Readonly<Record<string, string | number>>): InfoSection {
  return new Map(Object.entries(values).map(([name, value]) => [name, String(value)]));
}

/** This process's incarnation, in the form that Redis gives its own. */
const RUN_ID = randomBytes(20).toString('hex');
