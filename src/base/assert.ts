/** Stops the process at a state that only a bug of ours can reach: going on would risk a client's data. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** A broken promise of our own code; never thrown for what a client, a person or the network did. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** Marks a branch that the types say cannot be reached. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}
