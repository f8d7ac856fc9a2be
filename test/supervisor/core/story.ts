import type { Call, Effect, Observation, Outcome } from '../../../src/supervisor/core/effect.ts';
import { applyPublish, Engine, type EngineSettings } from '../../../src/supervisor/core/engine.ts';
import { ADMIN_USER, supervisorUser } from '../../../src/topology/credentials.ts';
import { currentRoute, type TopologyMove } from '../../../src/topology/move.ts';
import { DROP_KEYS, PUT_KEYS, READ_KEYS, SIZE_KEYS } from '../../../src/topology/pull.ts';
import type { Topology, TopologyShard } from '../../../src/topology/snapshot.ts';
import { ScriptedNode } from './scripted-nodes.ts';

/**
 * A story: an engine over scripted nodes, told line by line. Each command takes a millisecond; nothing is left to chance.
 *
 *   > what is sent to a node      < what came of it, unless all went well
 *   = what is published           . what the engine says of it
 */
const SETTINGS: EngineSettings = {
  detect: { everyMs: 100, crashedMs: 200, hungMs: 1500 },
  rebuild: { parallel: 1, maxLagBytes: 65536 },
  move: {
    keysPerSecond: 20_000,
    workPercent: 50,
    portionKeys: 1000,
    bigKeyBytes: 1_000_000,
    stallMs: 100,
    addedLatencyMs: 5,
  },
  nodeSettings: {},
  keepDefaultUser: false,
  inspectUser: false,
  replicaReads: false,
  copies: {},
};
const credentials = {
  password: (user: string, life: string) => `${user}@${life}`,
  hash: () => '#…',
  pulledSet: (number: number) => `pulled-${number}`,
};

export interface Fate {
  /** The call with this number, counted from 1, has this fate. */
  readonly at: number;
  readonly kind: 'lost before' | 'lost after' | 'leader dies before' | 'leader dies after';
}

export class Story {
  readonly lines: string[] = [];
  readonly nodes: ScriptedNode[] = [];
  topology: Topology;
  nowMs = 0;
  probeEveryMs = 100;
  /** How long the store takes to write. */
  publishMs = 1;
  fate: Fate | null = null;
  /** Calls and publications since the fate was set. */
  steps = 0;
  #term = 1;
  #engine: Engine;
  #due: { atMs: number; id: number; effect: Effect; engine: Engine }[] = [];
  #told = false;

  /** `shards`: so many, of as many members each, in the order of the nodes; s1 is the one that is told of. */
  constructor(members: number, spares = 0, shards = 1, zones: Readonly<Record<string, string>> = {}) {
    const count = members * shards + spares;
    for (let i = 1; i <= count; i++) this.nodes.push(new ScriptedNode(`n${i}`, 7000 + i, this.nodes));
    const ids = this.nodes.map(node => node.id);
    const shard = { weight: 1, epoch: 1, inSync: [], joining: null, paused: false };
    this.topology = {
      cluster: 'shop',
      version: 1,
      term: 0,
      ring: { kind: 'murmur3', hash: 'murmur3', hashTag: '{}', vnodes: 256 } as Topology['ring'],
      shards: Array.from({ length: shards }, (_, i) => {
        const nodes = ids.slice(i * members, (i + 1) * members);
        return { ...shard, name: `s${i + 1}`, primary: nodes[0] ?? '', nodes };
      }),
      nodes: this.nodes.map(({ id, port }) => ({
        id,
        host: '127.0.0.1',
        port,
        zone: zones[id] ?? 'a',
        runId: null,
        draining: false,
      })),
      move: null,
    };
    this.#engine = this.#makeEngine();
  }

  get engine(): Engine {
    return this.#engine;
  }

  get shard(): TopologyShard {
    const [shard] = this.topology.shards;
    if (shard === undefined) throw new Error('no shard');
    return shard;
  }

  node(id: string): ScriptedNode {
    const found = this.nodes.find(node => node.id === id);
    if (found === undefined) throw new Error(`no node ${id}`);
    return found;
  }

  /** From here on, everything is told. */
  tell(heading: string): void {
    this.#told = true;
    this.lines.push('', `# ${heading}`);
  }

  /** The leader is gone; the next one knows only what was published. */
  nextLeader(): void {
    this.#term++;
    this.#due = [];
    this.#engine = this.#makeEngine();
    this.#line('', `-- a leader of term ${this.#term} takes over`);
  }

  isHealthy(): boolean {
    const { inSync, joining, paused, nodes } = this.shard;
    const isWhole = inSync.length === nodes.length - 1 && joining === null && !paused;
    const state = this.#engine.status(this.nowMs).shards[0];
    return isWhole && state?.state === 'healthy' && state.running === null;
  }

  /** Lets time pass until it is so; throws when that takes too long. */
  until(isSo: () => boolean, withinMs = 20_000): void {
    const endMs = this.nowMs + withinMs;
    while (!isSo()) {
      if (this.nowMs > endMs)
        throw new Error(
          `not within ${withinMs} ms:\n${this.lines.join('\n')}\n${JSON.stringify(this.#engine.status(this.nowMs).shards)}`,
        );
      this.#millisecond();
    }
  }

  #makeEngine(): Engine {
    return new Engine({
      term: this.#term,
      topology: this.topology,
      settings: SETTINGS,
      credentials,
      nowMs: this.nowMs,
    });
  }

  #millisecond(): void {
    this.nowMs++;
    const due = this.#due.filter(one => one.atMs <= this.nowMs);
    this.#due = this.#due.filter(one => one.atMs > this.nowMs);
    for (const { id, effect, engine } of due) if (engine === this.#engine) this.#finish(id, effect);
    for (const node of this.nodes) node.retry(this.nowMs);
    if (this.nowMs % 1000 === 0) for (const node of this.nodes) if (node.isUp && node.role === 'master') node.feed(1);
    if (this.nowMs % this.probeEveryMs === 0) this.#probe();
    if (this.nowMs % 10 === 0) this.#turn();
  }

  #probe(): void {
    for (const node of this.nodes) this.#engine.observe(node.id, this.#see(node), this.nowMs);
  }

  #see(node: ScriptedNode): Observation {
    if (node.isHidden) return { kind: 'silent', text: 'silent' };
    if (node.isShut) return { kind: 'denied', text: 'ERR max number of clients reached' };
    return node.isUp ? { kind: 'report', report: node.report() } : { kind: 'refused', text: 'refused' };
  }

  #turn(): void {
    this.#engine.tick(this.nowMs);
    for (const { id, effect } of this.#engine.takeEffects()) {
      if (effect.kind === 'note') this.#line('. ', effect.text);
      else {
        const tookMs = effect.kind === 'call' ? 1 + this.node(effect.nodeId).slowMs : this.publishMs;
        this.#due.push({ atMs: this.nowMs + tookMs, id, effect, engine: this.#engine });
      }
    }
  }

  #finish(id: number, effect: Effect): void {
    if (effect.kind === 'note') return;
    this.steps++;
    const fate = this.fate?.at === this.steps ? this.fate.kind : null;
    if (fate === 'leader dies before') return this.nextLeader();
    const outcome = effect.kind === 'call' ? this.#call(effect, fate) : this.#publish(effect);
    if (fate === 'leader dies after') return this.nextLeader();
    this.#engine.complete(id, outcome, this.nowMs);
    this.#turn();
  }

  #publish(effect: Effect & { kind: 'publish' }): Outcome {
    this.topology = applyPublish(this.topology, effect, this.#term);
    for (const [id, isDraining] of Object.entries(effect.draining ?? {})) {
      this.#line('= ', `${id} ${isDraining ? 'is drained' : 'is drained no more'} (${effect.why})`);
    }
    for (const { name, epoch, primary, inSync, joining, paused, nodes, copies } of effect.shards) {
      const which = this.topology.shards.length === 1 ? '' : `${name} `;
      const members = copies === undefined ? '' : ` ${copies} of [${nodes.join(' ')}]`;
      const extra = `${members}${joining === null ? '' : ` joining=${joining}`}${paused ? ' paused' : ''}`;
      this.#line(
        '= ',
        `${which}epoch=${epoch} primary=${primary} in-sync=[${inSync.join(' ')}]${extra} (${effect.why})`,
      );
    }
    if (effect.move !== undefined) this.#line('= ', `${moveText(effect.move)} (${effect.why})`);
    return { ok: true };
  }

  #call(call: Call, fate: Fate['kind'] | null): Outcome {
    const as = { access: 'default', admin: ADMIN_USER, term: supervisorUser(this.#term) }[call.as];
    const silent: Outcome = { ok: false, why: 'silent', text: 'no answer' };
    const outcome =
      fate === 'lost before' ? silent : this.node(call.nodeId).call(as, call.runId, call.commands, this.nowMs);
    this.#line('> ', `${call.nodeId} ${call.as}: ${call.commands.map(shorten).join(' | ')}`);
    if (!outcome.ok) this.#line('< ', `${outcome.why}: ${outcome.text}`);
    return fate === 'lost after' ? silent : outcome;
  }

  #line(sign: string, text: string): void {
    if (this.#told) this.lines.push(`${String(this.nowMs).padStart(6)} ${sign}${text}`);
  }
}

function moveText(move: TopologyMove | null): string {
  if (move === null) return 'no move is on';
  const { moved, portions, current, aborting, paused } = move;
  const route = currentRoute(move);
  const portion =
    current === null || route === null
      ? 'none under way'
      : `portion ${current.index + 1} ${current.phase} ${current.way}, ${route.giver} to ${route.taker}, set ${current.set}`;
  return `moved ${moved} of ${portions.length}: ${portion}${aborting ? ', aborting' : ''}${paused === null ? '' : ', paused'}`;
}

const SCRIPTS = new Map([
  [READ_KEYS, 'read'],
  [PUT_KEYS, 'put'],
  [DROP_KEYS, 'drop'],
  [SIZE_KEYS, 'size'],
]);

/** A script as what it does with which keys. */
function evalText([, script = '', count = '', ...rest]: readonly string[]): string {
  const keys = rest.slice(0, Number(count));
  return `${SCRIPTS.get(script)} ${keys.filter(key => key !== '').join(' ')} in db ${rest[Number(count)]}`;
}

/** Rights, passwords and the settings of R0 are told once elsewhere. */
function shorten(words: readonly string[]): string {
  const [name, what, user = ''] = words;
  if (name === 'INFO') return what === 'keyspace' ? 'INFO keyspace' : 'INFO';
  if (name === 'EVAL') return evalText(words);
  if (name === 'SPUBLISH') return 'word';
  if (name === 'FUNCTION') {
    const mark = /"epoch":(\d+)/.exec(words.at(-1) ?? '')?.[1];
    if (what === 'LIST') return words.includes('LIBRARYNAME') ? 'read mark' : 'FUNCTION LIST';
    return mark === undefined ? `FUNCTION ${what}` : `raise mark to epoch ${mark}`;
  }
  if (name === 'CONFIG' && what === 'SET')
    return words.includes('masteruser') ? `CONFIG SET masteruser ${words[3]} masterauth …` : 'CONFIG SET …';
  if (name === 'CONFIG') return 'CONFIG GET …';
  if (name === 'ACL' && what === 'SETUSER') {
    const door = words.includes('+psync')
      ? ' (open door)'
      : words.at(-1) === '-psync' && words.length === 4
        ? ' -psync'
        : words.includes('off')
          ? ' off'
          : '';
    return `ACL SETUSER ${user}${door}`;
  }
  return words.join(' ');
}
