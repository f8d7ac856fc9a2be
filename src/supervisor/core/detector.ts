import type { Observation } from './effect.ts';
import type { NodeReport } from './node-report.ts';
import type { HealthWord } from './setup.ts';

/**
 * Whether a node is alive, judged by what probes saw of it and by what its replicas hear.
 *
 * Two things look alike from here: a node that is gone, and we who see badly. So a verdict rests on three guards. Silence
 * counts only from the moment since which we are sure of our own eyes (`trustedSinceMs`: we were paused, or heard of
 * nobody at all). Replicas that go on hearing their primary are witnesses that it lives, and the wait begins anew with
 * each sign; but only as long as all in-sync ones that we hear agree, since the primary can have nothing acknowledged
 * without each of them. And a verdict leads to nothing that would lose a write if it were wrong: it only costs a pause.
 */
export interface Patience {
  readonly crashedMs: number;
  readonly hungMs: number;
}

/**
 * A replica may go on applying what was under way for a little while after its primary fell silent; what comes later
 * was sent later.
 */
const IN_FLIGHT_MS = 300;
/** A replica that was asked within a moment of the first refusal may not have noticed yet. */
const UNNOTICED_MS = 20;
/** Primaries ping once a second; with rounding, a link on which nothing came for longer is no sign of life. */
const HEARD_WITHIN_S = 2;
/** For so long witnesses hold a verdict back: then the primary lives, but neither we nor, likely, proxies reach it. */
const WITNESSED_MS = 15_000;

/** What was seen of one node. */
export class NodeWatch {
  readonly id: string;
  /** What it last said; kept when it falls silent. */
  report: NodeReport | null = null;
  /** When it was asked for that. */
  reportedAtMs = 0;
  /** When its offset was last seen to grow while it followed the same primary. */
  advancedAtMs = Number.NEGATIVE_INFINITY;
  #answeredAtMs: number;
  #failingSinceMs: number | null = null;
  /** The first of the refusals that have lasted until now. */
  #refusedSinceMs: number | null = null;
  #refusals = 0;
  #busySinceMs: number | null = null;
  #denied: string | null = null;
  #isUnfreeable = false;

  constructor(id: string, nowMs: number) {
    this.id = id;
    this.#answeredAtMs = nowMs;
  }

  /** `askedMs`: when it was asked; what it says is true at some time from then to `nowMs`. */
  observe(observation: Observation, nowMs: number, askedMs: number = nowMs): void {
    if (observation.kind === 'refused' || observation.kind === 'silent') {
      this.#failingSinceMs ??= nowMs;
      this.#refusals = observation.kind === 'refused' ? this.#refusals + 1 : 0;
      this.#refusedSinceMs = observation.kind === 'refused' ? (this.#refusedSinceMs ?? nowMs) : null;
      return;
    }
    this.#answeredAtMs = nowMs;
    this.#failingSinceMs = null;
    this.#refusedSinceMs = null;
    this.#refusals = 0;
    this.#busySinceMs = observation.kind === 'busy' ? (this.#busySinceMs ?? nowMs) : null;
    if (observation.kind !== 'busy') this.#isUnfreeable = false;
    this.#denied = observation.kind === 'denied' ? observation.text : null;
    if (observation.kind === 'report') this.#takeIn(observation.report, askedMs);
  }

  get denied(): string | null {
    return this.#denied;
  }

  get isFailing(): boolean {
    return this.#failingSinceMs !== null;
  }

  get isRefused(): boolean {
    return this.#refusedSinceMs !== null;
  }

  /** Since when its script has kept it from everything else; null: it does not. */
  get busySinceMs(): number | null {
    return this.#busySinceMs;
  }

  /** Its script cannot be ended: there is nothing to wait for. */
  cannotBeFreed(): void {
    this.#isUnfreeable = this.#busySinceMs !== null;
  }

  /** Since when it has not been well; null: it is. */
  get unwellSinceMs(): number | null {
    return this.#failingSinceMs === null ? null : this.#answeredAtMs;
  }

  /** The verdict. `followers` are its in-sync replicas, as witnesses; `host` and `port` are its own. */
  health(
    nowMs: number,
    trustedSinceMs: number,
    patience: Patience,
    followers: readonly NodeWatch[],
    host: string,
    port: number,
  ): HealthWord {
    if (this.#failingSinceMs === null) return this.#answeringHealth(nowMs, patience);
    const isWitnessed = nowMs - this.#answeredAtMs < WITNESSED_MS;
    const heard = isWitnessed ? followers.filter(one => !one.isFailing && one.report !== null) : [];
    const signOf = (one: NodeWatch, sign: number): number =>
      one.#follows(host, port) ? sign : Number.NEGATIVE_INFINITY;
    // One refusal may have been a chance; time alone does not make it two.
    if (this.#refusedSinceMs !== null && this.#refusals >= 2) {
      const sinceMs = this.#refusedSinceMs;
      const life = heard.map(one => signOf(one, one.#heardAtMs(sinceMs)));
      const lifeMs = Math.max(unanimous(life), sinceMs, trustedSinceMs);
      if (nowMs - lifeMs >= patience.crashedMs) return 'crashed';
    }
    const silentMs = this.#answeredAtMs;
    const life = heard.map(one => signOf(one, one.#advancedAfter(silentMs)));
    const lifeMs = Math.max(unanimous(life), silentMs, trustedSinceMs);
    if (nowMs - lifeMs >= patience.hungMs) return this.report === null ? 'crashed' : 'hung';
    return this.report === null ? 'unknown' : 'suspect';
  }

  #answeringHealth(nowMs: number, { hungMs }: Patience): HealthWord {
    if (this.#denied !== null) return 'denied';
    // Whoever calls has tried to end the script half-way through this time.
    if (this.#busySinceMs !== null) {
      return this.#isUnfreeable || nowMs - this.#busySinceMs >= 2 * hungMs ? 'hung' : 'busy';
    }
    return this.report === null ? 'unknown' : 'up';
  }

  #takeIn(report: NodeReport, askedMs: number): void {
    const before = this.report;
    const sameLink =
      before !== null &&
      before.runId === report.runId &&
      before.replicationId === report.replicationId &&
      before.following?.host === report.following?.host &&
      before.following?.port === report.following?.port;
    if (sameLink && report.offset > before.offset) this.advancedAtMs = askedMs;
    this.report = report;
    this.reportedAtMs = askedMs;
  }

  #follows(host: string, port: number): boolean {
    const following = this.report?.following ?? null;
    return following !== null && following.host === host && following.port === port;
  }

  /** When it last said, after the refusals began, that its link is up and alive. */
  #heardAtMs(refusedSinceMs: number): number {
    const following = this.report?.following ?? null;
    if (following === null || !following.linkUp || following.lastHeardSeconds > HEARD_WITHIN_S)
      return Number.NEGATIVE_INFINITY;
    return this.reportedAtMs > refusedSinceMs + UNNOTICED_MS ? this.reportedAtMs : Number.NEGATIVE_INFINITY;
  }

  #advancedAfter(silentSinceMs: number): number {
    return this.advancedAtMs >= silentSinceMs + IN_FLIGHT_MS ? this.advancedAtMs : Number.NEGATIVE_INFINITY;
  }
}

/** Until when all of them have seen it alive; never, when there is none. */
function unanimous(signs: readonly number[]): number {
  return signs.length === 0 ? Number.NEGATIVE_INFINITY : Math.min(...signs);
}

/** Whether we ourselves can be trusted: since when the verdicts may count what was not heard. */
export class OwnSight {
  readonly #boundMs: number;
  #tickedAtMs: number;
  #isDeaf = false;
  #sinceMs: number;

  /** `boundMs`: a longer gap between two ticks means that we were paused. */
  constructor(boundMs: number, nowMs: number) {
    this.#boundMs = boundMs;
    this.#tickedAtMs = nowMs;
    this.#sinceMs = nowMs;
  }

  /** Returns how long we were away, when that was too long; else null. */
  tick(nowMs: number, hearsNobody: boolean): number | null {
    const gapMs = nowMs - this.#tickedAtMs;
    this.#tickedAtMs = nowMs;
    // As long as nobody is heard, and once more when somebody is heard again, everything is judged anew.
    if (gapMs > this.#boundMs || hearsNobody || this.#isDeaf) this.#sinceMs = nowMs;
    this.#isDeaf = hearsNobody;
    return gapMs > this.#boundMs ? gapMs : null;
  }

  get trustedSinceMs(): number {
    return this.#sinceMs;
  }
}
