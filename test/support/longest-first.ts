/**
 * Which test files are begun first: those that take longest, so that no core is idle at the end while another one still has
 * a long file to go. Without this the largest files come first, which says little.
 */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** A sequencer for `sequence.sequencer`: these files first, in this order, and then all others as vitest has them. */
export function longestFirst(paths: readonly string[]): typeof BaseSequencer {
  const rankOf = ({ moduleId }: TestSpecification): number => {
    const found = paths.findIndex(path => moduleId.endsWith(`/${path}`));
    return found < 0 ? paths.length : found;
  };
  return class extends BaseSequencer {
    override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
      return (await super.sort(files)).sort((a, b) => rankOf(a) - rankOf(b));
    }
  };
}
