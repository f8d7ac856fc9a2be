/**
 * What a history of operations on one object is, and what an object may answer.
 */

/** One operation of one client. Times are of one clock, in milliseconds with fractions. */
export interface Operation<Input, Output> {
  readonly client: string;
  readonly input: Input;
  readonly beginMs: number;
  /** When the answer was there; null: it never came, and the operation may take effect at any later time, or never. */
  readonly endMs: number | null;
  /** What was answered; null only when `endMs` is. */
  readonly output: Output | null;
}

/** A sequential object: what it answers when one operation follows another. */
export interface Model<State, Input, Output> {
  readonly initial: State;
  /**
   * The state after an operation that answered `output` (null: nobody knows what it answered); undefined when the object
   * cannot have answered that in this state.
   */
  step(state: State, input: Input, output: Output | null): State | undefined;
  /** Equal for equal states, different for different ones. */
  nameOf(state: State): string;
}
