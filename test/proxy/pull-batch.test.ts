/** What becomes of each key of a batch, by what giver and taker answer: the nodes' part is the test's. */
import { expect, test } from 'vitest';
import { Pull } from '../../src/proxy/pull.ts';
import { PullBatch, type PullHost } from '../../src/proxy/pull-batch.ts';
import type { Asker } from '../../src/proxy/pull-link.ts';
import { Script, ScriptCall, type Sendable } from '../../src/proxy/pull-script.ts';
import { encodeCommand } from '../../src/resp/encoder.ts';
import { ReplyError, type ReplyValue } from '../../src/resp/reply-value.ts';
import { DROP_KEYS, NO_ROOM, PUT_KEYS, READ_KEYS, TOO_LARGE } from '../../src/topology/pull.ts';
import { Failure, type Request } from '../../src/upstream/request.ts';

/** A batch of keys named by the letters of `keys`, with what came of it written down. */
class Stand implements PullHost {
  readonly nowMs = 0;
  ended = false;
  readonly setName = 'set';
  readonly thereSetName: string | null = null;
  readonly bigKeyBytes = 1000;
  readonly looksFirst: boolean;
  readonly outcomes: string[] = [];
  readonly there: [number, number][] = [];
  readonly asked: { readonly words: string[]; readonly asker: Asker }[] = [];
  readonly puts: { readonly words: string[]; readonly request: Request }[] = [];
  readonly batch: PullBatch;

  constructor(keys: string, looksFirst = false) {
    this.looksFirst = looksFirst;
    const [first, ...others] = [...keys].map(key => new Pull(2, Buffer.from(key), `2:${key}`, 0)) as [Pull, ...Pull[]];
    const ask = (call: Sendable, asker: Asker): void => void this.asked.push({ words: wordsOf(call), asker });
    this.batch = new PullBatch([first, ...others], { ask }, this);
    this.batch.begin();
  }

  sendToTaker(request: Request, call: Sendable): void {
    this.puts.push({ words: wordsOf(call), request });
  }
  noteThere(there: number, asked: number): void {
    this.there.push([there, asked]);
  }
  onThere(pulls: readonly Pull[]): void {
    this.outcomes.push(`there ${pulls.map(({ key }) => key).join('')}`);
  }
  onPulled(pulls: readonly Pull[]): void {
    this.outcomes.push(`pulled ${pulls.map(({ key }) => key).join('')}`);
  }
  onRefused({ key }: Pull, text: string): void {
    this.outcomes.push(`refused ${key}: ${text}`);
  }
  onSetBack({ key }: Pull, problem: string): void {
    this.outcomes.push(`set back ${key}: ${problem}`);
  }
  onNoRoom(pulls: readonly Pull[]): void {
    if (pulls.length > 0) this.outcomes.push(`no room ${pulls.map(({ key }) => key).join('')}`);
  }
  onClosed(): void {
    this.outcomes.push('closed');
  }
  onPlaceFree(): void {
    this.outcomes.push('place free');
  }

  /** What came of it since this was last asked. */
  take(): string[] {
    return this.outcomes.splice(0);
  }

  giverSays(reply: ReplyValue): void {
    this.asked.at(-1)?.asker.onAnswer(reply);
  }

  takerSays(reply: string): void {
    const bytes = Buffer.from(reply);
    const { request } = this.puts.at(-1) as (typeof this.puts)[number];
    this.batch.onReply(request, bytes, 0, 5, false);
    this.batch.onReply(request, bytes, 5, bytes.length, true);
  }
}

function wordsOf(call: Sendable): string[] {
  const bytes = Buffer.alloc(call.length + 2);
  expect(call.write(bytes, 1)).toBe(call.length + 1);
  const text = bytes.toString('latin1', 1, call.length + 1);
  const words = text.split('\r\n$').map(word => word.slice(word.indexOf('\r\n') + 2));
  return words.map(word => word.replace(/\r\n$/, '')).slice(1);
}

const dump = (text: string): Buffer => Buffer.from(text);

test('a call has the words of the command, of whatever kind, and is as long as it says', () => {
  const script = new Script('return 1');
  const words = ['', Buffer.from([0, 255, 13, 10]), 'text', -1, Buffer.alloc(0)];
  for (let keys = 0; keys <= words.length; keys += 1) {
    const call = new ScriptCall(script, words.slice(0, keys), words.slice(keys));
    const bytes = Buffer.alloc(call.length);
    expect(call.write(bytes, 0)).toBe(call.length);
    expect(bytes.toString('latin1')).toBe(encodeCommand(['EVAL', 'return 1', keys, ...words]).toString('latin1'));
  }
});

test('all go through together: one READ, one confirmed PUT, one DROP', () => {
  const stand = new Stand('abc');
  expect(stand.asked[0]?.words).toEqual(['EVAL', READ_KEYS, '4', '', 'a', 'b', 'c', '2', '1000', '1048576']);
  stand.giverSays([dump('A'), -1, null, -2, dump('C'), 5000]);
  const put = ['EVAL', PUT_KEYS, '4', 'set', 'a', 'b', 'c', '2', 'A', '-1', '', '-2', 'C', '5000'];
  expect(stand.puts.map(({ words }) => words)).toEqual([put]);
  expect(stand.puts[0]?.request).toMatchObject({ confirm: 1, fixed: true, isWrite: true });
  expect(stand.take()).toEqual([]);
  stand.takerSays('*3\r\n:0\r\n:1\r\n:0\r\n');
  expect(stand.there).toEqual([[1, 3]]);
  expect(stand.asked[1]?.words).toEqual(['EVAL', DROP_KEYS, '3', 'a', 'b', 'c', '2']);
  // Others need not wait for the last step, but those of the batch do.
  expect(stand.take()).toEqual(['place free']);
  stand.giverSays(3);
  expect(stand.take()).toEqual(['pulled abc']);
});

test('one that is too large, has no room or is refused leaves the batch, and the others go on', () => {
  const stand = new Stand('abcde');
  stand.giverSays([5000, TOO_LARGE, dump('B'), -1, null, NO_ROOM, dump('D'), -1, null, NO_ROOM]);
  expect(stand.take()).toEqual(['set back a: it takes 5000 bytes, and is moved by the supervisor', 'no room ce']);
  expect(stand.puts[0]?.words.slice(2)).toEqual(['3', 'set', 'b', 'd', '2', 'B', '-1', 'D', '-1']);
  stand.takerSays('*2\r\n$3\r\nOOM\r\n:0\r\n');
  expect(stand.take()).toEqual(['refused b: OOM', 'place free']);
  expect(stand.asked[1]?.words.slice(2)).toEqual(['1', 'd', '2']);
  stand.asked[1]?.asker.onLost();
  expect(stand.take()).toEqual(['pulled d']);
});

test('where none is left nothing is put, or dropped', () => {
  const stand = new Stand('ab');
  stand.giverSays([5000, TOO_LARGE, 6000, TOO_LARGE]);
  expect(stand.take().at(-1)).toBe('place free');
  expect(stand.puts).toEqual([]);
  const refused = new Stand('ab');
  refused.giverSays([dump('A'), -1, dump('B'), -1]);
  refused.takerSays('*2\r\n$3\r\nOOM\r\n$3\r\nOOM\r\n');
  expect([refused.take(), refused.asked.length]).toEqual([['refused a: OOM', 'refused b: OOM', 'place free'], 1]);
});

test('what fails before the copies have them is begun anew for all that are still in the batch', () => {
  const ends: [string, (stand: Stand) => void][] = [
    ['the giver was lost', stand => stand.asked[0]?.asker.onLost()],
    ['the giver answers BUSY it is', stand => stand.giverSays(new ReplyError('BUSY it is'))],
    ['the giver answers something else than was asked', stand => stand.giverSays([dump('A'), -1, dump('B')])],
  ];
  for (const [problem, end] of ends) {
    const stand = new Stand('ab');
    end(stand);
    expect(stand.take()).toEqual([`set back a: ${problem}`, `set back b: ${problem}`, 'place free']);
  }
  const later: [string, (stand: Stand) => void][] = [
    ['it broke', stand => stand.batch.onFailure(stand.puts[0]?.request as Request, Failure.Uncertain, 'it broke')],
    ['the taker answers READONLY', stand => stand.takerSays('-READONLY\r\n')],
    ['the taker answers something else than was asked', stand => stand.takerSays('*1\r\n:0\r\n')],
  ];
  for (const [problem, end] of later) {
    const stand = new Stand('abc');
    stand.giverSays([dump('A'), -1, 5000, TOO_LARGE, dump('C'), -1]);
    stand.take();
    end(stand);
    expect(stand.take()).toEqual([`set back a: ${problem}`, `set back c: ${problem}`, 'place free']);
    expect(stand.asked.length).toBe(1);
  }
});

test('a set that is closed ends it, and nobody is told', () => {
  const onGiver = new Stand('ab');
  onGiver.giverSays(null);
  expect([onGiver.take(), onGiver.puts]).toEqual([['closed', 'place free'], []]);
  const onTaker = new Stand('ab');
  onTaker.giverSays([dump('A'), -1, dump('B'), -1]);
  onTaker.takerSays('$-1\r\n');
  expect([onTaker.take(), onTaker.asked.length]).toEqual([['closed', 'place free'], 1]);
});

test('takes no further step, and tells nothing, once the portion goes on otherwise', () => {
  const [read, put, drop, lost] = ['ab', 'ab', 'ab', 'ab'].map(keys => new Stand(keys)) as [Stand, Stand, Stand, Stand];
  read.ended = true;
  read.giverSays([dump('A'), -1, dump('B'), -1]);
  expect([read.take(), read.puts]).toEqual([[], []]);
  put.giverSays([dump('A'), -1, dump('B'), -1]);
  put.ended = true;
  put.takerSays('*2\r\n:0\r\n:0\r\n');
  expect([put.take(), put.asked.length]).toEqual([[], 1]);
  drop.giverSays([dump('A'), -1, dump('B'), -1]);
  drop.takerSays('*2\r\n:0\r\n:0\r\n');
  drop.take();
  drop.ended = true;
  drop.giverSays(2);
  expect(drop.take()).toEqual([]);
  lost.ended = true;
  lost.asked[0]?.asker.onLost();
  expect(lost.take()).toEqual([]);
});

test('where much is there already the taker is asked first, and only the rest is pulled', () => {
  const stand = new Stand('abc', true);
  expect([stand.asked, stand.puts[0]?.words]).toEqual([[], ['SMISMEMBER', 'set', '', '2:a', '2:b', '2:c']]);
  // Every copy of the taker must have what is there: what clients send now may be sent to any of them later.
  expect(stand.puts[0]?.request).toMatchObject({ confirm: 1, fixed: true, isWrite: false });
  stand.takerSays('*4\r\n:1\r\n:1\r\n:0\r\n:1\r\n');
  expect([stand.take(), stand.there]).toEqual([['there ac'], [[2, 3]]]);
  expect(stand.asked[0]?.words.slice(2, 6)).toEqual(['2', '', 'b', '2']);
  stand.giverSays([dump('B'), -1]);
  stand.takerSays('*1\r\n:0\r\n');
  stand.giverSays(1);
  expect([stand.take(), stand.asked.length]).toEqual([['place free', 'pulled b'], 2]);
});

test('what is there needs neither the giver nor a place any more', () => {
  const stand = new Stand('ab', true);
  stand.takerSays('*3\r\n:1\r\n:1\r\n:1\r\n');
  expect([stand.take(), stand.asked]).toEqual([['there ab', 'place free'], []]);
});

test('a look that fails, or finds the set closed, brings nobody on', () => {
  const ends: [string[], (stand: Stand) => void][] = [
    [['closed', 'place free'], stand => stand.takerSays('*3\r\n:0\r\n:0\r\n:1\r\n')],
    [
      again('it broke'),
      stand => stand.batch.onFailure(stand.puts[0]?.request as Request, Failure.Uncertain, 'it broke'),
    ],
    [again('the taker answers READONLY'), stand => stand.takerSays('-READONLY\r\n')],
    [again('the taker answers something else than was asked'), stand => stand.takerSays('*2\r\n:1\r\n:1\r\n')],
  ];
  for (const [told, end] of ends) {
    const stand = new Stand('ab', true);
    end(stand);
    expect([stand.take(), stand.asked]).toEqual([told, []]);
  }
  const over = new Stand('ab', true);
  over.ended = true;
  over.takerSays('*3\r\n:1\r\n:1\r\n:1\r\n');
  expect([over.take(), over.asked]).toEqual([[], []]);
});

const again = (problem: string): string[] => [`set back a: ${problem}`, `set back b: ${problem}`, 'place free'];
