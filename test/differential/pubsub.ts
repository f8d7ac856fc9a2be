/** Plays a subscription on both sides, message by message, and compares what the listener heard. */
import { PUSH_ORDER } from './allowed.ts';
import type { Command, Step } from './generator.ts';
import { describe, type Judge } from './judge.ts';
import { parseReply, printable, type Reply } from './reader.ts';
import { encode, type Wire } from './wire.ts';

type PubsubStep = Extract<Step, { kind: 'pubsub' }>;

/** A client's connection to either side. */
interface Sides {
  readonly subject: Wire;
  readonly reference: Wire;
}

/** `second`: another client that subscribes to the same, when the step has one. */
export async function playPubsub(
  step: PubsubStep,
  listener: Sides,
  second: Sides | null,
  publisher: Sides,
  judge: Judge,
): Promise<void> {
  const reference = await listen(step, listener.reference, second?.reference ?? null, publisher.reference, null);
  const subject = await listen(step, listener.subject, second?.subject ?? null, publisher.subject, reference);
  step.publish.forEach((command, i) => {
    judge.one(command, null, subject.published[i] as Reply, reference.published[i] as Reply, 'pubsub: ');
  });
  step.within.forEach((command, i) => {
    judge.one(command, null, subject.within[i] as Reply, reference.within[i] as Reply, 'while subscribed: ');
  });
  comparePushes(step, subject.pushes, reference.pushes, judge);
  comparePushes(step, subject.second, reference.second, judge);
}

/** Plays the step on one side; every wait but the reference's own is for as many frames as the reference had. */
async function listen(
  step: PubsubStep,
  listener: Wire,
  second: Wire | null,
  publisher: Wire,
  model: Heard | null,
): Promise<Heard> {
  const pushes: Buffer[] = [];
  const confirmations = step.subscribe.reduce((sum, command) => sum + command.args.length - 1, 0);
  await listener.send(Buffer.concat(step.subscribe.map(encode)));
  pushes.push(...(await listener.take(confirmations)));
  await second?.send(Buffer.concat(step.subscribe.map(encode)));
  const heard = (await second?.take(confirmations)) ?? [];
  const published: Reply[] = [];
  for (const command of step.publish) published.push(parseReply(await publisher.exchange(command)));
  if (model !== null) pushes.push(...(await listener.take(model.messages)));
  const within: Reply[] = [];
  let messages = 0;
  for (const command of step.within) {
    within.push(parseReply(await answer(listener, command, pushes)));
    // A single server has handed all messages over before it answers anything that was asked later.
    messages = pushes.length - confirmations;
  }
  pushes.push(...(await unsubscribe(listener, step.unsubscribe)));
  if (second !== null) heard.push(...(await second.take(messages)), ...(await unsubscribe(second, step.unsubscribe)));
  return { published, within, pushes: pushes.map(parseReply), second: heard.map(parseReply), messages };
}

/** The reply of a command on a connection where messages may come first. */
async function answer(wire: Wire, command: Command, pushes: Buffer[]): Promise<Buffer> {
  await wire.send(encode(command));
  const frames = await wire.takeUntil(frame => !isMessage(parseReply(frame)));
  pushes.push(...frames.slice(0, -1));
  return frames[frames.length - 1] as Buffer;
}

/** Unsubscribes as the step says, then from all; an `ECHO` marks the end. */
async function unsubscribe(wire: Wire, commands: readonly Command[]): Promise<Buffer[]> {
  const rest = ['UNSUBSCRIBE', 'PUNSUBSCRIBE', 'SUNSUBSCRIBE', 'ECHO'].map(word => ({
    args: [Buffer.from(word), ...(word === 'ECHO' ? [Buffer.from('end')] : [])],
    inline: false,
    lead: '',
    answered: true,
  }));
  await wire.send(Buffer.concat([...commands, ...rest].map(encode)));
  const frames = await wire.takeUntil(frame => frame.toString() === '$3\r\nend\r\n');
  return frames.slice(0, -1);
}

function comparePushes(step: PubsubStep, subject: readonly Reply[], reference: readonly Reply[], judge: Judge): void {
  const what = `pub/sub ${step.subscribe.map(describe).join('; ')} … ${step.publish.map(describe).join('; ')}`;
  const [a, b] = [subject.map(push => push.raw), reference.map(push => push.raw)];
  if (Buffer.concat(a).equals(Buffer.concat(b))) return;
  const same = [...a].sort(Buffer.compare).map(String).join('') === [...b].sort(Buffer.compare).map(String).join('');
  const perChannel = (list: readonly Reply[]): string =>
    orderPerChannel(list)
      .map(raw => raw.toString('latin1'))
      .join('');
  if (same && perChannel(subject) === perChannel(reference)) {
    judge.need(PUSH_ORDER.name);
    return;
  }
  judge.report(
    what,
    printable(Buffer.concat(a), 900),
    printable(Buffer.concat(b), 900),
    `pub/sub ${a.length}/${b.length}`,
  );
}

interface Heard {
  readonly published: readonly Reply[];
  readonly within: readonly Reply[];
  readonly pushes: readonly Reply[];
  readonly second: readonly Reply[];
  /** Pushes that are no confirmation. */
  readonly messages: number;
}

const MESSAGES = ['message', 'pmessage', 'smessage'];

function isMessage(reply: Reply): boolean {
  return MESSAGES.includes(reply.items[0]?.text.toString() ?? '');
}

/** Pushes sorted by channel, those of one channel in their order; a pattern's messages by the channel too. */
function orderPerChannel(list: readonly Reply[]): Buffer[] {
  const channelOf = (push: Reply): string => {
    const kind = push.items[0]?.text.toString() ?? '';
    return `${kind} ${push.items[1]?.text.toString('latin1')} ${kind === 'pmessage' ? push.items[2]?.text.toString('latin1') : ''}`;
  };
  return list
    .map((push, i) => ({ push, i, channel: channelOf(push) }))
    .sort((x, y) => (x.channel < y.channel ? -1 : x.channel > y.channel ? 1 : x.i - y.i))
    .map(entry => entry.push.raw);
}
