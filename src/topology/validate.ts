import type { RingConfig } from '../ring/ring.ts';
import { TWEMPROXY_HASHES } from '../ring/twemproxy-hashes.ts';
import type { CurrentPortion, Portion, TopologyMove } from './move.ts';
import type { Topology, TopologyNode, TopologyShard } from './snapshot.ts';

/**
 * Lets in no topology that contradicts itself, whoever sent it and wherever it was kept.
 *
 * An unknown field is refused too: a supervisor newer than this proxy may mean by it that keys are elsewhere, and to
 * overlook that would be worse than to go on with the last topology that was understood. Written by hand, because this
 * runs in every proxy, where the library that checks the settings would cost 17 MB.
 */
export class TopologyError extends Error {
  override readonly name = 'TopologyError';
}

/** The same value as a topology; throws `TopologyError`, which names the field and what is wrong with it. */
export function validateTopology(value: unknown): Topology {
  const fields = mapAt(value, 'document', ['cluster', 'version', 'term', 'ring', 'shards', 'nodes', 'move']);
  const topology: Topology = {
    cluster: nameAt(fields['cluster'], 'cluster'),
    version: countAt(fields['version'], 'version'),
    // Documents of the first release have no term and pause nobody.
    term: fields['term'] === undefined || fields['term'] === 0 ? 0 : countAt(fields['term'], 'term'),
    ring: ringAt(fields['ring'], 'ring'),
    shards: listAt(fields['shards'], 'shards', 1, shardAt),
    nodes: listAt(fields['nodes'], 'nodes', 1, nodeAt),
    // Documents of earlier releases know of no move.
    move: fields['move'] === undefined || fields['move'] === null ? null : moveAt(fields['move'], 'move'),
  };
  const contradiction = findContradiction(topology);
  if (contradiction !== null) throw new TopologyError(`the topology contradicts itself: ${contradiction}`);
  return topology;
}

function ringAt(value: unknown, path: string): RingConfig {
  const kind = (value as { kind?: unknown } | null)?.kind;
  if (kind === 'murmur3') {
    const fields = mapAt(value, path, ['kind', 'hash', 'hashTag', 'vnodes']);
    const vnodes = countAt(fields['vnodes'], `${path}.vnodes`);
    const hash = choiceAt(fields['hash'], `${path}.hash`, ['murmur3']);
    return { kind, hash, hashTag: hashTagAt(fields['hashTag'], `${path}.hashTag`), vnodes };
  }
  if (kind !== 'twemproxy') throw malformed(`${path}.kind`, 'murmur3 or twemproxy');
  const fields = mapAt(value, path, ['kind', 'hash', 'distribution', 'hashTag']);
  return {
    kind,
    hash: choiceAt(fields['hash'], `${path}.hash`, TWEMPROXY_HASHES),
    distribution: choiceAt(fields['distribution'], `${path}.distribution`, ['ketama', 'modula']),
    hashTag: hashTagAt(fields['hashTag'], `${path}.hashTag`),
  };
}

function shardAt(value: unknown, path: string): TopologyShard {
  const fields = mapAt(value, path, [
    ...['name', 'weight', 'epoch', 'primary', 'inSync', 'joining', 'paused', 'nodes', 'copies'],
  ]);
  const { copies } = fields;
  return {
    name: nameAt(fields['name'], `${path}.name`),
    weight: weightAt(fields['weight'], `${path}.weight`),
    epoch: countAt(fields['epoch'], `${path}.epoch`),
    primary: nameAt(fields['primary'], `${path}.primary`),
    inSync: listAt(fields['inSync'], `${path}.inSync`, 0, nameAt),
    joining: nameOrNullAt(fields['joining'], `${path}.joining`),
    paused: flagAt(fields['paused'] ?? false, `${path}.paused`),
    nodes: listAt(fields['nodes'], `${path}.nodes`, 1, nameAt),
    ...(copies === undefined ? {} : { copies: countAt(copies, `${path}.copies`) }),
  };
}

function nodeAt(value: unknown, path: string): TopologyNode {
  const fields = mapAt(value, path, ['id', 'host', 'port', 'zone', 'runId', 'draining']);
  const port = countAt(fields['port'], `${path}.port`);
  if (port > 65535) throw malformed(`${path}.port`, 'a port');
  return {
    id: nameAt(fields['id'], `${path}.id`),
    host: nameAt(fields['host'], `${path}.host`),
    port,
    zone: nameAt(fields['zone'], `${path}.zone`),
    runId: nameOrNullAt(fields['runId'], `${path}.runId`),
    draining: flagAt(fields['draining'] ?? false, `${path}.draining`),
  };
}

function moveAt(value: unknown, path: string): TopologyMove {
  const fields = mapAt(value, path, [
    ...['id', 'ring', 'weights', 'portions', 'moved', 'current', 'aborting', 'paused', 'keysPerSecond', 'allowStalls'],
  ]);
  const { weights, current, paused, keysPerSecond } = fields;
  if (typeof weights !== 'object' || weights === null) throw malformed(`${path}.weights`, 'a map');
  return {
    id: countAt(fields['id'], `${path}.id`),
    ring: ringAt(fields['ring'], `${path}.ring`),
    weights: Object.fromEntries(
      Object.entries(weights).map(([name, weight]) => [name, weightAt(weight, `${path}.weights.${name}`)]),
    ),
    portions: listAt(fields['portions'], `${path}.portions`, 0, portionAt),
    moved: numberAt(fields['moved'], `${path}.moved`),
    current: current === null ? null : currentAt(current, `${path}.current`),
    aborting: flagAt(fields['aborting'], `${path}.aborting`),
    paused: paused === null ? null : textAt(paused, `${path}.paused`),
    keysPerSecond: keysPerSecond === null ? null : countAt(keysPerSecond, `${path}.keysPerSecond`),
    allowStalls: flagAt(fields['allowStalls'], `${path}.allowStalls`),
  };
}

function portionAt(value: unknown, path: string): Portion {
  const fields = mapAt(value, path, ['source', 'target', 'part', 'parts', 'keys']);
  return {
    source: nameAt(fields['source'], `${path}.source`),
    target: nameAt(fields['target'], `${path}.target`),
    part: numberAt(fields['part'], `${path}.part`),
    parts: countAt(fields['parts'], `${path}.parts`),
    keys: numberAt(fields['keys'], `${path}.keys`),
  };
}

function currentAt(value: unknown, path: string): CurrentPortion {
  const fields = mapAt(value, path, ['index', 'phase', 'way', 'set', 'thereSet']);
  const { thereSet } = fields;
  return {
    index: numberAt(fields['index'], `${path}.index`),
    phase: choiceAt(fields['phase'], `${path}.phase`, ['preparing', 'moving']),
    way: choiceAt(fields['way'], `${path}.way`, ['there', 'back', 'return']),
    set: countAt(fields['set'], `${path}.set`),
    thereSet: thereSet === null ? null : countAt(thereSet, `${path}.thereSet`),
  };
}

/** A map with these keys and no others. */
function mapAt(value: unknown, path: string, keys: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(path, 'a map');
  const stranger = Object.keys(value).find(key => !keys.includes(key));
  if (stranger !== undefined)
    throw malformed(`${path}.${stranger}`, 'no such field; its sender is newer than this program');
  return value as Record<string, unknown>;
}

function listAt<T>(value: unknown, path: string, minLength: number, itemAt: (item: unknown, path: string) => T): T[] {
  if (!Array.isArray(value) || value.length < minLength) throw malformed(path, `a list of at least ${minLength}`);
  return value.map((item, index) => itemAt(item, `${path}[${index}]`));
}

function nameAt(value: unknown, path: string): string {
  if (typeof value === 'string' && value.length > 0 && value.length <= 255) return value;
  throw malformed(path, 'a text of 1 to 255 characters');
}

function nameOrNullAt(value: unknown, path: string): string | null {
  return value === null ? null : nameAt(value, path);
}

function countAt(value: unknown, path: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 1) return value;
  throw malformed(path, 'a whole number from 1');
}

/** A whole number from 0. */
function numberAt(value: unknown, path: string): number {
  return value === 0 ? 0 : countAt(value, path);
}

function weightAt(value: unknown, path: string): number {
  if (typeof value === 'number' && value >= 0 && value < Number.POSITIVE_INFINITY) return value;
  throw malformed(path, 'a number from 0');
}

function flagAt(value: unknown, path: string): boolean {
  return choiceAt(value, path, [true, false]);
}

function textAt(value: unknown, path: string): string {
  if (typeof value === 'string' && value.length <= 10_000) return value;
  throw malformed(path, 'a text');
}

function hashTagAt(value: unknown, path: string): string {
  if (typeof value === 'string' && /^([\x00-\x7f]{2})?$/.test(value)) return value;
  throw malformed(path, 'two characters or none');
}

function choiceAt<const T extends string | boolean>(value: unknown, path: string, options: readonly T[]): T {
  const option = options.find(known => known === value);
  if (option !== undefined) return option;
  throw malformed(path, `one of ${options.join(', ')}`);
}

function malformed(path: string, expected: string): TopologyError {
  return new TopologyError(`the topology is malformed: ${path.replace(/^document\./, '')}: expected ${expected}`);
}

/** The first contradiction; null: there is none. */
function findContradiction({ shards, nodes, move }: Topology): string | null {
  const ids = nodes.map(node => node.id);
  const twin = repeated(ids);
  if (twin !== null) return `two nodes have the id ${twin}`;
  const address = repeated(nodes.map(node => `${node.host}:${node.port}`));
  if (address !== null) return `two nodes have the address ${address}`;
  const shardName = repeated(shards.map(shard => shard.name));
  if (shardName !== null) return `two shards have the name ${shardName}`;
  const shared = repeated(shards.flatMap(shard => shard.nodes));
  if (shared !== null) return `node ${shared} is a member twice`;
  const known = new Set(ids);
  for (const shard of shards) {
    const contradiction = contradictionOf(shard, known);
    if (contradiction !== null) return `shard ${shard.name}: ${contradiction}`;
  }
  if (!shards.some(({ weight }) => weight > 0)) return 'no shard owns any key';
  const astray = move === null ? null : contradictionOfMove(move, new Set(shards.map(({ name }) => name)));
  return astray === null ? null : `the move: ${astray}`;
}

function contradictionOfMove(
  { weights, portions, moved, current }: TopologyMove,
  names: ReadonlySet<string>,
): string | null {
  const unknown = [...Object.keys(weights), ...portions.flatMap(({ source, target }) => [source, target])].find(
    name => !names.has(name),
  );
  if (unknown !== undefined) return `${unknown} is no shard`;
  if (!Object.values(weights).some(weight => weight > 0)) return 'no shard would own any key';
  const wrong = portions.find(({ source, target, part, parts }) => source === target || part >= parts);
  if (wrong !== undefined)
    return `part ${wrong.part} of ${wrong.parts} from ${wrong.source} to ${wrong.target} is none`;
  const twin = repeated(portions.map(({ source, target, part }) => `${part} from ${source} to ${target}`));
  if (twin !== null) return `part ${twin} is there twice`;
  if (portions.some(({ source, target, parts }) => partsBetween(portions, source, target) !== parts))
    return 'a part of a portion is missing';
  if (moved > portions.length) return 'more was moved than there is';
  if (current === null) return null;
  if (current.index !== (current.way === 'back' ? moved - 1 : moved) || current.index >= portions.length)
    return `portion ${current.index} cannot be under way`;
  return (current.way === 'return') === (current.thereSet !== null)
    ? null
    : 'a set of the way there is missing, or too many';
}

function partsBetween(portions: readonly Portion[], from: string, to: string): number {
  return portions.filter(({ source, target }) => source === from && target === to).length;
}

function contradictionOf(shard: TopologyShard, known: ReadonlySet<string>): string | null {
  const stranger = shard.nodes.find(id => !known.has(id));
  if (stranger !== undefined) return `its member ${stranger} is no node of the cluster`;
  if (!shard.nodes.includes(shard.primary)) return `its primary ${shard.primary} is no member`;
  const outsider = shard.inSync.find(id => !shard.nodes.includes(id));
  if (outsider !== undefined) return `its in-sync replica ${outsider} is no member`;
  if (shard.inSync.includes(shard.primary)) return `its primary ${shard.primary} is also an in-sync replica`;
  const twin = repeated(shard.inSync);
  if (twin !== null) return `${twin} is in sync twice`;
  if (shard.joining === null) return null;
  if (!shard.nodes.includes(shard.joining)) return `its joining node ${shard.joining} is no member`;
  const isDone = shard.joining === shard.primary || shard.inSync.includes(shard.joining);
  return isDone ? `its joining node ${shard.joining} is in sync already` : null;
}

function repeated(words: readonly string[]): string | null {
  return words.find((word, index) => words.indexOf(word) !== index) ?? null;
}
