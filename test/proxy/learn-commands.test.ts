import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pipeline, Stand, until } from './stand.ts';

/** The table of commands is the nodes' own: a command that the shipped table lacks is routed by what its node says. */
describe('the table of commands', () => {
  let stand: Stand;

  beforeAll(async () => {
    stand = await Stand.start(2);
    await until(() => stand.proxy.commandsDigest !== '');
  });

  afterAll(() => stand.stop());

  test('is the one that the nodes have told', async () => {
    const wire = await stand.connect();
    const [count = ''] = await pipeline(wire, 'COMMAND COUNT');
    // Ringside's own GETS and CAS stand beside the nodes' commands.
    expect(stand.proxy.table.rows.length).toBe(Number(count.slice(1)) + 2);
  });

  test('still carries out what only Ringside knows', async () => {
    const wire = await stand.connect();
    expect(await pipeline(wire, 'SET counted 1', 'GETS counted')).toEqual([
      '+OK\r\n',
      '*2\r\n$1\r\n1\r\n$40\r\n356a192b7913b04c54574d18c28d46e6395428ab\r\n',
    ]);
  });

  test('goes with the version that HELLO tells', async () => {
    const wire = await stand.connect();
    const [info = ''] = await pipeline(await stand.connectTo(stand.nodes[0] as never), 'INFO server');
    const version = /redis_version:(\S+)/.exec(info)?.[1];
    const [hello = ''] = await pipeline(wire, 'HELLO 2');
    expect(hello).toContain(`$7\r\nversion\r\n$${version?.length}\r\n${version}\r\n`);
  });
});
