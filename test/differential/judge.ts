/** Holds two replies against each other, and keeps what nothing allows. */
import { type Allowed, allowedFor, namesOf } from './allowed.ts';
import type { Command } from './generator.ts';
import { printable, type Reply } from './reader.ts';

/** One answer that nothing allows. */
export interface Difference {
  readonly what: string;
  readonly subject: string;
  readonly reference: string;
  /** Groups differences that are likely one: the command and the shape of both answers. */
  readonly signature: string;
}

export class Judge {
  /** Differences since it was last emptied. */
  readonly found: Difference[] = [];
  readonly #proxy: boolean;
  readonly #needed: Map<string, number>;

  /** `proxy`: the subject is Ringside, and more is allowed; `needed` counts each allowed difference. */
  constructor(proxy: boolean, needed: Map<string, number>) {
    this.#proxy = proxy;
    this.#needed = needed;
  }

  report(what: string, subject: string, reference: string, signature: string): void {
    this.found.push({ what, subject, reference, signature });
  }

  need(name: string): void {
    this.#needed.set(name, (this.#needed.get(name) ?? 0) + 1);
  }

  /** The replies to one command; `followed`: the reference was told what the subject had chosen. */
  one(command: Command, followed: Allowed | null, subject: Reply, reference: Reply, where = ''): void {
    if (subject.raw.equals(reference.raw)) {
      if (followed !== null) this.need(followed.name);
      return;
    }
    const allowed = followed ?? allowedFor(command);
    const applies = allowed !== null && (this.#proxy || allowed.proxyOnly !== true);
    if (applies && allowed.agree(subject, reference, command.args)) {
      this.need(allowed.name);
      return;
    }
    const signature = `${where}${namesOf(command)[0]} ${shapeOf(subject)} / ${shapeOf(reference)}`;
    this.report(`${where}${describe(command)}`, printable(subject.raw), printable(reference.raw), signature);
  }

  /** Everything that came back, which must be the same bytes. */
  same(what: string, subject: readonly Buffer[], reference: readonly Buffer[]): void {
    const [a, b] = [Buffer.concat(subject), Buffer.concat(reference)];
    if (!a.equals(b)) this.report(what, printable(a), printable(b), what);
  }
}

/** A command as a person reads it. */
export function describe(command: Command): string {
  const form = command.inline ? ' (inline)' : '';
  return `${command.args.map(arg => (arg.length === 0 ? '""' : printable(arg, 80))).join(' ')}${form}`;
}

/** An error's first words, or what kind of reply it is. */
function shapeOf(reply: Reply): string {
  if (reply.type !== '-') return reply.isNull ? `${reply.type}null` : reply.type;
  return reply.text.toString('latin1').split(' ').slice(0, 4).join(' ');
}
