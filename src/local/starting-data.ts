import { copyFileSync, existsSync, renameSync } from 'node:fs';
import { makeDirectory } from '../base/directory.ts';
import type { RedisProcess } from './redis-process.ts';

/** Saving and copying a large data set takes its time. */
const SAVE_LIMIT_MS = 600_000;

/**
 * Gives a shard's primary, before it is started, the newest data that any of its copies has.
 *
 * A primary that had died is started by the next `up` with what it last saved, which may be old or nothing at all; its
 * replicas would then copy that, and writes that they still had would be gone. So where a replica still runs, or was
 * saved at the last orderly end and the primary was not, its dump becomes the primary's. Resolves to what should be
 * said about it, or null.
 *
 * `savedOffsets`: by node id, how far each node was that the last run saved.
 */
export async function bringNewestData(
  primary: RedisProcess,
  replicas: readonly RedisProcess[],
  savedOffsets: Readonly<Record<string, number>>,
): Promise<string | null> {
  if (primary.identity !== null) return null;
  const source =
    (await furthestAlive(replicas, existsSync(primary.dumpFile))) ?? furthestSaved(primary, replicas, savedOffsets);
  if (source === null) return null;
  if (source.identity !== null) await source.command(SAVE_LIMIT_MS, 'SAVE');
  await makeDirectory(primary.directory);
  const aside = `${primary.dumpFile}.${process.pid}`;
  copyFileSync(source.dumpFile, aside);
  renameSync(aside, primary.dumpFile);
  return `node ${primary.node.id} begins with the data of ${source.node.id}, which are newer than its own`;
}

/** The living replica that has applied most; one without keys never wins over a dump that the primary has. */
async function furthestAlive(replicas: readonly RedisProcess[], primaryHasDump: boolean): Promise<RedisProcess | null> {
  const reports = await Promise.all(
    replicas.map(async replica => {
      const report = replica.identity === null ? null : await replica.ask();
      if (report === null || report.loading || report.following?.syncing === true) return null;
      return report.keys === 0 && primaryHasDump ? null : { replica, offset: report.offset };
    }),
  );
  const usable = reports.filter(report => report !== null);
  return usable.sort((a, b) => b.offset - a.offset)[0]?.replica ?? null;
}

function furthestSaved(
  primary: RedisProcess,
  replicas: readonly RedisProcess[],
  savedOffsets: Readonly<Record<string, number>>,
): RedisProcess | null {
  if (savedOffsets[primary.node.id] !== undefined) return null;
  const offsetOf = (replica: RedisProcess): number => savedOffsets[replica.node.id] ?? -1;
  const usable = replicas.filter(replica => offsetOf(replica) >= 0 && existsSync(replica.dumpFile));
  return usable.sort((a, b) => offsetOf(b) - offsetOf(a))[0] ?? null;
}
