import { sizeInBytes, whyNotForAll } from '../topology/node-settings.ts';
import type { Mistake, SettingPath } from './mistakes.ts';
import { nearest } from './mistakes.ts';
import { durationText, joinHostPort, show } from './scalars.ts';
import type { Settings } from './schema.ts';

/**
 * What no single value can show: settings that contradict each other.
 *
 * Each check looks only at sections that are sound in themselves; a section with a mistake of its own is missing here.
 */
export function crossCheck(settings: Partial<Settings>): Mistake[] {
  const { nodes, shards, ring, nodeAccess, nodeSettings, proxy, supervisor } = settings;
  return [
    ...(nodes ? checkNodes(nodes) : []),
    ...(nodes && Array.isArray(shards) ? checkNamedShards(shards, nodes) : []),
    ...(nodes && shards && !Array.isArray(shards) ? checkPlacedShards(shards, nodes.length) : []),
    ...(ring ? checkRing(ring) : []),
    ...(ring && shards ? checkRingWithShards(ring, shards) : []),
    ...(nodeAccess ? checkCertificatePair(['nodeAccess', 'tls'], nodeAccess.tls) : []),
    ...(nodeSettings ? checkNodeSettings(nodeSettings, proxy?.limits.bulk) : []),
    ...(proxy ? checkProxy(proxy) : []),
    ...(supervisor ? checkSupervisor(supervisor) : []),
  ];
}

/** Whether only this machine can reach an address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** The numbers that a map of shards leaves open: as many copies as there are nodes for, at most three. */
export function shardNumbers(
  shards: { count?: number | undefined; copies?: number | undefined },
  nodes: number,
): { count: number; copies: number } {
  const copies = shards.copies ?? Math.max(1, Math.min(3, Math.floor(nodes / (shards.count ?? 1))));
  return { count: shards.count ?? Math.max(1, Math.floor(nodes / copies)), copies };
}

type NamedShards = Extract<Settings['shards'], readonly unknown[]>;
type PlacedShards = Exclude<Settings['shards'], readonly unknown[]>;

function checkNodes(nodes: Settings['nodes']): Mistake[] {
  const mistakes: Mistake[] = [];
  const ids = new Map<string, number>();
  const addresses = new Map<string, string>();
  for (const [index, { id, address }] of nodes.entries()) {
    const place = joinHostPort(address);
    const twin = ids.get(id);
    const neighbour = addresses.get(place);
    if (twin !== undefined) {
      mistakes.push(
        mistake(['nodes', index, 'id'], `${show(id)} is also the id of nodes[${twin}], expected a name of its own`),
      );
    } else if (neighbour !== undefined) {
      const message = `${place} is also the address of ${neighbour}, expected one node per Redis process`;
      mistakes.push(mistake(['nodes', index, 'address'], message));
    }
    ids.set(id, twin ?? index);
    addresses.set(place, neighbour ?? id);
  }
  return mistakes;
}

function checkNamedShards(shards: NamedShards, nodes: Settings['nodes']): Mistake[] {
  const mistakes: Mistake[] = [];
  const ids = nodes.map(node => node.id);
  const names = new Map<string, number>();
  const owners = new Map<string, string>();
  for (const [index, shard] of shards.entries()) {
    const twin = names.get(shard.name);
    if (twin !== undefined) {
      const message = `${show(shard.name)} is also the name of shards[${twin}], expected a name of its own`;
      mistakes.push(mistake(['shards', index, 'name'], message));
    }
    names.set(shard.name, twin ?? index);
    for (const [position, id] of shard.nodes.entries()) {
      const message = nodeOfShardMistake(id, ids, owners.get(id));
      if (message !== null) mistakes.push(mistake(['shards', index, 'nodes', position], message));
      owners.set(id, owners.get(id) ?? shard.name);
    }
  }
  return mistakes;
}

function nodeOfShardMistake(id: string, ids: readonly string[], owner: string | undefined): string | null {
  if (!ids.includes(id)) {
    const near = nearest(id, ids);
    return `no node has the id ${show(id)}, ${near === null ? `expected one of ${ids.join(', ')}` : `did you mean ${near}?`}`;
  }
  return owner === undefined ? null : `${id} is already in shard ${owner}, expected each node in one shard at most`;
}

function checkPlacedShards(shards: PlacedShards, nodes: number): Mistake[] {
  const { count, copies } = shardNumbers(shards, nodes);
  if (count * copies <= nodes) return [];
  const shape = `${count} shard${count === 1 ? '' : 's'} of ${copies} ${copies === 1 ? 'copy' : 'copies'}`;
  const message = `${shape} ${count === 1 ? 'needs' : 'need'} ${count * copies} nodes, but there are ${nodes}, expected more nodes, or fewer shards or copies`;
  return [mistake(['shards', shards.count === undefined ? 'copies' : 'count'], message)];
}

function checkRing(ring: Settings['ring']): Mistake[] {
  const mistakes: Mistake[] = [];
  const { hash, hashTag } = ring;
  if (hashTag !== undefined && hashTag !== '' && !/^[\x00-\x7f]{2}$/.test(hashTag)) {
    mistakes.push(
      mistake(['ring', 'hashTag'], `got ${show(hashTag)}, expected two different characters, or "" for none`),
    );
  } else if (hashTag !== undefined && hashTag !== '' && hashTag[0] === hashTag[1] && ring.like === undefined) {
    // twemproxy allows two equal ones, as in `a$tag$b`.
    mistakes.push(
      mistake(['ring', 'hashTag'], `got ${show(hashTag)}, expected two different characters, such as "{}"`),
    );
  }
  if (ring.like === undefined) {
    if (hash !== undefined && hash !== 'murmur3') {
      mistakes.push(
        mistake(['ring', 'hash'], `${hash} is a hash of twemproxy, expected murmur3, or \`like: twemproxy\` beside it`),
      );
    }
    if (ring.distribution !== undefined) {
      mistakes.push(mistake(['ring', 'distribution'], 'means nothing here, expected it only beside `like: twemproxy`'));
    }
    return mistakes;
  }
  if (hash === 'murmur3') {
    mistakes.push(
      mistake(['ring', 'hash'], 'murmur3 is no hash of twemproxy, expected another (murmur is a different one)'),
    );
  }
  if (ring.vnodes !== undefined) mistakes.push(vnodesBesideTwemproxy(['ring', 'vnodes']));
  return mistakes;
}

function checkRingWithShards(ring: Settings['ring'], shards: Settings['shards']): Mistake[] {
  if (Array.isArray(shards)) {
    if (ring.like === undefined) return [];
    return shards.flatMap((shard, index) => {
      if (Number.isInteger(shard.weight)) return [];
      return [
        mistake(['shards', index, 'weight'], `got ${shard.weight}, expected a whole number: twemproxy knows no others`),
      ];
    });
  }
  if (shards.vnodes === undefined) return [];
  if (ring.like !== undefined) return [vnodesBesideTwemproxy(['shards', 'vnodes'])];
  if (ring.vnodes === undefined) return [];
  return [mistake(['ring', 'vnodes'], 'is given twice, expected either shards.vnodes or ring.vnodes')];
}

function vnodesBesideTwemproxy(path: SettingPath): Mistake {
  return mistake(
    path,
    "means nothing beside `like: twemproxy`, expected none: the number of points is twemproxy's own",
  );
}

/** A certificate proves nothing without its key, nor a key without its certificate. */
function checkCertificatePair(path: SettingPath, tls: Settings['nodeAccess']['tls']): Mistake[] {
  if (!tls || (tls.cert === undefined) === (tls.key === undefined)) return [];
  const [given, missing] = tls.cert === undefined ? ['key', 'cert'] : ['cert', 'key'];
  return [mistake([...path, given as string], `is given alone, expected ${missing} beside it`)];
}

function checkNodeSettings(settings: Settings['nodeSettings'], bulk: number | undefined): Mistake[] {
  const mistakes = Object.keys(settings).flatMap(name => {
    const reason = whyNotForAll(name);
    return reason === null ? [] : [mistake(['nodeSettings', name], `${reason}, expected it not to be given`, true)];
  });
  const longest = settings['proto-max-bulk-len'];
  if (longest === undefined || bulk === undefined) return mistakes;
  if ((sizeInBytes(String(longest)) ?? 0) >= bulk) return mistakes;
  const message = `got ${show(longest)}, expected at least proxy.limits.bulk (${bulk}), or none: it follows from there`;
  return [...mistakes, mistake(['nodeSettings', 'proto-max-bulk-len'], message)];
}

function checkProxy({ listen, auth, tls, allowInsecure }: Settings['proxy']): Mistake[] {
  const mistakes: Mistake[] = [];
  const seen = new Set<string>();
  for (const [index, address] of listen.entries()) {
    const place = address.kind === 'unix' ? address.path : joinHostPort(address);
    if (seen.has(place))
      mistakes.push(mistake(['proxy', 'listen', index], `${place} is given twice, expected it once`));
    seen.add(place);
    if (address.kind === 'unix' || isLoopback(address.host) || auth || tls || allowInsecure) continue;
    const remedy = 'expected proxy.auth or proxy.tls, a loopback address, or proxy.allowInsecure: true';
    mistakes.push(
      mistake(['proxy', 'listen', index], `${place} can be reached from elsewhere without a password, ${remedy}`),
    );
  }
  if (tls && tls.clientCertificates !== 'none' && tls.ca === undefined) {
    const message = `${tls.clientCertificates} needs authorities to check against, expected proxy.tls.ca beside it`;
    mistakes.push(mistake(['proxy', 'tls', 'clientCertificates'], message));
  }
  if (tls?.clientCertificates === 'none' && tls.ca !== undefined) {
    const message = 'checks nothing while clientCertificates is none, expected optional or required there, or no ca';
    mistakes.push(mistake(['proxy', 'tls', 'ca'], message));
  }
  return mistakes;
}

function checkSupervisor({ listen, auth, allowInsecure, store, detect }: Settings['supervisor']): Mistake[] {
  const mistakes = [...checkStore(store), ...checkDetection(detect)];
  if (isLoopback(listen.host) || auth.dashboard === 'token' || allowInsecure) return mistakes;
  const place = joinHostPort(listen);
  const remedy = 'expected supervisor.auth.dashboard: token, a loopback address, or supervisor.allowInsecure: true';
  return [
    mistake(['supervisor', 'listen'], `${place} shows the cluster to whoever reaches it, ${remedy}`),
    ...mistakes,
  ];
}

function checkStore({ file, etcd }: Settings['supervisor']['store']): Mistake[] {
  if (etcd === undefined) return [];
  const path = ['supervisor', 'store', 'etcd'];
  const mistakes = checkCertificatePair([...path, 'tls'], etcd.tls);
  if (file !== undefined) {
    mistakes.push(mistake(['supervisor', 'store', 'file'], 'is given beside etcd, expected only one of the two'));
  }
  if ((etcd.username === undefined) !== (etcd.password === undefined)) {
    const [given, missing] = etcd.username === undefined ? ['password', 'username'] : ['username', 'password'];
    mistakes.push(mistake([...path, given as string], `is given alone, expected ${missing} beside it`));
  }
  const plain = etcd.endpoints.findIndex(url => url.startsWith('http://'));
  if (plain < 0 || (etcd.tls === undefined && !etcd.endpoints.some(url => url.startsWith('https://')))) return mistakes;
  const message = `${etcd.endpoints[plain]} is not encrypted, expected https:// for all endpoints, or for none and no tls`;
  return [...mistakes, mistake([...path, 'endpoints', plain], message)];
}

function checkDetection({ every, crashed, hung }: Settings['supervisor']['detect']): Mistake[] {
  if (hung >= 2 * every && hung >= crashed) return [];
  const least = Math.max(2 * every, crashed);
  const message = `got ${durationText(hung)}, expected at least ${durationText(least)}: twice detect.every, and detect.crashed`;
  return [mistake(['supervisor', 'detect', 'hung'], message)];
}

function mistake(path: SettingPath, message: string, atKey = false): Mistake {
  return atKey ? { path, message, atKey } : { path, message };
}
