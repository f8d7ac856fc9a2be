import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Session } from '../../src/downstream/session.ts';
import { Stand } from '../proxy/stand.ts';

/** What a client's socket costs while nothing happens on it. */
describe('session', () => {
  let stand: Stand;

  beforeAll(async () => {
    stand = await Stand.start(1);
  });

  afterAll(() => stand.stop());

  test('a command that is cut costs nothing until the rest of it comes', async () => {
    const wire = await stand.connect();
    await wire.send(Buffer.from('*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI'));
    expect((await wire.take(1)).map(String)).toEqual(['+PONG\r\n']);
    const flush = vi.spyOn(Session.prototype, 'flush');
    // Each turn of the event loop is a chance to look at the client again for no reason.
    for (let turn = 0; turn < 200; turn += 1) await new Promise(resolve => setImmediate(resolve));
    expect(flush.mock.calls.length).toBeLessThan(5);
    flush.mockRestore();
    await wire.send(Buffer.from('NG\r\n'));
    expect((await wire.take(1)).map(String)).toEqual(['+PONG\r\n']);
  });
});
