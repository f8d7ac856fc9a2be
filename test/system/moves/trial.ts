/**
 * One trial of a move: clients write and read through every proxy while keys move and something happens to the cluster;
 * afterwards everything that they were told must be true, and every key be in one place, the right one, on all copies.
 */
import { Random } from '../../../src/base/random.ts';
import { sleep } from '../faults/stand.ts';
import type { Fleet } from '../safety/fleet.ts';
import { judge } from '../safety/ledger.ts';
import { Registers } from '../safety/registers.ts';
import { SEED } from '../safety/trial.ts';
import { Writers } from '../safety/writers.ts';
import { clientOf, isHealthy, isOver, toggleShard } from './cluster.ts';
import { type Before, changedSince, everythingOf, fillWithEverything } from './everything.ts';
import { Readers } from './readers.ts';
import { foundIn, wholeOf } from './whole.ts';

/** How often everything is tried; 0: the short form, in which some are tried once. */
const ROUNDS = Number(process.env['RINGSIDE_FAULT_ROUNDS'] ?? 0);

/** The settings of a fleet for such trials: slow enough that a fault finds a move under way. */
export const MOVE_SETTINGS = {
  rules: [
    { match: 'r:*', reads: { strict: true } },
    { match: 'steady:*', reads: { from: 'any' } },
  ],
  supervisor: { move: { keysPerSecond: 400, portionKeys: 150 } },
};

/** What the fleet holds before the first trial. */
const PER_DATABASE = 500;

/** How long clients write before the order, and after it is done. */
const AROUND_MS = 300;

export interface MoveScene {
  readonly fleet: Fleet;
  readonly random: Random;
}

export interface MoveTrial {
  readonly name: string;
  /** Of the few that are tried in the short form as well. */
  readonly short?: true;
  /** Clients see a pause and no error. */
  readonly costsNoError?: true;
  /** The shard that is added, or removed where it is there, is this; left out: `run` gives its own orders. */
  readonly order?: 'shard';
  /** Does what is to be done while keys move, and undoes it: then everything runs and reaches everything again. */
  run(scene: MoveScene): Promise<void>;
}

/** What is to be tried, in this order. */
export function moveTrialsOf(all: readonly MoveTrial[]): MoveTrial[] {
  if (ROUNDS === 0) return all.filter(one => one.short === true);
  return Array.from({ length: ROUNDS }, () => all).flat();
}

/** A fleet with data, for one trial after another. */
export class MoveTrials {
  readonly #fleet: Fleet;
  readonly #before: Before;

  private constructor(fleet: Fleet, before: Before) {
    this.#fleet = fleet;
    this.#before = before;
  }

  static async fill(fleet: Fleet): Promise<MoveTrials> {
    const client = await clientOf(fleet);
    try {
      await fillWithEverything(client, PER_DATABASE, SEED);
      await Readers.fill(client);
      return new MoveTrials(fleet, await everythingOf(client));
    } finally {
      client.close();
    }
  }

  /** Fails with everything that is known when something is not as it must be. */
  async mustHold(trial: MoveTrial, number: number): Promise<void> {
    const { problems, summary } = await this.#run(trial, number);
    if (process.env['RINGSIDE_FAULT_SUMMARY'] !== undefined) process.stdout.write(`${summary}\n`);
    if (problems.length === 0) return;
    const replay = `RINGSIDE_SEED=${SEED} RINGSIDE_FAULT_ROUNDS=${ROUNDS} npm test -- --system moves`;
    const shown = problems.slice(0, 20).join('\n  ');
    throw new Error(`${summary}\n  ${shown}\nreplay: ${replay}\n${this.#fleet.logs(80)}\n${summary}\n  ${shown}`);
  }

  async #run(trial: MoveTrial, number: number): Promise<{ problems: readonly string[]; summary: string }> {
    const fleet = this.#fleet;
    const seed = (SEED + Math.imul(number, 0x9e3779b1)) >>> 0;
    const writers = new Writers(fleet.proxies, seed, `t${number}:`);
    const registers = new Registers(fleet.proxies, seed, `r:t${number}:`, 24);
    const readers = new Readers(fleet.proxies, seed);
    writers.start(2 * fleet.proxies.length);
    registers.start(2 * fleet.proxies.length);
    readers.start(fleet.proxies.length);
    const problems: string[] = [];
    const cutOffBefore = fleet.logs(10_000).split('"event":"fence"').length;
    try {
      await sleep(AROUND_MS);
      if (trial.order === 'shard') await toggleShard(fleet);
      await trial.run({ fleet, random: new Random(seed) });
      await isOver(fleet);
      await fleet.whole(60_000);
      await isHealthy(fleet);
      await sleep(AROUND_MS);
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    } finally {
      await Promise.all([writers.stop(), registers.stop(), readers.stop()]);
    }
    if (problems.length === 0) problems.push(...(await this.#judge(writers, registers)));
    if (problems.length === 0) await this.#clear([`t${number}:*`, `{t${number}:*`, `r:t${number}:*`]);
    problems.push(...readers.wrong, ...writers.ledger.strange);
    // Who was too slow to leave in time was cut off, and cannot tell what became of what was in flight there.
    const isCutOff = fleet.logs(10_000).split('"event":"fence"').length > cutOffBefore;
    const errors = [...writers.ledger.errors.keys(), ...readers.errors.keys()];
    if (trial.costsNoError && errors.some(code => !isCutOff || code !== 'UNCERTAIN'))
      problems.push(`clients saw errors, and had no reason to:\n  ${writers.ledger.firstErrors.join('\n  ')}`);
    if (writers.ledger.count('acknowledged') === 0) problems.push('nothing was acknowledged: this trial shows nothing');
    const summary = [
      trial.name,
      `slowest answer ${writers.slowestMs.toFixed(0)} ms`,
      writers.ledger.summary(),
      `${registers.operations} operations on registers`,
      `${readers.reads} reads${[...readers.errors].map(([code, count]) => `, ${code} ${count}`).join('')}`,
    ].join('; ');
    return { problems, summary };
  }

  /** Takes away what a trial has written, so that the next one does not move it as well. */
  async #clear(patterns: readonly string[]): Promise<void> {
    const client = await clientOf(this.#fleet);
    try {
      for (const pattern of patterns) {
        const keys = (await client.must('KEYS', pattern)) as string[];
        await client.pipeline(...keys.map(key => ['UNLINK', key]));
      }
    } finally {
      client.close();
    }
  }

  async #judge(writers: Writers, registers: Registers): Promise<string[]> {
    await registers.all('get');
    const { contents, problems } = await wholeOf(this.#fleet);
    const client = await clientOf(this.#fleet);
    try {
      return [
        ...problems,
        ...judge(writers.ledger.entries, foundIn(contents)),
        ...registers.problems(),
        ...(await changedSince(this.#before, client)),
      ];
    } finally {
      client.close();
    }
  }
}
