/** A real etcd for a test: members on free ports, in a directory of their own, that can be stopped, killed and started again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { clientUrl, type EtcdMember, etcdArguments } from '../../src/local/etcd-command.ts';
import { memoryDirectory } from './memory-directory.ts';
import { HANG_MS } from './patience.ts';
import { freePorts } from './ports.ts';

export class TestEtcd {
  /** Where clients reach the members. */
  readonly endpoints: readonly string[];
  readonly #members: readonly EtcdMember[];
  readonly #directory: string;
  readonly #processes = new Map<string, ChildProcess>();

  private constructor(directory: string, members: readonly EtcdMember[]) {
    this.#directory = directory;
    this.#members = members;
    this.endpoints = members.map(clientUrl);
  }

  /** Starts 1, 3 or 5 members and waits until they serve. Whoever starts one removes it, best in `afterAll`. */
  static async start(count = 1): Promise<TestEtcd> {
    const directory = memoryDirectory('ringside-etcd-');
    const first = await freePorts(2 * count);
    const members = Array.from({ length: count }, (_, index) => ({
      id: `e${index + 1}`,
      host: '127.0.0.1',
      port: first + 2 * index,
      peerPort: first + 2 * index + 1,
      directory: path.join(directory, `e${index + 1}`),
    }));
    const etcd = new TestEtcd(directory, members);
    await Promise.all(members.map((_, index) => etcd.startMember(index)));
    return etcd;
  }

  get pids(): readonly number[] {
    return [...this.#processes.values()].flatMap(({ pid }) => pid ?? []);
  }

  /** Starts a member, again where it ran before; resolves when it serves. */
  async startMember(index: number): Promise<void> {
    const member = this.#member(index);
    const child = spawn('etcd', etcdArguments(member, this.#members), { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = `${said}${text}`.slice(-2000);
    });
    const endWithTest = (): void => void child.kill('SIGKILL');
    process.once('exit', endWithTest);
    child.once('exit', () => process.off('exit', endWithTest));
    this.#processes.set(member.id, child);
    const endMs = performance.now() + HANG_MS;
    // Clients are let in only when the member has found a majority.
    while (!(await isListenedOn(member))) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`etcd ended at start: ${said}`);
      if (performance.now() > endMs) throw new Error(`etcd does not serve: ${said}`);
      await new Promise(resolve => setTimeout(resolve, 10));
    }
  }

  /** SIGSTOP, SIGCONT, or an end by SIGKILL or SIGTERM, which is waited for. */
  async signal(index: number, signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#processes.get(this.#member(index).id);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    if (signal === 'SIGKILL' || signal === 'SIGTERM') await ended;
  }

  /** Ends every member and deletes its data. */
  async remove(): Promise<void> {
    await Promise.all(this.#members.map((_, index) => this.signal(index, 'SIGKILL')));
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #member(index: number): EtcdMember {
    const member = this.#members[index];
    if (member === undefined) throw new Error(`there is no member ${index}`);
    return member;
  }
}

function isListenedOn({ host, port }: EtcdMember): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host, port });
    const answer = (yes: boolean): void => {
      socket.destroy();
      resolve(yes);
    };
    socket.once('connect', () => answer(true));
    socket.once('error', () => answer(false));
  });
}
