import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BufferPool, LARGEST_BYTES } from '../../src/base/buffer-pool.ts';
import { CommandDecoder, type DecoderLimits, Framed } from '../../src/resp/command-decoder.ts';
import { encodeCommand } from '../../src/resp/encoder.ts';
import { type StockRedis, startStockRedis } from '../differential/stock-redis.ts';

const LIMITS: DecoderLimits = { bulkBytes: 512 * 1024 * 1024, inlineBytes: 64 * 1024, arguments: 1_048_576 };
const MIB = 1024 * 1024;

/** Sockets share one read buffer, which the next read overwrites: so does this one. */
const READ_BUFFER = Buffer.alloc(64 * 1024);

/** One client's bytes on their way through a decoder. */
class Reader {
  readonly pool: BufferPool;
  readonly decoder: CommandDecoder;
  /** Words of each command joined by `|`, problems behind `!`. */
  readonly found: string[] = [];

  constructor(limits: Partial<DecoderLimits> = {}, pool = new BufferPool(1e9)) {
    this.pool = pool;
    this.decoder = new CommandDecoder({ ...LIMITS, ...limits }, pool);
  }

  read(bytes: Buffer | string): void {
    const all = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
    for (let at = 0; at < all.length; at += READ_BUFFER.length) {
      const length = all.copy(READ_BUFFER, 0, at, at + READ_BUFFER.length);
      this.decoder.feed(READ_BUFFER, length);
      this.drain();
      this.decoder.keepRest();
      READ_BUFFER.fill(0xee);
    }
  }

  readByBytes(bytes: Buffer | string): void {
    for (const byte of Buffer.from(bytes as string, 'latin1')) this.read(Buffer.of(byte));
  }

  drain(): void {
    for (;;) {
      const framed = this.decoder.next();
      if (framed === Framed.Incomplete || this.found.at(-1)?.startsWith('!')) return;
      if (framed === Framed.Malformed) this.found.push(`!${this.decoder.problem}`);
      else if (framed === Framed.Overloaded) this.found.push('<overloaded>');
      else
        this.found.push(
          this.decoder.args
            .copyAll()
            .map(word => word.toString('latin1'))
            .join('|'),
        );
    }
  }
}

/** What is found in one read, having made sure that byte by byte the same is found and nothing stays held. */
function decode(bytes: string, limits: Partial<DecoderLimits> = {}, authenticated = true): string[] {
  const readers = [new Reader(limits), new Reader(limits)] as const;
  for (const reader of readers) reader.decoder.authenticated = authenticated;
  readers[0].read(bytes);
  readers[1].readByBytes(bytes);
  expect(readers[1].found).toEqual(readers[0].found);
  for (const reader of readers) {
    reader.decoder.close();
    expect(reader.pool.heldBytes).toBe(0);
  }
  return readers[0].found;
}

describe('the command decoder', () => {
  it.each([
    ['one command', '*2\r\n$3\r\nGET\r\n$1\r\nk\r\n', ['GET|k']],
    ['several in a row', '*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n', ['PING', 'QUIT']],
    ['empty arguments', '*2\r\n$4\r\nECHO\r\n$0\r\n\r\n', ['ECHO|']],
    ['line breaks and length marks in a value', '*2\r\n$4\r\nECHO\r\n$6\r\n\r\n$1\r\n\r\n', ['ECHO|\r\n$1\r\n']],
    ['arrays of nothing, which Redis skips', '*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n*0\r\n', ['PING']],
    ['inline commands', 'PING\r\nSET k "a b"\n\r\n\n  \r\nGET k\r\n', ['PING', 'SET|k|a b', 'GET|k']],
    ['inline between arrays', '*1\r\n$4\r\nPING\r\nPING\r\n*1\r\n$4\r\nPING\r\n', ['PING', 'PING', 'PING']],
    ['a short line behind an array of nothing', '*0\r\nX\n*0\r\n*0\r\n\nY\n', ['X', 'Y']],
    ['any byte where a line feed belongs, as Redis does', '*1\rx$4\rxPINGxx', ['PING']],
    ['a name of any bytes', '*1\r\n$2\r\n\xff\0\r\n', ['\xff\0']],
  ])('finds %s', (_name, bytes, commands) => {
    expect(decode(bytes)).toEqual(commands);
  });

  it('leaves what is unfinished for later', () => {
    for (const bytes of ['*', '*1', '*1\r', '*1\r\n$', '*1\r\n$4\r\nPIN', '*1\r\n$4\r\nPING\r', 'PIN', '"']) {
      expect(decode(bytes)).toEqual([]);
    }
  });

  it('finds a command of 1,000 arguments wherever it is cut', () => {
    const words = Array.from({ length: 1000 }, (_, i) => `w${i}`);
    const bytes = Buffer.concat([encodeCommand(['PING']), encodeCommand(words), encodeCommand(['PING'])]);
    for (let at = 1; at < bytes.length; at += 37) {
      const reader = new Reader();
      reader.read(bytes.subarray(0, at));
      reader.read(bytes.subarray(at, at + 1));
      reader.read(bytes.subarray(at + 1));
      expect(reader.found).toEqual(['PING', words.join('|'), 'PING']);
      expect(reader.pool.heldBytes).toBe(0);
    }
  });

  it('lets two clients share one object for what each has found', () => {
    const [one, other] = [new Reader(), new Reader()];
    const bytes = encodeCommand(Array.from({ length: 40 }, (_, i) => `w${i}`));
    for (let at = 0; at < bytes.length; at += 10) {
      one.read(bytes.subarray(at, at + 10));
      other.read('*2\r\n$3\r\nGET\r\n$1\r\nk\r\n');
    }
    expect(one.found).toEqual([Array.from({ length: 40 }, (_, i) => `w${i}`).join('|')]);
    expect(new Set(other.found)).toEqual(new Set(['GET|k']));
  });

  it('puts a command back and finds it again, be it in an array, inline, long or kept', () => {
    const long = Array.from({ length: 50 }, (_, i) => `w${i}`);
    const bytes = Buffer.concat([encodeCommand(['GET', 'k']), Buffer.from('ECHO "a b"\r\n'), encodeCommand(long)]);
    for (const cut of [0, 1, 25, 40, 100]) {
      const reader = new Reader();
      if (cut > 0) reader.decoder.feed(Buffer.from(bytes.subarray(0, cut)), cut);
      const found: string[] = [];
      const take = (): void => {
        while (reader.decoder.next() === Framed.Command) {
          const words = reader.decoder.args.copyAll().join('|');
          reader.decoder.unread();
          reader.decoder.keepRest();
          expect(reader.decoder.next()).toBe(Framed.Command);
          expect(reader.decoder.args.copyAll().join('|')).toBe(words);
          found.push(words);
        }
        reader.decoder.keepRest();
      };
      take();
      reader.decoder.feed(Buffer.from(bytes.subarray(cut)), bytes.length - cut);
      take();
      expect(found).toEqual(['GET|k', 'ECHO|a b', long.join('|')]);
    }
  });
});

describe('the limits of the command decoder', () => {
  it.each([
    ['arguments', '*5\r\n', { arguments: 4 }, 'invalid multibulk length'],
    ['length of an argument', '*1\r\n$11\r\n', { bulkBytes: 10 }, 'invalid bulk length'],
    ['length of a line', 'x'.repeat(101), { inlineBytes: 100 }, 'too big inline request'],
    ['length of a count', `*${'1'.repeat(100)}`, { inlineBytes: 100 }, 'too big mbulk count string'],
    ['length of a length', `*1\r\n$${'1'.repeat(100)}`, { inlineBytes: 100 }, 'too big bulk count string'],
  ])('hold for the %s, and no sooner', (_name, bytes, limits, problem) => {
    expect(decode(bytes, limits)).toEqual([`!${problem}`]);
    const oneMore = Object.fromEntries(Object.entries(limits).map(([name, value]) => [name, (value as number) + 1]));
    expect(decode(bytes, oneMore)).toEqual([]);
  });

  it('are narrow before a login, as in Redis', () => {
    expect(decode('*10\r\n', {}, false)).toEqual([]);
    expect(decode('*11\r\n', {}, false)).toEqual(['!unauthenticated multibulk length']);
    expect(decode('*1\r\n$16384\r\n', {}, false)).toEqual([]);
    expect(decode('*1\r\n$16385\r\n', {}, false)).toEqual(['!unauthenticated bulk length']);
  });
});

describe('malformed commands', () => {
  let redis: StockRedis;
  beforeAll(async () => {
    redis = await startStockRedis();
  });
  afterAll(() => redis.stop());

  /** What Redis itself says to the bytes before it closes. */
  function saidByRedis(bytes: string): Promise<string> {
    return new Promise((resolve, reject) => {
      let said = '';
      const socket = connect(redis.port, redis.host, () => socket.write(bytes, 'latin1'));
      socket.on('data', chunk => {
        said += chunk.toString('latin1');
      });
      socket.on('error', reject);
      socket.on('close', () => resolve(said));
    });
  }

  it.each([
    ['*x\r\n'],
    ['*1x\r\n'],
    ['*+1\r\n'],
    ['*01\r\n'],
    ['*\r\n'],
    ['*-0\r\n'],
    ['*99999999999999999999\r\n'],
    ['*9223372036854775807\r\n'],
    ['*1\r\nPING\r\n'],
    ['*1\r\n:4\r\n'],
    ['*1\r\n\xff\r\n'],
    ['*1\r\n$x\r\n'],
    ['*1\r\n$-1\r\n'],
    ['*1\r\n$04\r\n'],
    ['*1\r\n$ 4\r\n'],
    ['*1\r\n$\r\n'],
    ['*1\r\n$536870913\r\n'],
    ['*1\r\n$99999999999999999999\r\n'],
    ['*2\r\n$3\r\nGET\r\n*1\r\n'],
    ['ECHO "a\r\n'],
    ["ECHO 'a'b\r\n"],
    [`*${'1'.repeat(70_000)}`],
    [`*1\r\n$${'1'.repeat(70_000)}`],
    ['x'.repeat(70_000)],
  ])('%j is refused in the words of Redis', async bytes => {
    const found = bytes.length < 1000 ? decode(bytes) : decodeWhole(bytes);
    expect(found).toHaveLength(1);
    expect(`-ERR Protocol error: ${(found[0] as string).slice(1)}\r\n`).toBe(await saidByRedis(bytes));
  });

  it.each([['*1\0\r\n$4\r\nPING\r\n'], ['*1\r\n$4\0\r\nPING\r\n'], ['*1\r\nx\0\r\n'], ['PING\0\r\nPING\r\n']])(
    '%j is no line that ends, as in Redis, which does not see past a zero byte',
    async bytes => {
      expect(decode(bytes)).toEqual([]);
      const tooMuch = bytes + 'x'.repeat(65_536);
      expect(decodeWhole(tooMuch)).toHaveLength(1);
      expect(`-ERR Protocol error: ${(decodeWhole(tooMuch)[0] as string).slice(1)}\r\n`).toBe(
        await saidByRedis(tooMuch),
      );
    },
  );

  function decodeWhole(bytes: string): string[] {
    const reader = new Reader();
    reader.read(bytes);
    return reader.found;
  }
});

describe('large commands', () => {
  const value = Buffer.alloc(3 * MIB, 'v');
  const set = encodeCommand(['SET', 'k', value]);

  it('get a buffer of their length at once, which is handed over without a copy', () => {
    const reader = new Reader();
    reader.decoder.feed(set, 50_000);
    expect(reader.decoder.next()).toBe(Framed.Incomplete);
    reader.decoder.keepRest();
    expect(reader.pool.heldBytes).toBe(set.length);
    reader.decoder.feed(set.subarray(50_000), set.length - 50_000);
    expect(reader.decoder.next()).toBe(Framed.Command);
    const { from, to } = reader.decoder.args;
    const owned = reader.decoder.takeOwned() as Buffer;
    expect(owned.subarray(from, to).equals(set)).toBe(true);
    expect(reader.decoder.next()).toBe(Framed.Incomplete);
    expect(reader.decoder.pendingBytes).toBe(0);
    reader.pool.release(owned);
    expect([reader.pool.heldBytes, reader.pool.largeBytes]).toEqual([0, 0]);
  });

  it('are not handed over when other bytes lie beside them, nor when they were never kept', () => {
    const reader = new Reader();
    const pipeline = Buffer.concat([set, encodeCommand(['PING'])]);
    reader.decoder.feed(pipeline, pipeline.length);
    expect(reader.decoder.next()).toBe(Framed.Command);
    expect(reader.decoder.takeOwned()).toBeNull();
    const kept = new Reader();
    kept.decoder.feed(pipeline.subarray(0, 100), 100);
    kept.decoder.next();
    kept.decoder.keepRest();
    kept.decoder.feed(pipeline.subarray(100), pipeline.length - 100);
    expect(kept.decoder.next()).toBe(Framed.Command);
    expect(kept.decoder.takeOwned()).toBeNull();
    expect(kept.decoder.next()).toBe(Framed.Command);
    expect(kept.decoder.args.text(0)).toBe('PING');
  });

  it('cost no more than twice their length when others follow in the same bytes', () => {
    const pool = new BufferPool(1e9);
    const reader = new Reader({}, pool);
    let most = 0;
    const acquire = pool.acquire.bind(pool);
    pool.acquire = bytes => {
      const buffer = acquire(bytes);
      most = Math.max(most, pool.heldBytes);
      return buffer;
    };
    reader.read(Buffer.concat([set, encodeCommand(['PING']), set, set]));
    expect(reader.found.length).toBe(4);
    expect(most).toBeLessThan(2 * set.length + 4 * LARGEST_BYTES);
    expect(pool.heldBytes).toBe(0);
  });

  it('leave no large buffer to the small ones behind them', () => {
    const reader = new Reader();
    reader.read(Buffer.concat([set, Buffer.from('*2\r\n$3\r\nGET\r\n$5\r\nab')]));
    expect(reader.pool.heldBytes).toBeLessThanOrEqual(LARGEST_BYTES);
    reader.read('cde\r\n');
    expect(reader.found.at(-1)).toBe('GET|abcde');
    expect(reader.pool.heldBytes).toBe(0);
  });

  it('give their buffer back as soon as they are used up, be it between two reads', () => {
    const reader = new Reader();
    const ping = encodeCommand(['PING']);
    reader.decoder.feed(Buffer.concat([ping, ping]), 2 * ping.length);
    expect(reader.decoder.next()).toBe(Framed.Command);
    reader.decoder.keepRest();
    expect(reader.pool.heldBytes).toBeGreaterThan(0);
    reader.drain();
    expect(reader.pool.heldBytes).toBe(0);
  });

  it('are not kept alive by what was found last', () => {
    const reader = new Reader();
    const words = Array.from({ length: 40 }, () => Buffer.alloc(100_000, 'x'));
    reader.read(encodeCommand(words));
    expect(reader.decoder.args.count === 40 && reader.decoder.args.bytes.length > MIB).toBe(false);
  });

  it('without room are skipped and owed one error, and what follows is found', () => {
    const pool = new BufferPool(4 * MIB);
    const other = pool.acquire(2 * MIB);
    const reader = new Reader({}, pool);
    reader.read(Buffer.concat([set, encodeCommand(['PING'])]));
    expect(reader.found).toEqual(['<overloaded>', 'PING']);
    pool.release(other);
    reader.read(set.subarray(0, 100_000));
    expect(pool.heldBytes).toBe(set.length);
    reader.decoder.close();
    expect(pool.heldBytes).toBe(0);
  });

  it('are asked about for every large argument, not only the first', () => {
    const pool = new BufferPool(6 * MIB);
    const other = pool.acquire(2 * MIB);
    const reader = new Reader({}, pool);
    reader.read(encodeCommand(['MSET', 'a', value, 'b', value]));
    expect(reader.found).toEqual(['<overloaded>']);
    reader.decoder.close();
    pool.release(other);
    expect(pool.heldBytes).toBe(0);
  });

  it('are asked about when they consist of many small arguments', () => {
    const pool = new BufferPool(6 * MIB);
    pool.acquire(2 * MIB);
    const reader = new Reader({}, pool);
    reader.read(encodeCommand(['RPUSH', 'k', ...Array.from({ length: 100 }, () => value.subarray(0, 100_000))]));
    expect(reader.found).toEqual(['!too little memory for so large a command']);
    expect(pool.heldBytes).toBeLessThan(2 * 6 * MIB);
  });

  it('of more than a gigabyte are refused before they have come', () => {
    const reader = new Reader();
    reader.read('*4\r\n$4\r\nMSET\r\n$1\r\na\r\n$536870912\r\n');
    expect(reader.found).toEqual([]);
    const huge = new Reader({ bulkBytes: 2 ** 40 });
    huge.read('*2\r\n$3\r\nGET\r\n$2147483648\r\n');
    expect(huge.found).toEqual(['!too little memory for so large a command']);
  });
});
