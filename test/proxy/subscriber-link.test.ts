/** One connection that listens hands over to another: whatever comes on which of them first, each message is told once. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Shard } from '../../src/proxy/shard.ts';
import { SubscriberLink } from '../../src/proxy/subscriber-link.ts';
import { Connection, type ConnectionOwner } from '../../src/upstream/connection.ts';
import type { Request } from '../../src/upstream/request.ts';
import { until } from '../upstream/lane-stand.ts';
import { bulkText, type Link, ScriptedNode } from '../upstream/scripted-node.ts';

let node: ScriptedNode;
let link: SubscriberLink;
let told: string[];
/** The channel of the word, each time that it was published. */
let words: string[];

const frame = (...parts: string[]): string => `*${parts.length}\r\n${parts.map(bulkText).join('')}`;
const message = (text: string): string => frame('message', 'news', text);
const word = (): string => frame('smessage', words.at(-1) as string, '');

beforeEach(async () => {
  [told, words] = [[], []];
  node = await ScriptedNode.start(([command = '', ...names]) => {
    const kind = command.toLowerCase();
    return kind.endsWith('unsubscribe') ? null : names.map(name => frame(kind, name, '1')).join('');
  });
  const runId = 'a'.repeat(40);
  const { host, port } = node.target;
  const shard = {
    formed: true,
    state: { paused: false, primary: { host, port, runId } },
    openConnection: (owner: ConnectionOwner) => new Connection({ ...node.target, runId }, null, 2000, owner),
    lane: () => ({
      send: (_request: Request, bytes: Buffer) => void words.push(bytes.toString().split('\r\n')[4] as string),
    }),
  };
  link = new SubscriberLink(shard as unknown as Shard, (_kind, _name, bytes) => {
    told.push(bytes.toString().split('\r\n').at(-2) as string);
  });
  link.want({ kind: 'c', name: 'news' }, null);
  await until('it listens', () => node.links[0]?.heard.length === 1);
});
afterEach(async () => {
  link.close();
  await node.stop();
});

/** Begins to hand over; resolves to both connections when the word has been published. */
async function handOver(): Promise<[Link, Link]> {
  const before = words.length;
  const old = node.link;
  link.reconnect('an epoch has ended');
  await until('the word is published', () => words.length === before + 1);
  return [old, node.link];
}

async function expectTold(...texts: string[]): Promise<void> {
  await until(`${texts} is told`, () => told.length >= texts.length);
  await new Promise(resolve => setTimeout(resolve, 20));
  expect(told).toEqual(texts);
}

test.each(['c', 'p', 's'] as const)('a topic without a name is confirmed as any other (%s)', async kind => {
  let isConfirmed = false;
  link.want({ kind, name: '' }, () => {
    isConfirmed = true;
  });
  await until('it is confirmed', () => isConfirmed);
  await handOver();
});

test('what comes behind the word on the new one waits until the old one has brought what came before', async () => {
  const [old, fresh] = await handOver();
  fresh.say(message('1') + word() + message('2') + message('3'));
  old.say(message('0'));
  await expectTold('0');
  old.say(message('1') + word() + message('2'));
  await expectTold('0', '1', '2', '3');
  await until('the old one is left', () => old.socket.destroyed);
  fresh.say(message('4'));
  await expectTold('0', '1', '2', '3', '4');
});

test('what comes behind the word on the old one is left to the new one', async () => {
  const [old, fresh] = await handOver();
  old.say(message('1') + word() + message('2'));
  await expectTold('1');
  fresh.say(message('1') + word() + message('2') + message('3'));
  await expectTold('1', '2', '3');
});

test('the old one breaks before the word: the new one goes on where it ended, and the word means nothing any more', async () => {
  const [old, fresh] = await handOver();
  old.say(message('0') + message('1'));
  await expectTold('0', '1');
  fresh.say(message('1') + message('2'));
  await until('it was heard', () => told.length === 2);
  await new Promise(resolve => setTimeout(resolve, 20));
  old.socket.destroy();
  await expectTold('0', '1', '2');
  fresh.say(word() + message('3'));
  await expectTold('0', '1', '2', '3');
});

test('the old one breaks behind the word, which the new one has yet to hear', async () => {
  const [old, fresh] = await handOver();
  old.say(message('1') + message('2') + word());
  await expectTold('1', '2');
  old.socket.destroy();
  await new Promise(resolve => setTimeout(resolve, 20));
  fresh.say(message('1') + message('2') + word() + message('3'));
  await expectTold('1', '2', '3');
});

test('another epoch ends in the midst of it', async () => {
  const [old, fresh] = await handOver();
  old.say(message('1') + word() + message('2'));
  await expectTold('1');
  const first = word();
  link.reconnect('another epoch has ended');
  fresh.say(message('1') + first + message('2'));
  await until('the next word is published', () => words.length === 2);
  expect(words[1]).not.toBe(words[0]);
  fresh.say(message('3') + word());
  node.link.say(message('3') + word() + message('4'));
  await expectTold('1', '2', '3', '4');
});

test('before the old one has heard the word: it is as if the handing over had not begun', async () => {
  const [old, fresh] = await handOver();
  const first = word();
  old.say(message('1'));
  fresh.say(message('1') + first + message('2'));
  await expectTold('1');
  link.reconnect('another epoch has ended');
  old.say(first + message('2'));
  await until('the next word is published', () => words.length === 2);
  old.say(message('3') + word());
  node.link.say(word() + message('4'));
  await expectTold('1', '2', '3', '4');
});
