/**
 * Where a primary's stream stood when, so that a lag in bytes can be told in seconds.
 */
export class OffsetTrail {
  readonly #keepMs: number;
  #points: { readonly atMs: number; readonly offset: number }[] = [];

  /** `keepMs`: how far back it reaches; a longer lag is told as this long. */
  constructor(keepMs: number) {
    this.#keepMs = keepMs;
  }

  /** The primary stands at `offset` now. An offset that shrank is another primary's: what was before it means nothing. */
  note(offset: number, nowMs: number): void {
    const last = this.#points.at(-1);
    if (last !== undefined && offset < last.offset) this.#points = [];
    // An idle stream stands where it stood: its first moment is what counts.
    if (last?.offset === offset) return;
    this.#points.push({ atMs: nowMs, offset });
    const oldest = this.#points[0];
    if (oldest !== undefined && nowMs - oldest.atMs > 2 * this.#keepMs) {
      this.#points = this.#points.filter(point => nowMs - point.atMs <= this.#keepMs);
    }
  }

  /** How long ago the primary went past what a replica has; 0: it has all. In milliseconds. */
  lagMs(replicaOffset: number, nowMs: number): number {
    const firstMissing = this.#points.find(point => point.offset > replicaOffset);
    return firstMissing === undefined ? 0 : Math.min(this.#keepMs, Math.max(0, nowMs - firstMissing.atMs));
  }
}
