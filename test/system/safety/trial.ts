/**
 * One trial: clients write while a fault goes on, and afterwards everything that they were told must be true.
 */
import { Random } from '../../../src/base/random.ts';
import { HANG_MS } from '../../support/patience.ts';
import { watchForStarvation } from '../../support/starvation.ts';
import { type Contents, contentsOf, differences, together } from './copies.ts';
import type { Fault } from './faults.ts';
import type { Fleet } from './fleet.ts';
import { judge } from './ledger.ts';
import { Registers } from './registers.ts';
import { RespConnection } from './resp.ts';
import { Writers } from './writers.ts';

/** Of a whole run, or by chance; printed by every failure. */
export const SEED = Number(process.env['RINGSIDE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

/** How often every fault is tried; 0: the short form, in which some are tried once. */
const ROUNDS = Number(process.env['RINGSIDE_FAULT_ROUNDS'] ?? 0);

/** What is to be tried, in this order. */
export function trialsOf(faults: readonly Fault[]): Fault[] {
  if (ROUNDS === 0) return faults.filter(fault => fault.short === true);
  return Array.from({ length: ROUNDS }, () => faults).flat();
}

/** How long clients write before a fault, and after it. */
const AROUND_MS = 400;
/** All copies are in sync again, by then at the latest, after everything runs and reaches everything. */
const HEALED_MS = 2 * HANG_MS;
/** What is not whole by then is judged as it is. */
const SETTLED_MS = 10_000;

export interface TrialResult {
  /** What must not be: in words. */
  readonly problems: readonly string[];
  /** One line about what happened. */
  readonly summary: string;
}

/** `number` tells the trials of one cluster apart, and with the seed decides what the fault hits. */
export async function trial(fleet: Fleet, fault: Fault, number: number): Promise<TrialResult> {
  const seed = (SEED + Math.imul(number, 0x9e3779b1)) >>> 0;
  const writers = new Writers(fleet.proxies, seed, `t${number}:`);
  const registers = new Registers(fleet.proxies, seed, `r:t${number}:`);
  await flush(fleet);
  writers.start(4 * fleet.proxies.length);
  registers.start(2 * fleet.proxies.length);
  const problems: string[] = [];
  const beganAtMs = Date.now();
  const endWatch = watchForStarvation();
  let isBusy = false;
  let healedMs = Number.NaN;
  try {
    await sleepFor(AROUND_MS);
    await fault.run({ fleet, random: new Random(seed), served: () => writers.served() });
    healedMs = await fleet.whole(HEALED_MS).catch((error: Error) => {
      problems.push(error.message);
      return Number.NaN;
    });
    await sleepFor(AROUND_MS);
  } finally {
    await Promise.all([writers.stop(), registers.stop()]);
    isBusy = endWatch();
  }
  // What is judged is what there is once nothing changes any more, whole or not.
  await fleet.whole(SETTLED_MS).catch((error: Error) => problems.push(error.message));
  await registers.all('get');
  problems.push(...writers.ledger.strange, ...(await judgeCopies(fleet, writers)), ...registers.problems());
  // A node that the machine has kept waiting is taken for hung with good reason.
  const starved = (isBusy ? fleet.toldSince(beganAtMs) : []).filter(
    ({ event, msg }) => event === 'failover' && /\bhung\b/.test(msg),
  );
  const errors = [...writers.ledger.errors.keys()].filter(code => starved.length === 0 || code !== 'UNCERTAIN');
  if (fault.costsNoError === true && errors.length > 0)
    problems.push(`clients saw errors, and had no reason to: ${errors.join(', ')}`);
  if (writers.ledger.count('acknowledged') === 0) problems.push('nothing was acknowledged: this trial shows nothing');
  const summary = [
    `${fault.name}: whole after ${healedMs.toFixed(0)} ms`,
    `slowest answer ${writers.slowestMs.toFixed(0)} ms`,
    writers.ledger.summary(),
    `${registers.operations} operations on registers`,
    ...starved.map(({ msg }) => `a node was taken for hung: ${msg}`),
  ].join('; ');
  return { problems, summary };
}

/**
 * Fails with everything that is known when the trial found a problem. RINGSIDE_FAULT_SUMMARY shows a line of each trial
 * in any case, `logs` the logs besides.
 */
export async function mustHold(fleet: Fleet, fault: Fault, number: number): Promise<void> {
  const { problems, summary } = await trial(fleet, fault, number);
  const show = process.env['RINGSIDE_FAULT_SUMMARY'];
  if (show !== undefined) process.stdout.write(`${summary}\n${show === 'logs' ? `${fleet.logs(200)}\n` : ''}`);
  if (problems.length === 0) return;
  const replay = `RINGSIDE_SEED=${SEED} RINGSIDE_FAULT_ROUNDS=${ROUNDS} npm test -- --system safety`;
  const shown = problems.slice(0, 20).join('\n  ');
  throw new Error(`${summary}\n  ${shown}\nreplay: ${replay}\n${fleet.told()}`);
}

/** Every copy against the primary, and the primaries together against the ledger. */
async function judgeCopies(fleet: Fleet, writers: Writers): Promise<string[]> {
  const problems: string[] = [];
  const primaries: Contents[] = [];
  for (const { primary, inSync } of (await fleet.topology()).shards) {
    const whole = await readNode(fleet, primary);
    primaries.push(whole);
    for (const id of inSync) problems.push(...differences(primary, whole, id, await readNode(fleet, id)));
  }
  return [...problems, ...judge(writers.ledger.entries, together(primaries))];
}

async function readNode(fleet: Fleet, id: string): Promise<Contents> {
  const connection = await fleet.admin(id);
  try {
    return await contentsOf(connection);
  } finally {
    connection.close();
  }
}

/** Begins with nothing, so that comparing every key stays quick. */
async function flush(fleet: Fleet): Promise<void> {
  const [proxy] = fleet.proxies;
  if (proxy === undefined) throw new Error('there is no proxy');
  const connection = await RespConnection.open(proxy.host.address, proxy.port);
  try {
    await connection.must('FLUSHALL');
  } finally {
    connection.close();
  }
}

function sleepFor(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
