/**
 * How long a test waits for what must happen before it says that it never does. No machine is so busy that anything
 * here takes as long: it ends what hangs, and measures nothing. How quickly things happen is measured in `bench`.
 */
export const HANG_MS = 30_000;
