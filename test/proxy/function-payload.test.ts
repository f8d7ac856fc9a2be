/** Payloads of FUNCTION DUMP as a real node makes and takes them. */
import { describe, expect, test } from 'vitest';
import { libraryName, readPayload, writePayload } from '../../src/proxy/function-payload.ts';
import { crc64 } from '../../src/resp/crc64.ts';
import { stockRedisOfFile } from '../differential/measure.ts';
import { bodyOf } from './stand.ts';

const stockRedis = stockRedisOfFile();

const library = (name: string, filler = ''): string =>
  `#!lua name=${name}\n${filler}redis.register_function('${name}_f', function() return '${name}' end)`;

async function dumpOf(...libraries: string[]): Promise<Buffer> {
  await stockRedis().ask('FUNCTION', 'FLUSH');
  for (const code of libraries) expect((await stockRedis().ask('FUNCTION', 'LOAD', code))[0]).toBe(0x24);
  return Buffer.from(bodyOf(await stockRedis().ask('FUNCTION', 'DUMP')), 'latin1');
}

function read(payload: Buffer) {
  const content = readPayload(payload);
  if (typeof content === 'string') throw new Error(`the payload is ${content}`);
  return content;
}

test('the checksum is the one that Redis names as its check value', () => {
  expect(crc64(Buffer.from('123456789'), 9).readBigUInt64LE()).toBe(0xe9c6d914c4b8d9can);
});

describe('a payload', () => {
  test.each([
    ['short', library('a')],
    ['compressed', library('a', `-- ${'x'.repeat(3000)}\n`)],
    [
      'long and not to be compressed',
      library('a', `-- ${Array.from({ length: 4000 }, (_, i) => i.toString(36)).join('')}\n`),
    ],
  ])('with a %s library tells its name and code', async (_, code) => {
    const { libraries } = read(await dumpOf(code));
    expect(libraries.map(({ name }) => name)).toEqual(['a']);
    expect(libraries[0]?.code.toString()).toBe(code);
  });

  test('without one of its libraries is what a node without that library dumps', async () => {
    const both = read(await dumpOf(library('keep', `-- ${'y'.repeat(500)}\n`), library('drop')));
    const kept = writePayload(
      both.libraries.filter(({ name }) => name === 'keep'),
      both.footer,
    );
    expect(kept).toEqual(await dumpOf(library('keep', `-- ${'y'.repeat(500)}\n`)));
    expect((await stockRedis().ask('FUNCTION', 'RESTORE', kept, 'FLUSH')).toString()).toBe('+OK\r\n');
  });

  test('of nothing is none of libraries', async () => {
    const empty = await dumpOf();
    expect(read(empty).libraries).toEqual([]);
    expect(writePayload([], read(empty).footer)).toEqual(empty);
  });

  test('with any byte changed is damaged, as a node says too', async () => {
    const payload = await dumpOf(library('a'));
    for (let i = 0; i < payload.length; i += 7) {
      const changed = Buffer.from(payload);
      changed[i] = (changed[i] as number) ^ 1;
      expect(readPayload(changed)).toBe('damaged');
      expect((await stockRedis().ask('FUNCTION', 'RESTORE', changed)).toString()).toMatch(/^-ERR/);
    }
    for (const length of [0, 1, 9]) expect(readPayload(payload.subarray(0, length))).toBe('damaged');
  });

  test('with something unknown in it is unreadable, however sound', () => {
    const sound = (body: number[]): Buffer => {
      const bytes = Buffer.from([...body, 10, 0]);
      return Buffer.concat([bytes, crc64(bytes, bytes.length)]);
    };
    expect(readPayload(sound([246, 1, 0x61]))).toBe('unreadable');
    expect(readPayload(sound([245, 5, 0x61]))).toBe('unreadable');
    expect(readPayload(sound([245, 0xc0, 5]))).toBe('unreadable');
    expect(readPayload(sound([245, 0xc3, 2, 9, 0x20, 0]))).toBe('unreadable');
    expect(readPayload(sound([245, 1, 0x61]))).toMatchObject({ libraries: [{ name: '' }] });
  });
});

describe("a library's name", () => {
  test.each(['#!lua name=x\n', '#!LUA NAME=x\n', '#!lua   name="x"\n', '#!lua name="\\x78"\n', '#!lua flags name=x\n'])(
    'is found in %j',
    line => expect(libraryName(Buffer.from(line))).toBe('x'),
  );

  test('is found wherever a real node finds it', async () => {
    for (const line of ['#!lua name="\\x72ingside_mark"', "#!lua name='ringside_mark'", '#!Lua Name=ringside_mark']) {
      await stockRedis().ask('FUNCTION', 'FLUSH');
      const reply = bodyOf(
        await stockRedis().ask('FUNCTION', 'LOAD', `${line}\nredis.register_function('f', function() end)`),
      );
      expect(reply).toBe('ringside_mark');
      expect(libraryName(Buffer.from(`${line}\n`)), line).toBe('ringside_mark');
    }
  });

  test('is none without a line that says so', () => {
    for (const code of ['', '#!lua name=x', 'return 1\n', '#!lua\n', '#!lua name="x\n']) {
      expect(libraryName(Buffer.from(code)), code).toBe('');
    }
  });
});
