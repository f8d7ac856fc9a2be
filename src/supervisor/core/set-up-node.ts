import { INSPECT_USER, USER_PREFIX } from '../../topology/credentials.ts';
import { REQUIRED_NODE_SETTINGS, SETTINGS_WHERE_KNOWN, settingHolds } from '../../topology/node-settings.ts';
import { createInspector } from './acl.ts';
import type { Reply } from './effect.ts';
import { reportCommand } from './node-report.ts';
import { call, note, type Procedure, type Target } from './procedure.ts';
import { killLinks } from './replication.ts';
import { failureOf, isFailure, listOf, lookOf, replyAt, settingsOf, textsOf } from './replies.ts';
import type { Taking } from './take-over.ts';
import type { Ready, World } from './world.ts';

/**
 * R0: nobody but replicas' users may replicate, the default user is closed or without power, and the settings on which
 * the protocol hangs are in force. Done, and checked, on every incarnation by every leader.
 */
const LIMIT_MS = 2000;
const WHERE_KNOWN = Object.entries(SETTINGS_WHERE_KNOWN);

export function* setUpNode(world: World, target: Target, users: readonly string[]): Procedure<Taking> {
  const closed = yield* call(target, closeForeign(world, users), LIMIT_MS);
  const failure = failureOf(closed);
  if (failure !== null) return { kind: 'again', why: `its users could not be closed: ${failure}` };
  const unset = yield* applySettings(world, target);
  if (unset !== null) return unset;
  return yield* learn(target, users);
}

/**
 * Before anything is counted: no user that is not ours may replicate, and links that one had are closed. A default user
 * that is switched off keeps its connections, so they are closed as well.
 */
function closeForeign(world: World, users: readonly string[]): string[][] {
  const foreign = users.filter(user => user !== 'default' && !user.startsWith(USER_PREFIX));
  const { keepDefaultUser, inspectUser } = world.settings;
  const closeDefault = keepDefaultUser
    ? [['ACL', 'SETUSER', 'default', '-psync', '-sync', '-replconf', '-@admin'], ...killLinks(['default'])]
    : [
        ['ACL', 'SETUSER', 'default', 'off', '-psync', '-sync', '-replconf'],
        ['CLIENT', 'KILL', 'USER', 'default'],
      ];
  return [
    ...closeDefault,
    ...foreign.map(user => ['ACL', 'SETUSER', user, '-psync', '-sync', '-replconf']),
    ...killLinks(foreign),
    ...(inspectUser && !keepDefaultUser ? [createInspector(world.topology.cluster, world.credentials)] : []),
    ...(users.includes(INSPECT_USER) && (!inspectUser || keepDefaultUser) ? [['ACL', 'DELUSER', INSPECT_USER]] : []),
  ];
}

function* applySettings(world: World, target: Target): Procedure<Taking | null> {
  const required = Object.entries(REQUIRED_NODE_SETTINGS);
  const own = Object.entries(world.settings.nodeSettings);
  const read = ['CONFIG', 'GET', ...[...required, ...WHERE_KNOWN].map(([name]) => name)];
  const outcome = yield* call(
    target,
    [['CONFIG', 'SET', ...required.flat()], read, ...(own.length > 0 ? [['CONFIG', 'SET', ...own.flat()]] : [])],
    LIMIT_MS,
  );
  if (!outcome.ok) return { kind: 'again', why: failureOf(outcome) ?? 'its settings could not be set' };
  let refusal = replyAt(outcome, 0);
  let amiss = amissOf(replyAt(outcome, 1));
  if (amiss.some(({ name }) => Object.hasOwn(SETTINGS_WHERE_KNOWN, name))) {
    const further = yield* call(
      target,
      [['CONFIG', 'SET', ...amiss.flatMap(({ name, wanted }) => [name, wanted])], read],
      LIMIT_MS,
    );
    if (!further.ok) return { kind: 'again', why: failureOf(further) ?? 'its settings could not be set' };
    refusal = replyAt(further, 0);
    amiss = amissOf(replyAt(further, 1));
  }
  if (amiss.length > 0) {
    const list = amiss.map(({ name, wanted, found }) => `${name} is ${found || 'unknown'}, not ${wanted}`).join('; ');
    return {
      kind: 'refused',
      why: `it does not take the settings of a node: ${list}${isFailure(refusal) ? ` (${refusal.error})` : ''}`,
    };
  }
  const ownRefusal = replyAt(outcome, 2);
  if (isFailure(ownRefusal)) {
    yield* note('warn', 'settings', `${target.nodeId} does not take nodeSettings: ${ownRefusal.error}`, {
      nodeId: target.nodeId,
    });
  }
  return null;
}

interface Amiss {
  readonly name: string;
  readonly wanted: string;
  /** Empty: the node does not know it. */
  readonly found: string;
}

/** What `CONFIG GET` shows to be otherwise than it must be. */
function amissOf(reply: Reply | undefined): Amiss[] {
  const settings = settingsOf(reply);
  const known = WHERE_KNOWN.filter(([name]) => (settings.get(name) ?? '') !== '');
  return [...Object.entries(REQUIRED_NODE_SETTINGS), ...known]
    .map(([name, wanted]) => ({ name, wanted, found: settings.get(name) ?? '' }))
    .filter(({ name, wanted, found }) => !settingHolds(name, wanted, found));
}

/** What a copy must have in common with its primary. */
function* learn(target: Target, users: readonly string[]): Procedure<Taking> {
  const outcome = yield* call(
    target,
    [reportCommand, ['CONFIG', 'GET', 'databases'], ['MODULE', 'LIST'], ['COMMAND', 'LIST'], ['ACL', 'USERS']],
    LIMIT_MS,
  );
  const report = lookOf(replyAt(outcome, 0))?.report;
  const commands = listOf(replyAt(outcome, 3));
  if (report === undefined || commands === null)
    return { kind: 'again', why: failureOf(outcome) ?? 'INFO cannot be read' };
  if (compareVersions(report.version, '7.0.0') < 0) {
    return { kind: 'refused', why: `it runs Redis ${report.version}: Ringside needs 7.0 or newer` };
  }
  const ready: Ready = {
    runId: target.runId,
    version: report.version,
    valkey: /^valkey_version:(\S+)/m.exec(String(replyAt(outcome, 0)))?.[1] ?? null,
    databases: settingsOf(replyAt(outcome, 1)).get('databases') ?? '',
    modules: textsOf(replyAt(outcome, 2), 'name').sort(),
    commands: new Set(commands),
    users: listOf(replyAt(outcome, 4)) ?? users,
  };
  return { kind: 'ready', ready };
}

/** Why this node cannot be a copy of what that primary holds; null: it can. */
export function whyNoCopy(node: Ready, primary: Ready): string | null {
  if (isOlder(node, primary)) return `it runs ${serverOf(node)}, older than its primary's ${serverOf(primary)}`;
  if (node.databases !== primary.databases)
    return `it has ${node.databases} databases, its primary ${primary.databases}`;
  if (node.modules.join() !== primary.modules.join()) {
    return `its modules are [${node.modules.join(', ')}], its primary's [${primary.modules.join(', ')}]`;
  }
  const missing = [...primary.commands].filter(name => !node.commands.has(name));
  return missing.length > 0 ? `it lacks commands that its primary has: ${missing.slice(0, 5).join(', ')}` : null;
}

/**
 * Why this node cannot take keys that are moved from that primary; null: it can. Dumps are of the same format within one
 * minor version, and are refused by an older one.
 */
export function whyNoTaker(node: Ready, giver: Ready): string | null {
  const areValkeys = node.valkey !== null && giver.valkey !== null;
  const isOlder = areValkeys
    ? compareVersions(node.valkey, giver.valkey, 2) < 0
    : compareVersions(node.version, giver.version, 2) < 0;
  if (isOlder) return `it runs ${serverOf(node)}, older than ${serverOf(giver)}, whose dumps it does not read`;
  if (Number(node.databases) < Number(giver.databases))
    return `it has ${node.databases} databases, and keys come from a node of ${giver.databases}`;
  const missing = giver.modules.filter(name => !node.modules.includes(name));
  return missing.length > 0 ? `it lacks modules: ${missing.join(', ')}` : null;
}

/** What it runs, in words. */
export function serverOf({ version, valkey }: Ready): string {
  return valkey === null ? `Redis ${version}` : `Valkey ${valkey}`;
}

/**
 * Every Valkey calls itself Redis 7.2.4, of which it was made. So two of them are compared by their own version, and one
 * of them with a Redis without the patch level: what either has beyond the other shows in its commands.
 */
function isOlder(node: Ready, primary: Ready): boolean {
  if (node.valkey !== null && primary.valkey !== null) return compareVersions(node.valkey, primary.valkey) < 0;
  const isSameKind = node.valkey === primary.valkey;
  return compareVersions(node.version, primary.version, isSameKind ? 3 : 2) < 0;
}

/** Less than 0: `a` is the older one, by as many numbers. */
export function compareVersions(a: string, b: string, numbers = 3): number {
  const [left, right] = [a, b].map(version => version.split('.').map(part => Number.parseInt(part, 10) || 0));
  for (let i = 0; i < numbers; i++) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
