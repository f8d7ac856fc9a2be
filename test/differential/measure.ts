/** One stock Redis for all tests of a file, and a connection to it: what they hold their own answers against. */
import { afterAll, beforeAll } from 'vitest';
import { type StockRedis, startStockRedis } from './stock-redis.ts';
import { Wire } from './wire.ts';

/** Gives the connection, once the tests run. Called where tests are described. */
export function stockRedisOfFile(): () => Wire {
  let node: StockRedis | null = null;
  let wire: Wire | null = null;
  beforeAll(async () => {
    node = await startStockRedis();
    wire = await Wire.open(node);
  });
  afterAll(async () => {
    wire?.close();
    await node?.stop();
  });
  return () => {
    if (wire === null) throw new Error('the stock Redis does not run yet');
    return wire;
  };
}
