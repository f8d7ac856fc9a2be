/**
 * How long a test waits for what must happen before it says that it never does. No machine is so busy that anything
 * here takes as long: it ends what hangs, and measures nothing. How quickly things happen is measured in `bench`.
 */
export const HANG_MS = 30_000;

/** Looks again and again; throws with what was seen last when it never is good. */
export async function until<T>(read: () => Promise<T> | T, good: (value: T) => boolean, limitMs = HANG_MS): Promise<T> {
  const endMs = performance.now() + limitMs;
  for (;;) {
    const value = await read();
    if (good(value)) return value;
    if (performance.now() > endMs) throw new Error(`still ${JSON.stringify(value)} after ${limitMs} ms`);
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}
