import { describe, expect, it } from 'vitest';
import { proxyFile } from '../../src/cli/proxy-arguments.ts';

describe('the usual ways to write `proxy`', () => {
  it('are understood without the parser', () => {
    expect(proxyFile(['proxy'])).toBe('ringside.yaml');
    expect(proxyFile(['proxy', '--config', 'a.yaml'])).toBe('a.yaml');
    expect(proxyFile(['proxy', '-c', 'a.yaml'])).toBe('a.yaml');
    expect(proxyFile(['proxy', '--config=a=b.yaml'])).toBe('a=b.yaml');
  });

  it('leave everything else to it, mistakes included', () => {
    const others = [
      [],
      ['up'],
      ['--version'],
      ['proxy', '--help'],
      ['proxy', '--replace'],
      ['proxy', '--config'],
      ['proxy', '--config='],
      ['proxy', '--config', '--replace'],
      ['proxy', 'a.yaml'],
      ['proxy', '--config', 'a.yaml', '--replace'],
      ['proxy', '--config', 'a.yaml', 'b'],
    ];
    for (const words of others) expect(proxyFile(words), words.join(' ')).toBeNull();
  });
});
