import type { BufferPool } from '../base/buffer-pool.ts';
import { type CommandRow, Effect } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import type { Client } from './client.ts';
import { strictest, type Terms } from './rules.ts';

/**
 * The commands of one client between MULTI and EXEC.
 */
export class Transaction {
  readonly commands: Queued[] = [];
  /** Something was refused: EXEC will answer EXECABORT. */
  spoiled = false;
  /** The shard of all keys so far; -1: no key yet. */
  shard = -1;
  /** Keys of several shards; only with `transactions: split`. */
  split = false;
  /** Its keys have come to lie on several shards since they were queued: it can no longer be carried out. */
  apart = false;
  /** Of `Proxy.ownersVersion`: the owners by which shards are named here. */
  ownersVersion = 0;
  /** The block selects a database: it runs on a connection of its own. */
  selects = false;
  /** The strictest terms of its commands; null: none has come. */
  terms: Terms | null = null;
  /** The most that any of its commands does to the data: one of `Effect`. */
  effect: number = Effect.None;
  /** One of its commands is a write in Redis's sense, which a lack of copies forbids. */
  changer: CommandRow | null = null;
  /** Bytes of its commands, which count as held by the proxy. */
  bytes = 0;

  /** Takes the terms of one more command; a block is one write, so all of it goes by the strictest. */
  take(row: CommandRow, terms: Terms): void {
    this.terms = this.terms === null ? terms : strictest(this.terms, terms);
    this.effect = Math.max(this.effect, row.effect);
    if (row.changesData) this.changer = row;
  }

  spoil(): void {
    this.spoiled = true;
  }
}

/** Ends the client's block, if one is open: what was held for it counts no more. */
export function endBlock(client: Client, pool: BufferPool): void {
  if (client.transaction === null) return;
  pool.heldBytes -= client.transaction.bytes;
  client.transaction = null;
}

/** One command of a block. */
export interface Queued {
  readonly args: Arguments;
  readonly row: CommandRow;
  /** Its shard; -1: whatever shard the block is on. */
  shard: number;
  /** The proxy answers it; the node never sees it. */
  readonly local: boolean;
}
