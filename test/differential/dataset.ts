/** Compares everything two servers hold, key by key: what replies did not show must be equal too. */
import { parseReply, printable, type Reply } from './reader.ts';
import { type Endpoint, encode, Wire } from './wire.ts';

const DATABASES = 16;
const CLOCK_MS = 30_000;

/** What to ask for the content of a key of each type, and how its order matters. */
const CONTENT: Record<string, { ask: (key: Buffer) => (Buffer | string)[][]; order: 'kept' | 'members' | 'pairs' }> = {
  string: { ask: key => [['GET', key]], order: 'kept' },
  list: { ask: key => [['LRANGE', key, '0', '-1']], order: 'kept' },
  set: { ask: key => [['SMEMBERS', key]], order: 'members' },
  hash: { ask: key => [['HGETALL', key]], order: 'pairs' },
  zset: { ask: key => [['ZRANGE', key, '0', '-1', 'WITHSCORES']], order: 'kept' },
  stream: {
    ask: key => [
      ['XRANGE', key, '-', '+'],
      ['XINFO', 'STREAM', key],
      ['XINFO', 'GROUPS', key],
    ],
    order: 'kept',
  },
};

/** Where two data sets part: a line per key, at most twenty. */
export async function compareData(
  subject: Endpoint,
  reference: Endpoint,
): Promise<{ keys: number; differences: string[] }> {
  const [a, b] = [await Wire.open(subject), await Wire.open(reference)];
  const differences: string[] = [];
  let keys = 0;
  try {
    for (let database = 0; database < DATABASES && differences.length < 20; database += 1) {
      await a.ask('SELECT', String(database));
      await b.ask('SELECT', String(database));
      keys += await compareDatabase(a, b, (key, what) =>
        differences.push(`db ${database} key ${printable(key, 80)}: ${what}`),
      );
    }
  } finally {
    a.close();
    b.close();
  }
  return { keys, differences };
}

async function compareDatabase(a: Wire, b: Wire, tell: (key: Buffer, what: string) => void): Promise<number> {
  const names = parseReply(await b.ask('KEYS', '*')).items.map(item => item.text);
  const own = parseReply(await a.ask('KEYS', '*')).items.map(item => item.text);
  const known = new Set(names.map(key => key.toString('latin1')));
  for (const key of own)
    if (!known.delete(key.toString('latin1'))) tell(key, 'only the subject has it, or has it twice');
  for (const key of known) tell(Buffer.from(key, 'latin1'), 'only the reference has it');
  for (const key of names) {
    const type = parseReply(await b.ask('TYPE', key)).text.toString();
    const content = CONTENT[type];
    if (content === undefined) throw new Error(`a key of type ${type} is in the reference`);
    const questions = [['TYPE', key], ['PTTL', key], ['OBJECT', 'ENCODING', key], ...content.ask(key)];
    const [left, right] = [await askAll(a, questions), await askAll(b, questions)];
    questions.forEach((question, i) => {
      const [x, y] = [left[i] as Reply, right[i] as Reply];
      if (!same(x, y, String(question[0]), i > 2 ? content.order : 'kept')) {
        tell(
          key,
          `${question[0]} ${question[1] === key ? '' : question[1]}: ${printable(x.raw)} and not ${printable(y.raw)}`,
        );
      }
    });
  }
  return names.length;
}

async function askAll(wire: Wire, questions: readonly (readonly (Buffer | string)[])[]): Promise<Reply[]> {
  const bytes = questions.map(words =>
    encode({ args: words.map(word => Buffer.from(word)), inline: false, lead: '', answered: true }),
  );
  await wire.send(Buffer.concat(bytes));
  return (await wire.take(questions.length)).map(parseReply);
}

function same(a: Reply, b: Reply, name: string, order: 'kept' | 'members' | 'pairs'): boolean {
  if (a.raw.equals(b.raw)) return true;
  if (name === 'PTTL') {
    const [x, y] = [Number(a.text.toString()), Number(b.text.toString())];
    return x > 0 && y > 0 && Math.abs(x - y) < CLOCK_MS;
  }
  return order !== 'kept' && units(a, order) === units(b, order);
}

function units(reply: Reply, order: 'members' | 'pairs'): string {
  const raw = reply.items.map(item => item.raw.toString('latin1'));
  const list = order === 'members' ? raw : raw.filter((_, i) => i % 2 === 0).map((key, i) => key + raw[2 * i + 1]);
  return list.sort().join('');
}
