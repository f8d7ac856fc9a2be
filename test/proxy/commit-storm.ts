/** A shard of scripted primaries with copies and a supervisor that keeps the rules, so that anything may happen to it. */
import type { Random } from '../../src/base/random.ts';
import type { PrimaryAddress } from '../../src/proxy/shard-state.ts';
import { proxyUser } from '../../src/topology/credentials.ts';
import { bulkText, type Link, ScriptedNode } from '../upstream/scripted-node.ts';

/** One write as it lies in a primary's history. */
export interface Written {
  readonly id: string;
  /** The offset behind it. */
  readonly end: number;
}

/** A copy by what it has of the primary's history; `linked`: it goes on copying. */
export interface Copy {
  readonly address: PrimaryAddress;
  offset: number;
  linked: boolean;
}

interface Wait {
  readonly link: Link;
  readonly needed: number;
  readonly offset: number;
  readonly endMs: number;
}

/**
 * A process that is primary from its start to its end. `W id` appends to its history and is answered `+id`; `B id` is a
 * block with two replies in front of its own; `R id` is a read, answered `+id`.
 */
export class StormPrimary {
  readonly node: ScriptedNode;
  readonly address: PrimaryAddress;
  readonly history: Written[];
  offset: number;
  copies: Copy[] = [];
  /** Epochs whose user exists. */
  readonly epochs = new Set<number>();
  readonly #random: Random;
  readonly #epochOf = new Map<Link, number>();
  /** The offset behind the last command of each connection, for WAIT. */
  readonly #writtenBy = new Map<Link, number>();
  #waits: Wait[] = [];
  readonly #ticker: NodeJS.Timeout;

  private constructor(node: ScriptedNode, name: string, history: Written[], offset: number, random: Random) {
    this.node = node;
    this.history = history;
    this.offset = offset;
    this.#random = random;
    this.address = { nodeId: name, host: '127.0.0.1', port: node.port, zone: '', runId: name.padEnd(40, '0') };
    node.answers = (words, link) => this.#answer(words, link);
    node.onLogin = (words, link) => this.#logIn(words, link);
    this.#ticker = setInterval(() => this.#tick(), 1);
  }

  /** `from`: the primary whose history it has up to `promotedAt`; null: none. */
  static async start(name: string, from: StormPrimary | null, promotedAt: number, random: Random) {
    const node = await ScriptedNode.start();
    const history = (from?.history ?? []).filter(written => written.end <= promotedAt);
    const primary = new StormPrimary(node, name, history, promotedAt, random);
    node.info = { ...node.info, run_id: primary.address.runId as string, master_replid: `h-${name}` };
    if (from !== null) {
      Object.assign(node.info, {
        master_replid2: `h-${from.address.nodeId}`,
        second_repl_offset: String(promotedAt + 1),
      });
    }
    Object.defineProperty(node.info, 'master_repl_offset', { enumerable: true, get: () => String(primary.offset) });
    return primary;
  }

  /** How many connections are logged in as older epochs' users than this one. */
  olderThan(epoch: number): number {
    return [...this.#epochOf].filter(([link, of]) => of < epoch && !link.socket.destroyed).length;
  }

  /** The fence. */
  fence(epoch: number): void {
    for (const older of this.epochs) if (older < epoch) this.epochs.delete(older);
    for (const [link, of] of this.#epochOf) if (of < epoch) link.socket.destroy();
  }

  /** Breaks some connections. */
  cut(share: number): void {
    for (const { socket } of this.node.links) if (this.#random.next() < share) socket.destroy();
  }

  async stop(): Promise<void> {
    clearInterval(this.#ticker);
    await this.node.stop();
  }

  #logIn(words: string[], link: Link): string | undefined {
    if (words[0] !== 'AUTH') return undefined;
    const epoch = [...this.epochs].find(one => proxyUser(one) === words[1]);
    if (epoch === undefined) return '-WRONGPASS invalid username-password pair or user is disabled.\r\n';
    this.#epochOf.set(link, epoch);
    return undefined;
  }

  #answer(words: string[], link: Link): string | null {
    const [name, id = ''] = words;
    if (name === 'SPUBLISH') {
      this.#write(link, null);
      return ':0\r\n';
    }
    if (name === 'ROLE') return `*3\r\n${bulkText('master')}:${this.offset}\r\n*0\r\n`;
    if (name === 'R') return `+${id}\r\n`;
    if (name === 'WAIT') {
      const offset = this.#writtenBy.get(link) ?? 0;
      this.#waits.push({ link, needed: Number(id), offset, endMs: performance.now() + Number(words[2]) });
      return null;
    }
    this.#write(link, id);
    return name === 'B' ? `+OK\r\n+QUEUED\r\n+${id}\r\n` : `+${id}\r\n`;
  }

  #write(link: Link, id: string | null): void {
    this.offset += 10;
    if (id !== null) this.history.push({ id, end: this.offset });
    this.#writtenBy.set(link, this.offset);
  }

  /** Copies come nearer, and who waited for that hears of it. */
  #tick(): void {
    for (const copy of this.copies) {
      if (!copy.linked || this.#random.next() < 0.3) continue;
      copy.offset += 10 * Math.ceil(((this.offset - copy.offset) / 10) * this.#random.next());
    }
    this.#waits = this.#waits.filter(({ link, needed, offset, endMs }) => {
      const count = this.copies.filter(copy => copy.linked && copy.offset >= offset).length;
      if (count < needed && performance.now() < endMs) return true;
      link.say(`:${count}\r\n`);
      return false;
    });
  }
}
