import { describe, expect, test } from 'vitest';
import { ALLOWED, allowedFor } from './allowed.ts';
import { parseReply } from './reader.ts';

/** What the list says of two replies to a command written with spaces. */
function agree(words: string, subject: string, reference: string): boolean {
  const args = words.split(' ').map(word => Buffer.from(word));
  const allowed = allowedFor({ args });
  if (allowed === null) throw new Error(`no entry for ${words}`);
  return allowed.agree(parseReply(Buffer.from(subject)), parseReply(Buffer.from(reference)), args);
}

const array = (...items: string[]): string =>
  `*${items.length}\r\n${items.map(item => `$${item.length}\r\n${item}\r\n`).join('')}`;

describe('the list of allowed differences', () => {
  test('gives each entry one name, a reason and commands of its own', () => {
    expect(new Set(ALLOWED.map(one => one.name)).size).toBe(ALLOWED.length);
    const commands = ALLOWED.flatMap(one => one.commands);
    expect(new Set(commands).size).toBe(commands.length);
    for (const one of ALLOWED) expect(one.reason.length).toBeGreaterThan(15);
  });

  test('allows another order of members, and no other member', () => {
    expect(agree('SMEMBERS k', array('a', 'b'), array('b', 'a'))).toBe(true);
    expect(agree('SMEMBERS k', array('a', 'b'), array('b', 'c'))).toBe(false);
    expect(agree('SMEMBERS k', array('a', 'a'), array('a', 'b'))).toBe(false);
    expect(agree('SMEMBERS k', array('a'), '-WRONGTYPE x\r\n')).toBe(false);
  });

  test('keeps fields with their values', () => {
    expect(agree('HGETALL k', array('f', '1', 'g', '2'), array('g', '2', 'f', '1'))).toBe(true);
    expect(agree('HGETALL k', array('f', '2', 'g', '1'), array('g', '2', 'f', '1'))).toBe(false);
  });

  test('allows a scan page in another order, and no other cursor', () => {
    const page = (cursor: string, ...items: string[]): string =>
      `*2\r\n$${cursor.length}\r\n${cursor}\r\n${array(...items)}`;
    expect(agree('SSCAN k 0', page('0', 'a', 'b'), page('0', 'b', 'a'))).toBe(true);
    expect(agree('SSCAN k 0', page('5', 'a', 'b'), page('0', 'b', 'a'))).toBe(false);
  });

  test('holds what was drawn at random against the whole', () => {
    const whole = array('a', 'b', 'c');
    expect(agree('SRANDMEMBER k', '$1\r\nb\r\n', whole)).toBe(true);
    expect(agree('SRANDMEMBER k', '$1\r\nx\r\n', whole)).toBe(false);
    expect(agree('SRANDMEMBER k', '$-1\r\n', whole)).toBe(false);
    expect(agree('SRANDMEMBER k 2', array('a', 'c'), whole)).toBe(true);
    expect(agree('SRANDMEMBER k 2', array('a', 'a'), whole)).toBe(false);
    expect(agree('SRANDMEMBER k 2', array('a'), whole)).toBe(false);
    expect(agree('SRANDMEMBER k -2', array('a', 'a'), whole)).toBe(true);
    expect(agree('HRANDFIELD k 1 WITHVALUES', array('f', '1'), array('f', '1', 'g', '2'))).toBe(true);
    expect(agree('HRANDFIELD k 1 WITHVALUES', array('f', '2'), array('f', '1', 'g', '2'))).toBe(false);
    expect(agree('RANDOMKEY', '$1\r\nz\r\n', whole)).toBe(false);
  });

  test('allows times to move a little, and nothing beside them', () => {
    expect(agree('TTL k', ':100\r\n', ':101\r\n')).toBe(true);
    expect(agree('TTL k', ':-1\r\n', ':1\r\n')).toBe(false);
    expect(agree('TTL k', ':100\r\n', ':900\r\n')).toBe(false);
    const pending = (idle: number, count: number): string =>
      `*1\r\n*4\r\n$3\r\n1-1\r\n$1\r\nc\r\n:${idle}\r\n:${count}\r\n`;
    expect(agree('XPENDING k g - + 1', pending(5, 1), pending(9, 1))).toBe(true);
    expect(agree('XPENDING k g - + 1', pending(5, 1), pending(5, 2))).toBe(false);
  });

  test('masks the number of a connection in HELLO, and nothing else', () => {
    const hello = (id: number, role: string): string =>
      `*4\r\n$2\r\nid\r\n:${id}\r\n$4\r\nrole\r\n$${role.length}\r\n${role}\r\n`;
    expect(agree('HELLO 2', hello(7, 'master'), hello(9, 'master'))).toBe(true);
    expect(agree('HELLO 2', hello(7, 'slave'), hello(9, 'master'))).toBe(false);
  });

  test('tells the reference what the subject popped', () => {
    const args = ['SPOP', 'k', '2'].map(word => Buffer.from(word));
    const follow = allowedFor({ args })?.follow?.(args, parseReply(Buffer.from(array('a', 'b'))));
    expect(follow?.map(String)).toEqual(['SREM', 'k', 'a', 'b']);
    expect(agree('SPOP k 2', array('a', 'b'), ':2\r\n')).toBe(true);
    expect(agree('SPOP k 2', array('a', 'b'), ':1\r\n')).toBe(false);
  });
});
