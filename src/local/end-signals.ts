const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Ctrl-C under `npm start` arrives twice, from the terminal and passed on by npm: that is one wish, not insistence.
 */
const ONE_WISH_MS = 1000;

/**
 * The signals by which a person or a machine ends this process: the first one asks, the second one insists.
 */
export class EndSignals {
  /** Resolves with the first signal. */
  readonly first: Promise<void>;
  #firstMs: number | null = null;
  #onFirst: () => void = () => undefined;
  #onSecond: () => void = () => undefined;

  constructor() {
    this.first = new Promise(resolve => {
      this.#onFirst = resolve;
    });
    for (const signal of SIGNALS) process.on(signal, this.#take);
  }

  get received(): boolean {
    return this.#firstMs !== null;
  }

  onSecond(act: () => void): void {
    this.#onSecond = act;
  }

  /** Gives the signals their usual effect back. */
  release(): void {
    for (const signal of SIGNALS) process.off(signal, this.#take);
  }

  readonly #take = (): void => {
    if (this.#firstMs === null) {
      this.#firstMs = performance.now();
      this.#onFirst();
    } else if (performance.now() - this.#firstMs > ONE_WISH_MS) {
      this.#onSecond();
    }
  };
}
