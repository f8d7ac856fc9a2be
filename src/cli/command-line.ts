/**
 * The command line: which commands there are, what they take, and how they are explained.
 *
 * Each command's own file is loaded when it is called.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { ringsideVersion } from '../telemetry/version.ts';
import { tellFailure, USAGE } from './failure.ts';
import { DEFAULT_FILE } from './proxy-arguments.ts';

/** Runs one command; gives the exit status. */
export async function runCommandLine(words: readonly string[]): Promise<number> {
  // Whoever reads the output may have read enough (`| head -1`): no reason to go on, nor to complain.
  process.stdout.on('error', () => process.exit(0));
  let status = 0;
  const program = createProgram(result => {
    status = result;
  });
  try {
    await program.parseAsync(words, { from: 'user' });
    return status;
  } catch (error) {
    if (!(error instanceof CommanderError)) return tellFailure(error);
    return error.exitCode === 0 ? 0 : USAGE;
  }
}

/** `ended` is told the exit status of the command that ran. */
export function createProgram(ended: (status: number) => void): Command {
  const program = new Command('ringside')
    .description('A sidecar proxy that makes a ring of stock Redis shards look like one Redis.')
    .version(ringsideVersion(), '-V, --version', 'tell the version')
    .helpOption('-h, --help', 'explain the program or a command')
    .helpCommand('help [command]', 'explain a command')
    .addHelpText('after', example('ringside up', 'a whole cluster on this machine'))
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(oneLine(text)) });
  addUp(program, ended);
  addProxy(program, ended);
  addSupervisor(program);
  addCheck(program, ended);
  addStatus(program, ended);
  addEvents(program, ended);
  addSwitchover(program, ended);
  addRecover(program, ended);
  addWhere(program, ended);
  addImport(program, ended);
  return program;
}

function addUp(program: Command, ended: (status: number) => void): void {
  program
    .command('up')
    .description('Run a whole cluster on this machine: Redis nodes, a supervisor and a proxy, until Ctrl-C.')
    .option('--dir <directory>', "where the cluster's data, settings and logs lie", '.ringside')
    .addOption(whole('--port <port>', "the proxy's port, for your clients (default: 6379)"))
    .addOption(whole('--shards <count>', 'how many shards the keys are spread over (default: 3)'))
    .addOption(whole('--copies <count>', 'copies of each shard, the primary included (default: 3)'))
    .addOption(whole('--spares <count>', 'nodes that belong to no shard yet (default: 0)'))
    .addOption(whole('--node-port <port>', "the first node's port; the others follow (default: 7001)"))
    .addOption(whole('--admin-port <port>', "the proxy's admin endpoint (default: 9121)"))
    .addOption(whole('--supervisor-port <port>', "the supervisor's HTTP interface (default: 7700)"))
    .addOption(whole('--supervisors <count>', 'how many: 1, or 3 or 5 with as many members of etcd (default: 1)'))
    .addOption(whole('--etcd-port <port>', "etcd's first port; two for each member (default: 7710)"))
    .option('--config <file>', 'run the nodes of this settings file, instead of a generated one')
    .option('--closed', "switch the nodes' own default user off")
    .option('--respawn', 'start a node that died again after a second, empty')
    .addHelpText('after', example('ringside up --port 6380 --shards 2 --copies 2', 'beside a Redis that runs already'))
    .action(async options => {
      const { runUp } = await import('../local/up.ts');
      ended(await runUp(options));
    });
}

function addProxy(program: Command, ended: (status: number) => void): void {
  program
    .command('proxy')
    .description('Run the proxy of a settings file: clients connect to it as to one Redis.')
    .addOption(configFile())
    .option('--replace', 'have the proxy that runs take up the code and settings now on disk, refusing no connection')
    .addHelpText('after', example('ringside proxy --config ringside.yaml', 'then: redis-cli -p 6379'))
    .action(async options => {
      const { proxy } = await import('./proxy.ts');
      ended(await proxy(options));
    });
}

function addSupervisor(program: Command): void {
  program
    .command('supervisor')
    .description('Run a supervisor: it replaces lost primaries, rebuilds copies and tells proxies who owns what.')
    .addOption(configFile())
    .option('--listen <host:port>', 'its HTTP interface, instead of supervisor.listen')
    .option('--advertise <url>', 'where others reach it (default: made of the address it listens on)')
    .addHelpText('after', example('ringside supervisor --config ringside.yaml', 'then: ringside status'))
    .action(async options => {
      const { supervisor } = await import('./supervisor.ts');
      await supervisor(options);
    });
}

function addCheck(program: Command, ended: (status: number) => void): void {
  program
    .command('check')
    .description('Check a settings file, and say what it makes.')
    .argument('<file>', 'the settings file')
    .option('--json', 'print JSON')
    .addHelpText('after', example('ringside check ringside.yaml', 'exit status 2 when it has mistakes'))
    .action(async (file, options) => {
      const { check } = await import('./check.ts');
      ended(await check(file, options));
    });
}

function addStatus(program: Command, ended: (status: number) => void): void {
  program
    .command('status')
    .description("Show the cluster's shards and nodes, what is being done, and what needs you.")
    .argument('[url]', 'a supervisor, instead of those that the settings name')
    .addOption(configFileOrUrl())
    .option('--json', 'print JSON')
    .option('--watch', 'print it again every second, until Ctrl-C')
    .addHelpText('after', example('ringside status --watch', 'or: ringside status http://127.0.0.1:7700'))
    .action(async (url, options) => {
      const { status } = await import('./status.ts');
      ended(await status(url ?? null, options));
    });
}

function addEvents(program: Command, ended: (status: number) => void): void {
  program
    .command('events')
    .description('Show what has happened to the cluster, and why, the newest last.')
    .argument('[url]', 'a supervisor, instead of those that the settings name')
    .addOption(configFileOrUrl())
    .addOption(whole('--last <count>', 'how many at most, up to 1000 (default: 50)'))
    .option('--json', 'print JSON, one event a line')
    .addHelpText('after', example('ringside events --last 10', 'why the last failover was'))
    .action(async (url, options) => {
      const { events } = await import('./events.ts');
      ended(await events(url ?? null, options));
    });
}

function addSwitchover(program: Command, ended: (status: number) => void): void {
  program
    .command('switchover')
    .description('Make another in-sync copy the primary of a shard, without an error for any client.')
    .argument('<shard>', 'the shard')
    .argument('[node]', 'its new primary (default: whichever copy is best)')
    .addOption(configFile())
    .addHelpText('after', example('ringside switchover s1 b', 'before node a is taken down; waits until it is done'))
    .action(async (shard, node, options) => {
      const { switchover } = await import('./orders.ts');
      ended(await switchover(shard, node ?? null, options));
    });
}

function addRecover(program: Command, ended: (status: number) => void): void {
  program
    .command('recover')
    .description('Let a shard go on with what is left of it, when the nodes that it waits for will not come back.')
    .argument('<shard>', 'the shard')
    .option('--accept-loss', 'yes: acknowledged writes that only missing nodes hold are lost for good')
    .addOption(configFile())
    .addHelpText('after', example('ringside recover s1 --accept-loss', 'when ringside status says so'))
    .action(async (shard, options) => {
      const { recover } = await import('./orders.ts');
      ended(await recover(shard, options));
    });
}

function addWhere(program: Command, ended: (status: number) => void): void {
  program
    .command('where')
    .description('Tell which shard and node a key belongs to, and why. No cluster need run.')
    .argument('<key...>', 'the keys')
    .addOption(configFileOrUrl())
    .option('--json', 'print JSON')
    .addHelpText('after', example("ringside where user:1 '{user:1}:cart'", 'both on one shard'))
    .action(async (keys, options) => {
      const { where } = await import('./where.ts');
      ended(await where(keys, options));
    });
}

function addImport(program: Command, ended: (status: number) => void): void {
  program
    .command('import')
    .description('Write settings with the same ring as those of a twemproxy, and say what has no counterpart.')
    .argument('<nutcracker.yml>', "twemproxy's settings file")
    .option('--pool <name>', 'which pool, when there are several')
    .option('--out <file>', 'where to write; - is standard output', DEFAULT_FILE)
    .option('--force', 'write over a file that exists')
    .addHelpText('after', example('ringside import nutcracker.yml', 'then: ringside check ringside.yaml'))
    .action(async (file, options) => {
      const { importFile } = await import('./import.ts');
      ended(await importFile(file, options));
    });
}

function configFile(): Option {
  return new Option('-c, --config <file>', 'the settings file').default(DEFAULT_FILE);
}

function configFileOrUrl(): Option {
  return new Option('-c, --config <file or url>', 'the settings file, or the URL of a supervisor').default(
    DEFAULT_FILE,
  );
}

/** A number without a sign. What range it must be in is known where it is used. */
function whole(flags: string, description: string): Option {
  return new Option(flags, description).argParser(text => {
    if (/^\d{1,9}$/.test(text)) return Number(text);
    throw new InvalidArgumentError('Expected a whole number.');
  });
}

function example(command: string, comment: string): string {
  return `\nExample:\n  ${command}    # ${comment}\n`;
}

/** What the parser says in several lines, with a proposal on the last, as one line after the program's name. */
function oneLine(text: string): string {
  const words = text
    .replace(/^error: /, '')
    .trim()
    .replace(/\s*\n\s*/g, ' ');
  return `ringside: ${words}; see --help\n`;
}
