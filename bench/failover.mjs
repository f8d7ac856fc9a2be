/**
 * What does a client feel when a node dies, hangs, or is replaced? Real processes on one machine, fault after fault; and
 * how long a copy of a gigabyte takes to be made anew.
 *
 * The page that is kept says for each fault the median and the worst, the errors that clients saw, and how many
 * acknowledged writes were lost, which must be none.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { faultCases } from './failover-cases.mjs';
import { Cluster } from './failover-cluster.mjs';
import { addCounts } from './failover-probe.mjs';
import { defaultDist, healed, rebuild } from './failover-rebuild.mjs';
import { markdownOf, summarise } from './failover-report.mjs';
import { keep, numberOf, projectDirectory, UsageError } from './harness.mjs';
import { patternOf } from './load.mjs';
import { describeMachine } from './proxy-report.mjs';

const help = `usage: node bench/failover.mjs [options]
  --faults N       faults of each kind (default 50)
  --only PATTERN   only cases whose name matches: ${faultCases.map(({ id }) => id).join(', ')}, rebuild, healed
  --megabytes N    data of the rebuilt copy (default 1000)
  --no-save        keep nothing
  --dist DIR       the build of Ringside to measure (default: dist)`;

/** @param {string[]} argv */
function readArguments(argv) {
  const { values } = parseArgs({
    args: argv,
    options: {
      faults: { type: 'string', default: '50' },
      only: { type: 'string', default: '' },
      megabytes: { type: 'string', default: '1000' },
      'no-save': { type: 'boolean', default: false },
      dist: { type: 'string', default: defaultDist(projectDirectory) },
      help: { type: 'boolean', default: false },
    },
  });
  const [faults, megabytes] = [numberOf(values, 'faults', true), numberOf(values, 'megabytes', true)];
  return { ...values, faults, megabytes, only: patternOf(values.only), dist: resolve(values.dist) };
}

/** @param {import('./failover-cases.mjs').FaultCase} of  @param {{ faults: number, dist: string }} options */
async function runCase(of, { faults, dist }) {
  const cluster = await Cluster.start({ dist });
  /** @type {import('./failover-cases.mjs').Fault[]} */
  const runs = [];
  try {
    for (let number = 1; number <= faults; number += 1) {
      runs.push(await of.once(cluster, number));
      const { valueMs, wholeMs, lost, errors } = /** @type {import('./failover-cases.mjs').Fault} */ (runs.at(-1));
      const parts = [`${valueMs.toFixed(0)} ms`, `whole after ${wholeMs.toFixed(0)} ms`, `lost ${lost}`];
      console.log(`${of.id} ${number}/${faults}: ${parts.join(', ')} ${JSON.stringify(errors)}`);
    }
  } catch (error) {
    console.log(`the supervisor's last words:\n${cluster.log('supervisor')}\nthe proxy's:\n${cluster.log('proxy')}`);
    throw error;
  } finally {
    await cluster.end();
  }
  /** @type {Record<string, number>} */
  const errors = {};
  for (const run of runs) addCounts(errors, run.errors);
  return summarise(of, runs, errors);
}

/** @param {string[]} argv */
async function main(argv) {
  const options = readArguments(argv);
  if (options.help) return console.log(help);
  const machine = describeMachine(projectDirectory);
  const faults = [];
  for (const of of faultCases) if (options.only.test(of.id)) faults.push(await runCase(of, options));
  const copies = options.only.test('rebuild') ? await rebuild(options.dist, options.megabytes, 3) : null;
  const network = options.only.test('healed')
    ? await healed(options.dist, 100, Math.min(options.faults, 10), 10_000)
    : null;
  const result = { machine, faultsPerCase: options.faults, faults, rebuild: copies, healed: network };
  const markdown = markdownOf(result);
  console.log(`\n${markdown}`);
  if (options['no-save']) return;
  keep(machine, '-failover', result, markdown);
}

main(process.argv.slice(2)).catch(error => {
  console.error(`bench/failover: ${error.stack ?? error.message}`);
  // At once: the clients of a case that failed would go on trying to connect.
  process.exit(error instanceof UsageError || error.code?.startsWith('ERR_PARSE_ARGS') ? 2 : 1);
});
