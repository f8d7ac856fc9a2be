import type { NodeCalls } from './act.ts';
import type { Reply } from './core/effect.ts';
import type { SampledKey, ShardSample } from './plan.ts';

/**
 * Looks at some keys of a shard, drawn at random by its primary: how many there are in all, and how large those are.
 *
 * Bounded in number and time: a sample that takes too long is a smaller one.
 */
const SAMPLE = 1000;
const BATCH = 100;
const LIMIT_MS = 1500;

export interface SampleTarget {
  readonly shard: string;
  readonly nodeId: string;
  readonly runId: string;
}

/** Never rejects; a text: why nothing could be seen. */
export async function sampleShard(calls: NodeCalls, target: SampleTarget): Promise<ShardSample | string> {
  const { shard } = target;
  const endMs = performance.now() + LIMIT_MS;
  const ask = async (commands: readonly (readonly string[])[]): Promise<readonly Reply[] | string> => {
    const limitMs = Math.max(50, Math.ceil(endMs - performance.now()));
    const { nodeId, runId } = target;
    const outcome = await calls.perform({ kind: 'call', nodeId, runId, as: 'term', commands, limitMs, binary: true });
    return outcome.ok ? outcome.replies : outcome.text;
  };
  const answer = await ask([['INFO', 'keyspace']]);
  if (typeof answer === 'string') return answer;
  const databases = keysByDatabase(String(answer[0]));
  const keys = databases.reduce((sum, one) => sum + one.keys, 0);
  const sampled: SampledKey[] = [];
  for (const { database, keys: own } of databases) {
    let left = Math.min(own, Math.ceil((SAMPLE * own) / keys));
    while (left > 0 && performance.now() < endMs) {
      const count = Math.min(left, BATCH);
      left -= count;
      const drawn = await ask([['SELECT', String(database)], ...new Array<string[]>(count).fill(['RANDOMKEY'])]);
      if (typeof drawn === 'string') break;
      const names = drawn.slice(1).filter(name => typeof name === 'string');
      const sizes = await ask([
        ['SELECT', String(database)],
        ...names.map(name => ['MEMORY', 'USAGE', name, 'SAMPLES', '5']),
      ]);
      if (typeof sizes === 'string') break;
      names.forEach((key, index) => {
        const bytes = sizes[index + 1];
        if (typeof bytes === 'number') sampled.push({ database, key, bytes });
      });
    }
  }
  return { shard, keys, sampled };
}

function keysByDatabase(info: string): { database: number; keys: number }[] {
  return [...info.matchAll(/^db(\d+):keys=(\d+)/gm)].map(([, database, keys]) => {
    return { database: Number(database), keys: Number(keys) };
  });
}
