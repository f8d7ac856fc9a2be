import { describe, expect, test } from 'vitest';
import { BufferPool } from '../../src/base/buffer-pool.ts';
import { Client, type ClientPort } from '../../src/proxy/client.ts';
import { ClientCells } from '../../src/telemetry/proxy-cells.ts';

/** A client whose socket takes nothing: what is written lies in `written`. */
function clientOf(pool: BufferPool): { client: Client; written: Buffer[] } {
  const written: Buffer[] = [];
  const port = { wake: () => {}, write: (buffer: Buffer) => written.push(buffer), onAnswered: () => {} };
  return { client: new Client(1, port as unknown as ClientPort, pool, new ClientCells()), written };
}

describe('what a client has yet to read', () => {
  test('keeps nobody else out while it waits to be written', () => {
    const pool = new BufferPool(1024 * 1024);
    const { client, written } = clientOf(pool);
    // As much as one turn of the event loop can bring for one client.
    for (let i = 0; i < 128; i += 1) client.reply(Buffer.alloc(64 * 1024));
    expect(pool.heldBytes).toBeGreaterThan(8 * 1024 * 1024 - 1);
    expect(pool.admitsSmall()).toBe(true);
    client.takeOut();
    expect(pool.unreadBytes).toBe(0);
    for (const buffer of written) pool.release(buffer);
    expect(pool.heldBytes).toBe(0);
  });

  test('is given back when the client goes', () => {
    const pool = new BufferPool(1024 * 1024);
    const { client } = clientOf(pool);
    for (let i = 0; i < 16; i += 1) client.reply(Buffer.alloc(64 * 1024));
    client.close();
    expect([pool.heldBytes, pool.unreadBytes]).toEqual([0, 0]);
  });
});
