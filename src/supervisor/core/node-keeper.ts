import { proxyUser } from '../../topology/credentials.ts';
import type { NodeWatch as Watch } from './detector.ts';
import { NodeWatch } from './detector.ts';
import type { Note, Observation } from './effect.ts';
import { killScript, letReadersIn, raiseMark, shutDown } from './node-care.ts';
import type { NodeReport } from './node-report.ts';
import type { Scheduler } from './scheduler.ts';
import { serverOf } from './set-up-node.ts';
import type { HealthWord } from './setup.ts';
import { type Taking, takeOver } from './take-over.ts';
import { membersOf, type NodeView, nodeOf, type Ready, type World } from './world.ts';

/**
 * Keeps one node: takes over and sets up each incarnation that is seen, and does the small things beside that.
 */
export interface NodeHost {
  readonly scheduler: Scheduler;
  note(note: Note): void;
  /** A later leader was seen. */
  superseded(term: number, why: string): void;
}

const RETRY_MS = 100;
const RETRY_AT_MOST_MS = 2000;
/** What only a person can mend is looked at again from time to time. */
const REFUSED_RETRY_MS = 3000;

export class NodeKeeper {
  readonly id: string;
  readonly watch: Watch;
  readonly #world: World;
  readonly #host: NodeHost;
  #health: HealthWord = 'unknown';
  #ready: Ready | null = null;
  #readySinceMs = -1;
  #needs: string | null = null;
  #isTaking = false;
  /** The incarnation that was seen last; null: none was yet. */
  #runId: string | null = null;
  #failures = 0;
  #retryAtMs = 0;
  #view: NodeView;
  /** Forgotten while it was being taken over: what comes of that no longer counts. */
  #round = 0;
  #isKilling = false;
  #isCaring = false;
  /** Incarnation and epoch for which reading proxies were let in. */
  #readers: string | null = null;
  #alarm: string | null = null;
  #isFull = false;
  /** See `NodeView.isForeign`. */
  #isForeign = false;
  /** The incarnation whose data a person gives up, whosever it was; null: of none. */
  #givenUp: string | null = null;

  constructor(id: string, world: World, host: NodeHost) {
    this.id = id;
    this.#world = world;
    this.#host = host;
    this.watch = new NodeWatch(id, world.nowMs);
    this.#view = this.#makeView();
  }

  get view(): NodeView {
    return this.#view;
  }

  observe(observation: Observation, askedMs: number): void {
    this.watch.observe(observation, this.#world.nowMs, askedMs);
  }

  /** Everything about it must be taken over anew. */
  forget(): void {
    this.#ready = null;
    this.#round++;
    this.#isTaking = false;
    this.#retryAtMs = 0;
    this.#view = this.#makeView();
  }

  /** It is taken over even if it holds data that was never of this cluster: a person gives that up. */
  giveUpData(runId: string): void {
    this.#givenUp = runId;
    if (this.#isForeign) this.#retryAtMs = 0;
  }

  judge(trustedSinceMs: number, all: readonly NodeKeeper[]): void {
    const { host, port } = nodeOf(this.#world, this.id);
    const shard = this.#world.topology.shards.find(one => one.primary === this.id);
    const followers = all.filter(one => shard?.inSync.includes(one.id) === true).map(one => one.watch);
    const health = this.watch.health(
      this.#world.nowMs,
      trustedSinceMs,
      this.#world.settings.detect,
      followers,
      host,
      port,
    );
    if (health !== this.#health) this.#noteHealth(this.#health, health);
    // What it was, a shard has forgotten meanwhile; it has not.
    if (health === 'up' && (this.#health === 'crashed' || this.#health === 'hung') && !this.#isMember) this.forget();
    this.#noteMemory();
    this.#health = health;
    if (this.#ready !== null && this.watch.report?.runId !== this.#ready.runId) this.#ready = null;
    // Only a primary's mark is raised.
    if (shard === undefined) this.#alarm = null;
    this.#view = this.#makeView();
  }

  get #isMember(): boolean {
    return this.#world.topology.shards.some(({ nodes }) => nodes.includes(this.id));
  }

  tick(all: readonly NodeKeeper[]): void {
    const { report } = this.watch;
    const twin = this.#twin(all);
    if (twin !== null) this.#setNeeds(twin);
    else if (this.watch.denied !== null && this.#needs === null) this.#setNeeds(deniedText(this.watch.denied));
    else if (this.watch.denied === null && this.#ready !== null) this.#needs = null;
    if (report !== null) this.#meet(report.runId);
    const isWell = this.#health === 'up' && report !== null && !report.loading;
    if (isWell && twin === null && this.#ready === null && !this.#isTaking && this.#world.nowMs >= this.#retryAtMs) {
      this.#take(report.runId);
    }
    this.#careForBusy();
  }

  /** What went wrong with an earlier life of it says nothing of this one. */
  #meet(runId: string): void {
    if (runId === this.#runId) return;
    this.#runId = runId;
    this.#failures = 0;
    this.#retryAtMs = 0;
    this.#isForeign = false;
  }

  /** Whether it is a primary that this term has taken over. */
  isServing(recorded: string | null): boolean {
    return (
      this.#health === 'up' &&
      this.#ready !== null &&
      this.#ready.runId === recorded &&
      this.watch.report?.role === 'primary'
    );
  }

  raiseMark(shard: string, epoch: number): void {
    const target = { nodeId: this.id, runId: this.#ready?.runId ?? '' };
    this.#host.scheduler.start(raiseMark(this.#world, target, shard, epoch), this.#world.nowMs, raised => {
      if (raised === null) return;
      const { refusal, users } = raised;
      if (refusal !== null && this.#alarm === null) {
        this.#note(
          'error',
          'mark',
          `the mark of ${shard} cannot be raised, so that a restart of all its copies could not tell the newest: ${refusal}`,
        );
      } else if (refusal === null && this.#alarm !== null)
        this.#note('info', 'mark', `the mark of ${shard} is raised again`);
      this.#alarm = refusal === null ? null : `the mark of ${shard} cannot be raised: ${refusal}`;
      this.#view = this.#makeView();
      this.#missProxies(shard, epoch, users);
    });
  }

  /** Proxies would be refused for ever: whoever has deleted their user, the node is taken over anew, which mends it. */
  #missProxies(name: string, epoch: number, users: readonly string[] | null): void {
    const isCurrent = this.#world.topology.shards.some(
      shard => shard.name === name && shard.epoch === epoch && shard.primary === this.id && !shard.paused,
    );
    if (users === null || !isCurrent || users.includes(proxyUser(epoch))) return;
    this.#note('warn', 'takeover', `${this.id} no longer has the user of epoch ${epoch}: it is taken over anew`);
    this.forget();
  }

  /** In-sync replicas let this epoch's reading proxies in; a node that is no longer one lets nobody in. */
  careForReaders(isIdle: (shard: string) => boolean): void {
    const wanted = this.#readersWanted(isIdle);
    if (this.#ready === null || this.#isCaring || this.#health !== 'up' || wanted === null) return;
    if (wanted.text === this.#readers) return;
    const target = { nodeId: this.id, runId: this.#ready.runId };
    const isWanted = (): boolean => this.#readersWanted(isIdle)?.text === wanted.text;
    this.#isCaring = true;
    const procedure = letReadersIn(this.#world, target, wanted.epoch, isWanted);
    this.#host.scheduler.start(procedure, this.#world.nowMs, failure => {
      this.#isCaring = false;
      if (failure === null) this.#readers = wanted.text;
    });
  }

  /** Null: nothing is to be changed here, since it is a primary, or may just become one. */
  #readersWanted(isIdle: (shard: string) => boolean): { text: string; epoch: number | null } | null {
    const shard = this.#world.topology.shards.find(one => one.nodes.includes(this.id));
    if (shard !== undefined && (shard.primary === this.id || !isIdle(shard.name))) return null;
    const isReader = shard?.inSync.includes(this.id) === true && this.#world.settings.replicaReads;
    return isReader
      ? { text: `${this.#ready?.runId} ${shard.epoch}`, epoch: shard.epoch }
      : { text: 'none', epoch: null };
  }

  #take(runId: string): void {
    const round = this.#round;
    this.#isTaking = true;
    this.#host.scheduler.start(
      takeOver(this.#world, { nodeId: this.id, runId }, this.#givenUp === runId),
      this.#world.nowMs,
      (taking, error) => {
        if (round !== this.#round) return;
        this.#isTaking = false;
        this.#onTaken(taking ?? { kind: 'again', why: error?.message ?? 'it broke off' });
      },
    );
  }

  #onTaken(taking: Taking): void {
    const { nowMs } = this.#world;
    this.#isForeign = taking.kind === 'refused' && taking.isForeign === true;
    if (taking.kind === 'superseded')
      return this.#host.superseded(taking.term, `${this.id} is run by the leader of term ${taking.term}`);
    if (taking.kind === 'ready') {
      this.#ready = taking.ready;
      this.#readySinceMs = nowMs;
      this.#failures = 0;
      this.#needs = null;
      this.#readers = null;
      this.#note(
        'info',
        'takeover',
        `${this.id} is taken over and set up (${serverOf(taking.ready)}, run_id ${taking.ready.runId})`,
      );
    } else if (taking.kind === 'refused') {
      this.#setNeeds(taking.why);
      this.#retryAtMs = nowMs + REFUSED_RETRY_MS;
    } else {
      this.#retryAtMs = nowMs + Math.min(RETRY_AT_MOST_MS, RETRY_MS * 2 ** Math.min(10, this.#failures++));
      if (this.#failures === 3) this.#note('warn', 'takeover', `${this.id} cannot be taken over: ${taking.why}`);
    }
    this.#view = this.#makeView();
  }

  /** R7: a script that keeps a node from everything else is ended; a node that cannot be freed is ended itself. */
  #careForBusy(): void {
    const { busySinceMs } = this.watch;
    const { nowMs, settings } = this.#world;
    if (busySinceMs === null || this.#isKilling || this.#ready === null || nowMs < this.#retryAtMs) return;
    if (nowMs - busySinceMs < settings.detect.hungMs) return;
    const target = { nodeId: this.id, runId: this.#ready.runId };
    const isCounted = this.#world.topology.shards.some(shard => membersOf(shard).includes(this.id));
    this.#isKilling = true;
    this.#retryAtMs = nowMs + settings.detect.hungMs / 3;
    if (this.#health === 'hung' && !isCounted) {
      this.#note(
        'warn',
        'busy',
        `${this.id} is shut down without saving: its script cannot be ended, and nobody counts on it`,
      );
      this.#host.scheduler.start(shutDown(target), nowMs, () => {
        this.#isKilling = false;
      });
      return;
    }
    this.#note(
      'warn',
      'busy',
      `${this.id} answers nothing but BUSY for ${Math.round(nowMs - busySinceMs)} ms: its script is ended`,
    );
    this.#host.scheduler.start(killScript(target), nowMs, result => {
      this.#isKilling = false;
      if (result === 'unkillable') this.watch.cannotBeFreed();
    });
  }

  /** Two names for one process: the one under which it is recorded keeps it. */
  #twin(all: readonly NodeKeeper[]): string | null {
    const runId = this.watch.report?.runId;
    if (runId === undefined || nodeOf(this.#world, this.id).runId === runId) return null;
    const twin = all.find(one => one !== this && one.watch.report?.runId === runId && !one.watch.isFailing);
    return twin === undefined
      ? null
      : `the same process answers as ${twin.id}: correct the address of one of them under nodes`;
  }

  #setNeeds(needs: string): void {
    if (needs !== this.#needs) this.#note('error', 'node', `${this.id} cannot be used: ${needs}`);
    this.#needs = needs;
    this.#view = this.#makeView();
  }

  #makeView(): NodeView {
    return {
      id: this.id,
      health: this.#health,
      unwellSinceMs: this.watch.unwellSinceMs,
      report: this.watch.report,
      reportedAtMs: this.watch.reportedAtMs,
      ready: this.#ready,
      readySinceMs: this.#readySinceMs,
      needs: this.#needs ?? this.#alarm ?? fullText(this.watch.report),
      isForeign: this.#isForeign,
    };
  }

  #noteHealth(before: HealthWord, now: HealthWord): void {
    if (now === 'suspect' || (now === 'up' && before === 'suspect')) return;
    const level = now === 'up' ? 'info' : 'warn';
    this.#note(level, 'health', `${this.id} is ${now} (before: ${before})`);
  }

  #noteMemory(): void {
    const text = fullText(this.watch.report);
    if ((text !== null) === this.#isFull) return;
    this.#isFull = text !== null;
    if (text === null) this.#note('info', 'memory', `the memory of ${this.id} is no longer full`);
    else this.#note('warn', 'memory', `${this.id}: ${text}`);
  }

  #note(level: Note['level'], event: string, text: string): void {
    this.#host.note({ kind: 'note', level, shard: null, nodeId: this.id, event, text });
  }
}

/** Redis refuses writes at its limit; buffers count in what it says it uses, so a little before. */
const FULL_SHARE = 0.97;

function fullText(report: NodeReport | null): string | null {
  if (report === null || report.maxMemoryBytes === 0) return null;
  // A cache that is full is as it should be: any key makes room for another.
  if (report.maxMemoryPolicy.startsWith('allkeys-')) return null;
  if (report.usedMemoryBytes < report.maxMemoryBytes * FULL_SHARE) return null;
  const [used, most] = [report.usedMemoryBytes, report.maxMemoryBytes].map(bytes => Math.round(bytes / 1024 ** 2));
  const when = report.maxMemoryPolicy.startsWith('volatile-') ? ' once no key with an expiry is left' : '';
  return `its memory is full: ${used} of ${most} MB (maxmemory); writes are refused with -OOM${when}: raise maxmemory or remove keys`;
}

function deniedText(reason: string): string {
  if (/max number of clients/i.test(reason))
    return `it lets nobody new in (${reason}): raise its maxclients, or end some of its clients`;
  return `it lets nobody in (${reason}): was it set up with another secret or cluster? Correct them, or nodeAccess; or start the node anew, which makes it forget its users`;
}
