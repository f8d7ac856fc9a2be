import type { End, Message, Network } from '../network.ts';
import type { DataSet } from './data-set.ts';
import type { Entry } from './history.ts';
import type { RedisProcess } from './process.ts';

/**
 * A replica's side of replication: connect, log in, ask for what is missing, copy or go on, apply, confirm.
 *
 *   connect ─► handshake ─► continue ──────────────► connected ─► (lost) ─► connect, with what it has
 *                      └──► transfer ─► loading ──┘            in mid-copy: connect, with nothing
 *
 * As in Redis: the data is emptied only once the whole copy has arrived; if loading it then fails, the process lives on,
 * empty, with its old offset. A refused replica tries again once a second.
 */
export class ReplicaLink {
  readonly host: string;
  readonly port: number;
  readonly #process: RedisProcess;
  readonly #network: Network;
  #state: 'connect' | 'handshake' | 'transfer' | 'loading' | 'connected' = 'connect';
  #end: End | null = null;
  /** What it has can be continued: it names its history and offset when it asks. */
  #canContinue: boolean;
  #lastHeardMs = 0;
  #early: Entry[] = [];
  #over = false;

  constructor(process: RedisProcess, network: Network, host: string, port: number, canContinue: boolean) {
    this.#process = process;
    this.#network = network;
    this.host = host;
    this.port = port;
    this.#canContinue = canContinue;
    this.#connect();
  }

  get isUp(): boolean {
    return this.#state === 'connected';
  }

  get isSyncing(): boolean {
    return this.#state === 'transfer' || this.#state === 'loading';
  }

  /** What `slave_repl_offset` says: nothing while a whole copy is on its way. */
  get offset(): number {
    return this.#state === 'connected' || this.#canContinue ? this.#process.history.offset : 0;
  }

  /** Whether a link elsewhere could go on from here. */
  get canContinue(): boolean {
    return this.#state === 'connected' || (this.#canContinue && !this.isSyncing);
  }

  get heardSecondsAgo(): number {
    return this.isUp ? Math.floor((this.#process.world.nowMs - this.#lastHeardMs) / 1000) : -1;
  }

  /** Once a second: try again, confirm, give up what is silent. */
  cron(timeoutMs: number): void {
    if (this.#over) return;
    if (this.#state === 'connect') this.#connect();
    else if (this.#state !== 'loading' && this.#process.world.nowMs - this.#lastHeardMs > timeoutMs) this.#lose(true);
    else if (this.#state === 'connected') this.#confirm();
  }

  /** Leaves for good. */
  leave(): void {
    this.#over = true;
    this.#end?.close();
  }

  /** The connection breaks on this side; the primary believes in it for another while. */
  break(unseenMs: number): void {
    if (this.#end === null || this.#state === 'loading') return;
    this.#end.break(unseenMs);
  }

  #connect(): void {
    this.#state = 'handshake';
    this.#lastHeardMs = this.#process.world.nowMs;
    const address = `${this.host}:${this.port}`;
    const answers = this.#steps();
    const end = this.#network.connect(this.#process.host, this.#process.actor, address, {
      onOpen: () => void answers.next(),
      onMessage: message => this.#onMessage(end, message, answers),
      onClose: () => {
        if (this.#end === end) this.#lose(false);
      },
    });
    this.#end = end;
  }

  /** The handshake: each `yield` waits for the reply to what was sent before it. */
  *#steps(): Generator<void, void, string> {
    const { config, history } = this.#process;
    const user = config.get('masteruser') ?? '';
    const password = config.get('masterauth') ?? '';
    if (password !== '') {
      this.#send(user === '' ? ['AUTH', password] : ['AUTH', user, password]);
      if ((yield) !== 'OK') return this.#lose(true);
    }
    this.#send(['REPLCONF', 'listening-port', String(this.#process.port)]);
    if ((yield) !== 'OK') return this.#lose(true);
    const asked = this.#canContinue ? [history.id, String(history.offset + 1)] : ['?', '-1'];
    this.#send(['PSYNC', ...asked]);
    const [word, id = ''] = (yield).split(' ');
    if (word === 'CONTINUE') return this.#goOn(id);
    if (word !== 'FULLRESYNC') return this.#lose(true);
    // From here on there is nothing to go back to but the data itself.
    this.#canContinue = false;
    this.#state = 'transfer';
    this.#early = [];
    this.#process.dropReplicas();
    history.dropBacklog();
  }

  #send(args: readonly string[]): void {
    this.#end?.send({ kind: 'command', args });
  }

  #goOn(id: string): void {
    const { history } = this.#process;
    if (id !== history.id) {
      history.shift(id);
      this.#process.dropReplicas();
    }
    if (!history.hasBacklog) history.openBacklog();
    this.#canContinue = true;
    this.#state = 'connected';
    this.#process.tell(`continues history ${id.slice(0, 6)} at ${history.offset}`);
  }

  #onMessage(end: End, message: Message, answers: Generator<void, void, string>): void {
    if (this.#over || this.#end !== end) return;
    this.#lastHeardMs = this.#process.world.nowMs;
    if (message.kind === 'reply') {
      const { value } = message;
      answers.next(typeof value === 'string' ? value : 'error');
      return;
    }
    if (message.kind !== 'other') return;
    const body = message.body as Entry | FullCopy;
    if ('data' in body) this.#load(body);
    else if (this.#state === 'loading') this.#early.push(body);
    else if (this.#state === 'connected') this.#apply(body);
  }

  #load(copy: FullCopy): void {
    const { world, history } = this.#process;
    this.#state = 'loading';
    this.#process.empty();
    this.#process.loading = true;
    const end = this.#end;
    world.afterFor(this.#process.actor, world.between(0.5, 20), () => {
      this.#process.loading = false;
      if (this.#over) return;
      if (world.chance(this.#process.loadFailure)) {
        this.#process.tell('could not load the copy: lives on, empty');
        this.#lose(true);
        return;
      }
      this.#process.data = copy.data.clone();
      history.restart(copy.id, copy.offset);
      history.openBacklog();
      this.#canContinue = true;
      this.#process.tell(`loaded a whole copy of ${copy.id.slice(0, 6)} at ${copy.offset}`);
      if (end?.isClosed !== false) {
        this.#lose(true);
        return;
      }
      this.#state = 'connected';
      for (const entry of this.#early.splice(0)) this.#apply(entry);
      this.#confirm();
    });
  }

  #apply(entry: Entry): void {
    this.#process.applyStream(entry);
    if (entry.command[0] === 'REPLCONF') this.#confirm();
  }

  #confirm(): void {
    this.#send(['REPLCONF', 'ACK', String(this.#process.history.offset)]);
  }

  #lose(close: boolean): void {
    // Loading goes on without the connection; how it ended is seen at its end.
    if (this.#over || (this.#state === 'loading' && this.#process.loading)) return;
    const end = this.#end;
    this.#end = null;
    this.#state = 'connect';
    if (close) end?.close();
  }
}

/** A whole copy on its way: the data at one point of one history. */
export interface FullCopy {
  readonly data: DataSet;
  readonly id: string;
  readonly offset: number;
}

export function fullCopy(data: DataSet, id: string, offset: number): FullCopy {
  return { data: data.clone(), id, offset };
}
