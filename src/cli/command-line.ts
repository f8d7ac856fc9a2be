/**
 * The command line: which commands there are, what they take, and how they are explained.
 *
 * Each command's own file is loaded when it is called.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { ringsideVersion } from '../telemetry/version.ts';
import { tellFailure, USAGE } from './failure.ts';
import type { Wish } from './proposals.ts';
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
  addNode(program, ended);
  addPlan(program, ended);
  addApply(program, ended);
  addMove(program, ended);
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

function addPlan(program: Command, ended: (status: number) => void): void {
  const run = async (wish: Wish, options: { config: string; json?: boolean }): Promise<void> => {
    const { plan } = await import('./plan.ts');
    ended(await plan(wish, options));
  };
  const plan = program
    .command('plan')
    .description('Show what another settings file, or a change of shards, would move; nothing is done.')
    .argument('[file]', 'a settings file as it should be (default: that of --config)')
    .addHelpText(
      'after',
      example('ringside plan add-shard s4', 'on spares that are free; then: ringside apply add-shard s4'),
    );
  addWishes(plan, command => command.option('--json', 'print JSON'), run);
}

function addApply(program: Command, ended: (status: number) => void): void {
  const run = async (wish: Wish, options: { config: string }): Promise<void> => {
    const { apply } = await import('./plan.ts');
    ended(await apply(wish, options));
  };
  const apply = program
    .command('apply')
    .description('Begin what `ringside plan` shows: keys move while clients are served.')
    .argument('[file]', 'a settings file as it should be (default: that of --config)')
    .addHelpText('after', example('ringside apply remove-shard s4 --yes --wait', 'its keys go to the others first'));
  const withOptions = (command: Command): Command =>
    command
      .option('-y, --yes', 'without being asked')
      .option(
        '--allow-stalls',
        'also keys so large that they hold their shard up for longer than supervisor.move.stall',
      )
      .option('--save', 'write a change that was not made in the settings file into it')
      .option('--wait', 'end only when it is done; with progress');
  addWishes(apply, withOptions, run);
}

/** A file, or one of the changes that need none. */
function addWishes<T extends { config: string }>(
  parent: Command,
  withOptions: (command: Command) => Command,
  run: (wish: Wish, options: T) => Promise<void>,
): void {
  withOptions(parent.addOption(configFile())).action(async (file: string | undefined, options: T) => {
    await run({ kind: 'file', file: file ?? null }, options);
  });
  const add = (usage: string, description: string): Command =>
    withOptions(parent.command(usage).description(description).addOption(configFile()));
  add('add-shard <name>', 'a shard more, to which a part of the keys of each other one goes')
    .option('--nodes <ids>', 'its nodes, as in n10,n11,n12 (default: spares that are free)')
    .addOption(whole('--copies <count>', 'how many, where no nodes are named (default: as the other shards)'))
    .addOption(weight('--weight <number>', 'its share of the keys, in relation to the others').default(1))
    .action(
      async (name: string, options: T & { nodes?: string; copies?: number; weight: number }, command: Command) => {
        const nodes = options.nodes?.split(',').filter(id => id !== '') ?? null;
        const wish = {
          kind: 'add-shard',
          name,
          nodes,
          copies: options.copies ?? null,
          weight: options.weight,
        } as const;
        await run(wish, command.optsWithGlobals());
      },
    );
  add('remove-shard <name>', 'a shard less: its keys go to the others, its nodes become spares').action(
    async (name: string, _options: T, command: Command) => {
      await run({ kind: 'remove-shard', name }, command.optsWithGlobals());
    },
  );
  add('weight <shard> <weight>', 'another share of the keys for a shard').action(
    async (name: string, text: string, _options: T, command: Command) => {
      await run({ kind: 'weight', name, weight: readWeight(text) }, command.optsWithGlobals());
    },
  );
}

function addMove(program: Command, ended: (status: number) => void): void {
  const move = program
    .command('move')
    .description('Show how far keys have been moved; pause, resume, throttle or abort it.')
    .addOption(configFileOrUrl())
    .option('--json', 'print JSON')
    .option('--watch', 'print it again and again, until Ctrl-C')
    .option('--wait', 'end only when it is done; with progress')
    .addHelpText('after', example('ringside move throttle 5000', 'keys a second at most; off: as the settings say'))
    .action(async options => {
      const { moveStatus } = await import('./move.ts');
      ended(await moveStatus(options));
    });
  const order = (what: 'pause' | 'resume' | 'abort' | 'throttle', limit: string | undefined, command: Command) =>
    import('./move.ts').then(async ({ moveOrder }) => {
      const options = command.optsWithGlobals<{ config: string; allowStalls?: boolean }>();
      ended(await moveOrder(what, { ...options, ...(limit === undefined ? {} : { limit }) }));
    });
  const add = (usage: string, description: string): Command =>
    move.command(usage).description(description).addOption(configFile());
  add('status', 'the same as without a word').action((_options, command: Command) =>
    import('./move.ts').then(async ({ moveStatus }) => ended(await moveStatus(command.optsWithGlobals()))),
  );
  add('pause', 'stand still; what was moved stays where it is, clients are served').action(
    (_options, command: Command) => order('pause', undefined, command),
  );
  add('resume', 'go on')
    .option('--allow-stalls', 'also with keys that hold their shard up for longer than supervisor.move.stall')
    .action((_options, command: Command) => order('resume', undefined, command));
  add('throttle <limit>', 'at most so many keys a second; off: as the settings say').action(
    (limit: string, _options, command: Command) => order('throttle', limit, command),
  );
  add('abort', 'move back what was moved').action((_options, command: Command) => order('abort', undefined, command));
}

function addNode(program: Command, ended: (status: number) => void): void {
  const node = program
    .command('node')
    .description('Free a node so that it may be stopped, move its copy elsewhere, empty a spare, or add nodes here.')
    .addHelpText('after', example('ringside node drain n4', 'then the process of n4 may be stopped'));
  node
    .command('add')
    .description('Start further redis-servers for a cluster that `ringside up` runs on this machine, as spares.')
    .argument('<count>', 'how many')
    .addOption(configFile())
    .addHelpText('after', example('ringside node add 3', 'then: ringside plan add-shard s4'))
    .action(async (count, options) => {
      const { addNodes } = await import('./node-add.ts');
      ended(await addNodes(count, options));
    });
  node
    .command('drain')
    .description(
      'Have another node take over its copy, without an error for any client; waits until it may be stopped.',
    )
    .argument('<node>', 'the node to be freed')
    .option('--to <node>', 'the spare that takes its place (default: whichever suits the zones best)')
    .option('--zone <zone>', 'a spare of this zone takes its place')
    .option('--no-wait', 'return as soon as the order was taken; ringside status shows how far it is')
    .addOption(configFile())
    .addHelpText('after', example('ringside node drain c', 'before the machine of node c is taken down'))
    .action(async (id, options) => {
      const { drainNode } = await import('./node.ts');
      ended(await drainNode(id, { to: options.to ?? null, zone: options.zone ?? null }, options));
    });
  node
    .command('undrain')
    .description('Take that back: the node stays where it is, and may be given a copy again.')
    .argument('<node>', 'the node')
    .addOption(configFile())
    .addHelpText('after', example('ringside node undrain c', 'its machine is back'))
    .action(async (id, options) => {
      const { undrainNode } = await import('./node.ts');
      ended(await undrainNode(id, options));
    });
  node
    .command('replace')
    .description('Have a named node, or one in a named zone, take over its copy; then it may be stopped.')
    .argument('<node>', 'the node to be replaced')
    .option('--with <node>', 'the spare that takes its place')
    .option('--zone <zone>', 'a spare of this zone takes its place')
    .option('--no-wait', 'return as soon as the order was taken')
    .addOption(configFile())
    .addHelpText(
      'after',
      example('ringside node replace c --with d', 'd is among nodes in the settings, and in no shard'),
    )
    .action(async (id, options) => {
      const { replaceNode } = await import('./node.ts');
      ended(await replaceNode(id, options));
    });
  node
    .command('empty')
    .description('Discard all that a spare holds, so that it may be of a new shard; says before how much that is.')
    .argument('<node>', 'a node of no shard')
    .option('-y, --yes', 'without being asked')
    .option('--accept-loss', 'also where a shard does not serve, and this may be all that is left of it')
    .addOption(configFile())
    .addHelpText('after', example('ringside node empty c', 'it was a copy once; then: ringside plan add-shard s4'))
    .action(async (id, options) => {
      const { emptyNode } = await import('./node-empty.ts');
      ended(await emptyNode(id, options));
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

/** A share of the ring. */
function weight(flags: string, description: string): Option {
  return new Option(flags, description).argParser(readWeight);
}

function readWeight(text: string): number {
  const value = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && value > 0 && value <= 1_000_000) return value;
  throw new InvalidArgumentError('Expected a number above 0, at most 1000000.');
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
