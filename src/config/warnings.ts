import type { Config } from './config.ts';
import { durationText } from './scalars.ts';

/**
 * What a settings file may say, and what is most likely not meant.
 *
 * A mistake stops every process; these are told and obeyed.
 */
export function settingWarnings(config: Config): string[] {
  return [...timeoutWarnings(config), ...lossWarnings(config), ...zoneWarnings(config)];
}

/** How much longer than finding a hung copy it takes to go on without it, with room to spare. */
const GOING_ON_MS = 1000;

function timeoutWarnings({ writes, rules, supervisor }: Config): string[] {
  const { hungMs } = supervisor.detect;
  const least = hungMs + GOING_ON_MS;
  const told = (path: string, timeoutMs: number) =>
    `${path}: ${durationText(timeoutMs)} is less than supervisor.detect.hung (${durationText(hungMs)}) + 1s: when a ` +
    `copy hangs, clients see -UNCERTAIN instead of a pause; expected at least ${durationText(least)}`;
  const places = rules.map((rule, index) => ({ path: `rules[${index}].writes.timeout`, writes: rule.writes }));
  return [
    ...(writes.timeoutMs < least ? [told('writes.timeout', writes.timeoutMs)] : []),
    ...places
      .filter(place => place.writes.timeoutMs < least && place.writes.timeoutMs !== writes.timeoutMs)
      .map(place => told(place.path, place.writes.timeoutMs)),
  ];
}

function lossWarnings({ writes, shards }: Config): string[] {
  const single = shards.filter(shard => shard.nodes.length === 1).map(shard => shard.name);
  if (writes.acknowledge !== 'all' || single.length === 0) return [];
  const which = `${single.length === 1 ? 'shard' : 'shards'} ${single.join(', ')}`;
  return [`shards: a single copy in ${which}: what is acknowledged there is lost with its node`];
}

function zoneWarnings({ reads, rules, proxy, nodes }: Config): string[] {
  const readsByZone = reads.from === 'zone' || rules.some(rule => rule.reads.from === 'zone');
  if (!readsByZone || proxy.zone === null || nodes.some(node => node.zone === proxy.zone)) return [];
  const zones = [...new Set(nodes.map(node => node.zone))].join(', ');
  return [`proxy.zone: no node is in zone ${proxy.zone} (there are ${zones}): every read goes to the primary`];
}
