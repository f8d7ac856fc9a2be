import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerOf, answersOf, frame, RawClient } from './raw-client.ts';
import { Node, Stand, sleep } from './stand.ts';

let stand: Stand;
let stock: Node;

beforeAll(async () => {
  stand = await Stand.start();
  stock = await Node.start();
});

afterAll(async () => {
  await stand?.stop();
  await stock?.close();
});

/** Each is sent to a stock Redis too, whose answer is the right one. */
const FRAMES: [string, string | Buffer][] = [
  ['a bulk length that is no number', '*1\r\n$abc\r\n'],
  ['a bulk length without digits', '*1\r\n$\r\n'],
  ['a negative bulk length', '*1\r\n$-1\r\n'],
  ['a bulk longer than allowed', '*2\r\n$3\r\nGET\r\n$600000000\r\n'],
  ['a bulk length past any integer', '*1\r\n$99999999999999999999\r\n'],
  ['a bulk length with a leading blank', '*1\r\n$ 4\r\nPING\r\n'],
  ['a bulk length with a plus sign', '*1\r\n$+4\r\nPING\r\n'],
  ['a bulk length with a leading zero', '*1\r\n$04\r\nPING\r\n'],
  ['something else where a bulk must be', '*1\r\nfoo\r\n'],
  ['an integer where a bulk must be', '*1\r\n:5\r\n'],
  ['a multibulk length that is no number', '*abc\r\n'],
  ['a multibulk length past any integer', '*99999999999999999999\r\n'],
  ['a multibulk length with a leading zero', '*01\r\n$4\r\nPING\r\n'],
  ['an empty multibulk and a command after it', '*0\r\n*1\r\n$4\r\nPING\r\n'],
  ['a negative multibulk and a command after it', '*-5\r\n*1\r\n$4\r\nPING\r\n'],
  ['empty lines and a command after them', '\r\n\r\n\nPING\r\n'],
  ['a good command before a malformed one', '*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$x\r\n'],
  ['a malformed one before a good one', '*1\r\n$z\r\n*1\r\n$4\r\nPING\r\n'],
  ['a bulk that does not end with its length', '*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n'],
  ['an empty command name', '*1\r\n$0\r\n\r\n'],
  ['an inline command', 'PING\r\n'],
  ['an inline command that ends with LF alone', 'PING\n'],
  ['an inline command with quotes and escapes', 'ECHO "a\\x41\\n\\"b\\" c"\r\nECHO \'single \\\' quote\'\r\n'],
  ['an inline command with a quote left open', 'ECHO "abc\r\n'],
  ['an inline command with something right after a quote', 'ECHO "abc"def\r\n'],
  ['an inline command with a zero byte in it', 'PING\0\r\n'],
  ['several inline commands at once', 'PING\r\nECHO a\r\nSET {i}k v\r\nGET {i}k\r\n'],
  ['inline and multibulk mixed', 'PING\r\n*1\r\n$4\r\nPING\r\nECHO x\r\n'],
  ['an inline command without an end', 'x'.repeat(70_000)],
  ['a multibulk header without an end', `*${'1'.repeat(70_000)}`],
  ['a bulk header without an end', `*1\r\n$${'1'.repeat(70_000)}`],
  ['an unknown command', frame('NOSUCH', 'a', 'b'.repeat(300))],
  [
    'an unknown command with bytes that are no text',
    frame(Buffer.from([0xff, 0x0a, 0x0d, 0x00]), Buffer.from([1, 2, 0x0a])),
  ],
  ['a web browser', 'POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'],
  ['a web browser that begins with GET', 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'],
  ['a RESP3 map where a command must be', '%1\r\n+a\r\n+b\r\n'],
  ['a wrong number of arguments', frame('GET')],
  ['an unknown subcommand', frame('CLIENT', 'NOSUCH')],
];

describe('malformed input gets the bytes that a stock Redis answers', () => {
  // Each on connections of its own: what is waited for most is that nothing more comes.
  it.concurrent.each(FRAMES)('%s', async (_name, bytes) => {
    const [ours, theirs] = await answersOf(stand.port, stock.port, bytes);
    expect(ours).toEqual(theirs);
  });

  it('nobody else notices', async () => {
    const redis = stand.client();
    await redis.set('bystander', 'fine');
    await Promise.all(FRAMES.slice(0, 12).map(([, bytes]) => answerOf(stand.port, bytes)));
    expect(await redis.get('bystander')).toBe('fine');
    expect(redis.status).toBe('ready');
  });
});

describe('a client may cut its bytes anywhere', () => {
  it('one byte at a time', async () => {
    const client = await RawClient.open(stand.port);
    const bytes = Buffer.concat([
      frame('SET', 'slow:1', 'first'),
      frame('GET', 'slow:1'),
      frame('MGET', 'slow:1', 'slow:2', 'slow:3'),
      Buffer.from('PING\r\n'),
      frame('DEL', 'slow:1', 'slow:2'),
    ]);
    for (const byte of bytes) {
      client.send(Buffer.of(byte));
      await new Promise(resolve => setImmediate(resolve));
    }
    expect(await client.textEndingWith(':1\r\n')).toBe(
      '+OK\r\n$5\r\nfirst\r\n*3\r\n$5\r\nfirst\r\n$-1\r\n$-1\r\n+PONG\r\n:1\r\n',
    );
    client.close();
  });

  it('in the middle of a value that comes much later, while others are served', async () => {
    const client = await RawClient.open(stand.port);
    const whole = frame('SET', 'halved', 'x'.repeat(200_000));
    client.send(whole.subarray(0, 120_000));
    await sleep(100);
    const redis = stand.client();
    for (let i = 0; i < 50; i += 1) expect(await redis.set(`other:${i}`, 'x')).toBe('OK');
    expect(await redis.exists('halved')).toBe(0);
    client.send(whole.subarray(120_000));
    expect(await client.textEndingWith('\r\n')).toBe('+OK\r\n');
    expect(await redis.strlen('halved')).toBe(200_000);
    client.close();
  });

  it('a client that leaves in the middle of a command leaves nothing behind', async () => {
    for (let i = 0; i < 20; i += 1) {
      const client = await RawClient.open(stand.port);
      client.send(frame('SET', 'torn', 'x'.repeat(100_000)).subarray(0, 1_000 + i * 4_000));
      await sleep(5);
      client.close();
    }
    const redis = stand.client();
    expect(await redis.exists('torn')).toBe(0);
    expect(await redis.set('torn', 'whole')).toBe('OK');
  });

  it('a client that closes its writing half is answered before the connection ends', async () => {
    const client = await RawClient.open(stand.port);
    client.socket.end(Buffer.concat([frame('SET', 'half', 'closed'), frame('GET', 'half'), frame('DBSIZE')]));
    await client.untilClosed();
    expect(client.text).toMatch(/^\+OK\r\n\$6\r\nclosed\r\n:\d+\r\n$/);
  });
});

describe('pipelining has no depth', () => {
  it('100,000 commands are sent before the first answer is read, all are answered in order', async () => {
    const client = await RawClient.open(stand.port);
    client.socket.pause();
    const count = 100_000;
    const pieces: Buffer[] = [];
    for (let i = 0; i < count; i += 1)
      pieces.push(i % 2 === 0 ? frame('INCR', `deep:${i % 50}`) : frame('ECHO', String(i)));
    client.send(Buffer.concat(pieces));
    await sleep(500);
    client.socket.resume();
    const expected: string[] = [];
    for (let i = 0; i < count; i += 1) {
      const text = String(i);
      expected.push(i % 2 === 0 ? `:${Math.floor(i / 50) + 1}\r\n` : `$${text.length}\r\n${text}\r\n`);
    }
    const whole = expected.join('');
    await client.until(() => client.length >= whole.length);
    expect(client.text === whole).toBe(true);
    client.close();
  });
});
