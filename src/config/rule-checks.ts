import { shardNumbers } from './cross-checks.ts';
import type { Mistake, SettingPath } from './mistakes.ts';
import type { Settings } from './schema.ts';

/**
 * What `writes`, `reads` and `rules` say against each other and against the shape of the cluster.
 *
 * A rule is checked as it takes effect, with what it leaves open filled in; the mistake stands at what the rule says.
 */
export function checkRules(settings: Partial<Settings>): Mistake[] {
  const { writes, reads, rules = [], proxy } = settings;
  const copies = fewestCopies(settings);
  const mistakes: Mistake[] = [];
  if (writes && copies !== null) mistakes.push(...checkMinimum(['writes'], writes.minimumCopies, copies));
  if (reads) mistakes.push(...checkReads(['reads'], reads, reads));
  if (proxy && reads) mistakes.push(...checkZone(['reads'], reads, proxy.zone));
  for (const [index, rule] of rules.entries()) {
    const path = ['rules', index];
    if (copies !== null) mistakes.push(...checkMinimum([...path, 'writes'], rule.writes?.minimumCopies, copies));
    if (reads && rule.reads) mistakes.push(...checkReads([...path, 'reads'], rule.reads, reads));
    if (proxy && rule.reads) mistakes.push(...checkZone([...path, 'reads'], rule.reads, proxy.zone));
    const twin = rules.findIndex(other => other.match === rule.match);
    if (twin < index) {
      const message = `${JSON.stringify(rule.match)} is also the pattern of rules[${twin}], which comes first, expected each once`;
      mistakes.push({ path: [...path, 'match'], message });
    }
  }
  return mistakes;
}

/** Copies of the shard that has fewest, the primary included; null: not known for another mistake. */
function fewestCopies({ nodes, shards }: Partial<Settings>): number | null {
  if (nodes === undefined || shards === undefined) return null;
  if (!Array.isArray(shards)) return shardNumbers(shards, nodes.length).copies;
  return Math.min(...shards.map(shard => shard.nodes.length));
}

function checkMinimum(path: SettingPath, minimum: number | undefined, copies: number): Mistake[] {
  if (minimum === undefined || minimum <= copies) return [];
  const message =
    `${minimum} copies are more than the smallest shard has (${copies}): every write to it would be refused, ` +
    `expected at most ${copies}`;
  return [{ path: [...path, 'minimumCopies'], message }];
}

interface GivenReads {
  readonly from?: 'primary' | 'any' | 'zone' | undefined;
  readonly strict?: boolean | undefined;
}

function checkReads(path: SettingPath, own: GivenReads, all: GivenReads): Mistake[] {
  const strict = own.strict ?? all.strict;
  // A rule that asks for strictness and names no copy means the primary.
  const from = own.from ?? (own.strict === true ? 'primary' : all.from);
  if (strict !== true || from === undefined || from === 'primary') return [];
  if (own.from !== undefined) {
    const message = `got ${from}, expected primary: strict reads are answered by no other copy`;
    return [{ path: [...path, 'from'], message }];
  }
  return [{ path: [...path, 'strict'], message: `needs from: primary, expected that beside it, or strict: false` }];
}

function checkZone(path: SettingPath, own: GivenReads, zone: string | undefined): Mistake[] {
  if (own.from !== 'zone' || zone !== undefined) return [];
  const message = 'got zone, but proxy.zone is not given, expected that too, best by environment, or any or primary';
  return [{ path: [...path, 'from'], message }];
}
