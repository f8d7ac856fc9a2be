import { describe, expect, it } from 'vitest';
import { encodeLogin, judgeLogin, readInfo, type Target } from '../../src/upstream/login.ts';

const TARGET: Target = {
  host: 'h',
  port: 1,
  username: '',
  password: '',
  runId: null,
  database: 0,
  protocol: 2,
};

/** The commands of a login, words joined by blanks. */
function said(target: Partial<Target>): string[] {
  const { bytes, replies } = encodeLogin({ ...TARGET, ...target });
  const commands = bytes
    .toString()
    .split(/\*\d+\r\n/)
    .slice(1);
  expect(replies).toBe(commands.length);
  return commands.map(command =>
    command
      .split('\r\n')
      .filter((_, i) => i % 2 === 1)
      .join(' '),
  );
}

describe('the login', () => {
  it('says no more than needed', () => {
    expect(said({})).toEqual(['CLIENT SETNAME ringside', 'CLIENT ID', 'INFO server replication persistence']);
  });

  it.each([
    [{ password: 'p' }, 'AUTH p'],
    [{ password: 'p', username: 'default' }, 'AUTH p'],
    [{ password: 'p', username: 'app' }, 'AUTH app p'],
  ])('authenticates first: %j', (target, command) => {
    expect(said(target)[0]).toBe(command);
  });

  it('chooses protocol and database behind the authentication', () => {
    expect(said({ password: 'p', protocol: 3, database: 5 })).toEqual([
      'AUTH p',
      'HELLO 3',
      'CLIENT SETNAME ringside',
      'SELECT 5',
      'CLIENT ID',
      'INFO server replication persistence',
    ]);
  });
});

describe('the login for ending a script', () => {
  it('says only what a busy node answers', () => {
    expect(said({ password: 'p', control: true })).toEqual(['AUTH p', 'HELLO 2']);
  });

  it('takes a primary, by what HELLO says of it, and nothing else', () => {
    const target = { ...TARGET, control: true };
    const hello = (role: string) => [Buffer.from('role'), Buffer.from(role), Buffer.from('modules'), []];
    expect(judgeLogin(target, [hello('master')]).problem).toBe('');
    expect(judgeLogin(target, [hello('replica')]).problem).toMatch(/not a primary/);
    expect(judgeLogin(target, [Buffer.from('x')]).problem).toMatch(/not a primary/);
  });
});

describe('an INFO reply', () => {
  it('is read into its fields, values with colons whole, headings left out', () => {
    const info = readInfo(
      '# Server\r\nredis_version:7.0.15\r\nexecutable:/a:b\r\n\r\n# Odd: heading\r\nempty:\r\n:x\r\n',
    );
    expect([...info]).toEqual([
      ['redis_version', '7.0.15'],
      ['executable', '/a:b'],
      ['empty', ''],
    ]);
  });
});
