import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { Random } from '../../src/base/random.ts';
import { md5 } from '../../src/ring/md5.ts';

const SEED = Number(process.env['RINGSIDE_SEED'] ?? Date.now() % 2 ** 31);

test(`every length around the block borders digests as OpenSSL does (RINGSIDE_SEED=${SEED})`, () => {
  const random = new Random(SEED);
  const bytes = Buffer.from(Array.from({ length: 1100 }, () => random.below(256)));
  const digest = new Int32Array(4);
  for (const length of [...Array(260).keys(), 1023, 1024, 1025]) {
    const start = random.below(64);
    md5(bytes, start, length, digest);
    const expected = createHash('md5')
      .update(bytes.subarray(start, start + length))
      .digest('hex');
    expect(Buffer.from(digest.buffer).toString('hex')).toBe(expected);
  }
});
