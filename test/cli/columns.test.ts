import { expect, it } from 'vitest';
import { columns } from '../../src/cli/columns.ts';

it('columns stand below each other, and no line ends in spaces', () => {
  const text = columns([
    ['SHARD', 'NODE', 'STATE'],
    ['s1', 'a-long-name', 'up'],
    ['', 'b', ''],
    ['ä', '😀', 'x'],
  ]);
  expect(text).toBe(
    ['SHARD  NODE         STATE', 's1     a-long-name  up', '       b', 'ä      😀            x', ''].join('\n'),
  );
});
