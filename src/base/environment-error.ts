/**
 * What keeps a process from starting and a person can put right: one line, exit status 2.
 */
export class EnvironmentError extends Error {
  override readonly name = 'EnvironmentError';
}
