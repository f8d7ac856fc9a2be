/**
 * Writes into a settings file what was applied without it, so that it says what is in force; comments are left as they are.
 */
import { readFileSync } from 'node:fs';
import { isMap, isSeq, parseDocument } from 'yaml';
import { loadConfig } from '../config/load.ts';
import { writeWhole } from '../local/written-file.ts';
import type { Wish } from './proposals.ts';

/** False where the file does not name its shards, or not so that it can be changed in place: then nothing is written. */
export function saveWish(file: string, wish: Exclude<Wish, { kind: 'file' }>, nodes: readonly string[]): boolean {
  const text = readFileSync(file, 'utf8');
  const document = parseDocument(text);
  const shards = document.get('shards');
  if (!isSeq(shards)) return false;
  const index = shards.items.findIndex(item => isMap(item) && item.get('name') === wish.name);
  if (wish.kind === 'add-shard') {
    if (index >= 0) return false;
    const weight = wish.weight === 1 ? {} : { weight: wish.weight };
    const item = document.createNode({ name: wish.name, nodes, ...weight });
    if (isMap(item)) {
      item.flow = true;
      const list = item.get('nodes');
      if (isSeq(list)) list.flow = true;
    }
    shards.add(item);
  } else if (index < 0) return false;
  else if (wish.kind === 'remove-shard') shards.delete(index);
  else document.setIn(['shards', index, 'weight'], wish.weight);
  writeWhole(file, document.toString({ lineWidth: 0 }));
  try {
    loadConfig(file);
    return true;
  } catch {
    writeWhole(file, text);
    return false;
  }
}
