/**
 * The question before something that cannot be taken back.
 */
import { createInterface } from 'node:readline/promises';
import { CommandFailure, USAGE } from './failure.ts';

/** Whether the person who typed the command says yes. Throws `CommandFailure` where nobody is there to be asked. */
export async function isWanted(question: string): Promise<boolean> {
  if (!process.stdin.isTTY)
    throw new CommandFailure('nobody is there to be asked whether this is wanted: say --yes', USAGE);
  const reader = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test((await reader.question(`\n${question} [y/N] `)).trim());
  } finally {
    reader.close();
  }
}
