/**
 * Where a process of a test cluster runs: the machine itself, or one of the hosts that a test makes of it.
 */
export interface Host {
  readonly name: string;
  /** Where its processes listen, and are reached by the others and by the test. */
  readonly address: string;
  /** Program and arguments that run the given ones there, as the same process. */
  command(program: string, args: readonly string[]): readonly [program: string, args: readonly string[]];
}

/** All processes on loopback: they may be killed and frozen, but not cut off from one another. */
export const loopback: Host = {
  name: 'loopback',
  address: '127.0.0.1',
  command: (program, args) => [program, args],
};
