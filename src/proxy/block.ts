import type { BufferPool } from '../base/buffer-pool.ts';
import type { CommandRow } from '../commands/row.ts';
import type { Arguments } from '../resp/arguments.ts';
import type { Client } from './client.ts';

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
  /** The block selects a database: it runs on a connection of its own. */
  selects = false;
  /** Bytes of its commands, which count as held by the proxy. */
  bytes = 0;

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
  readonly shard: number;
  /** The proxy answers it; the node never sees it. */
  readonly local: boolean;
}
