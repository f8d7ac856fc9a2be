import type { CallOutcome, Reply } from '../../../src/supervisor/core/effect.ts';
import { type NodeReport, parseNodeReport } from '../../../src/supervisor/core/node-report.ts';
import { ADMIN_USER } from '../../../src/topology/credentials.ts';
import { ScriptedKeys } from './scripted-keys.ts';

/**
 * A handful of nodes that understand what the engine says to them, with nothing left to chance: links come about at
 * once, or are tried again after a second, and a write is everywhere the moment it is made. Just enough for transcripts;
 * the simulator has nodes that lose data the way Redis does.
 */
const SETTLED_MS = 1000;

export class ScriptedNode {
  readonly id: string;
  readonly port: number;
  readonly #all: readonly ScriptedNode[];
  isUp = true;
  life = 1;
  version = '7.0.15';
  role: 'master' | 'slave' = 'master';
  /** It uses 1000 bytes. */
  maxMemory = 0;
  maxMemoryPolicy = 'noeviction';
  replid: string;
  replid2 = '0'.repeat(40);
  promotedAt = -1;
  offset = 0;
  keys = 0;
  /** Besides `keys`, which are only counted. */
  readonly data = new ScriptedKeys();
  /** Libraries of functions other than the mark, by name. */
  functions = new Map<string, string>();
  mark: string | null = null;
  /** What a dump on its disk was last made of; null: none was. */
  saved: { readonly keys: number; readonly mark: string | null } | null = null;
  /** User → whether its door is open. */
  users = new Map<string, boolean>([['default', false]]);
  settings = new Map<string, string>([['databases', '16']]);
  follows: number | null = null;
  linkedAs: string | null = null;
  retryAtMs = 0;
  /** Its link is dead, and neither end knows. */
  isDeaf = false;
  /** The leader does not reach it. */
  isHidden = false;
  /** It lets in nobody new. */
  isShut = false;
  /** How much longer than others it takes to answer a call, in milliseconds. */
  slowMs = 0;

  constructor(id: string, port: number, all: readonly ScriptedNode[]) {
    this.id = id;
    this.port = port;
    this.#all = all;
    this.replid = this.#freshId();
  }

  get runId(): string {
    return `${this.id}-life${this.life}`;
  }

  kill(): void {
    this.isUp = false;
    this.linkedAs = null;
    for (const other of this.#all) if (other.follows === this.port) other.linkedAs = null;
  }

  /** `keeps`: it comes back with what it had on disk. */
  start(keeps: boolean): void {
    this.life++;
    this.isUp = true;
    this.role = 'master';
    this.follows = null;
    this.users = new Map([['default', false]]);
    this.replid = this.#freshId();
    this.replid2 = '0'.repeat(40);
    this.promotedAt = -1;
    this.offset = 0;
    if (keeps) return;
    this.keys = 0;
    this.data.clear();
    this.functions.clear();
    this.mark = null;
  }

  /** Writes, as a client would. */
  write(keys: number): void {
    this.keys += keys;
    this.feed(keys * 10);
  }

  /** Its stream goes on; everybody linked to it has that at once. */
  feed(bytes: number): void {
    this.offset += bytes;
    for (const other of this.#all) {
      if (other.follows !== this.port || other.linkedAs === null || other.isDeaf) continue;
      this.#copyTo(other);
      other.feed(bytes);
    }
  }

  #copyTo(other: ScriptedNode): void {
    other.mark = this.mark;
    other.keys = this.keys;
    other.data.copyOf(this.data);
    other.functions = new Map(this.functions);
  }

  retry(nowMs: number): void {
    if (this.isUp && this.follows !== null && this.linkedAs === null && nowMs >= this.retryAtMs) this.#link(nowMs);
  }

  report(): NodeReport {
    return parseNodeReport(this.#info());
  }

  call(as: string, runId: string, commands: readonly (readonly string[])[], nowMs: number): CallOutcome {
    if (this.isHidden) return { ok: false, why: 'silent', text: 'no answer' };
    if (!this.isUp) return { ok: false, why: 'unreachable', text: 'connection refused' };
    if (runId !== this.runId) return { ok: false, why: 'stranger', text: `${this.runId} answers` };
    const isShut = this.users.get('default') === undefined || this.settings.get('default') === `off ${this.life}`;
    if (as === 'default' ? isShut : !this.users.has(as)) return { ok: false, why: 'denied', text: 'WRONGPASS' };
    return { ok: true, replies: this.#runAll(commands, nowMs) };
  }

  #runAll(commands: readonly (readonly string[])[], nowMs: number): Reply[] {
    let queued: (readonly string[])[] | null = null;
    return commands.map(words => {
      if (words[0] === 'MULTI') {
        queued = [];
        return 'OK';
      }
      if (queued === null) return this.#run(words, nowMs);
      if (words[0] !== 'EXEC') {
        queued.push(words);
        return 'QUEUED';
      }
      const block = queued;
      queued = null;
      return block.map(one => this.#run(one, nowMs));
    });
  }

  #run(words: readonly string[], nowMs: number): Reply {
    const [name, second = '', third = '', ...rest] = words;
    if (name === 'INFO') return this.#info();
    if (name === 'ACL') return this.#acl(second, third, rest);
    if (name === 'REPLICAOF') return this.#replicaOf(second, third, nowMs);
    if (name === 'CLIENT') return this.#client(second, words);
    if (name === 'FUNCTION') return this.#function(second, words);
    if (name === 'CONFIG' && second === 'GET')
      return [third, ...rest].flatMap(key => [key, this.settings.get(key) ?? '']);
    if (name === 'CONFIG') {
      const pairs = [third, ...rest];
      for (let i = 0; i < pairs.length; i += 2) this.settings.set(pairs[i] ?? '', pairs[i + 1] ?? '');
      return 'OK';
    }
    if (name === 'ROLE') return [this.role];
    if (name === 'WAIT') return this.#links().filter(one => !one.isDeaf).length;
    if (name === 'SAVE') {
      this.saved = { keys: this.keys, mark: this.mark };
      return 'OK';
    }
    if (name === 'FLUSHALL') {
      if (this.role === 'slave') return { error: "READONLY You can't write" };
      this.keys = 0;
      this.data.clear();
      this.feed(10);
      return 'OK';
    }
    const answer = this.data.run(words);
    if (answer !== undefined) {
      const [reply, isWrite] = answer;
      if (isWrite && this.role === 'slave' && name !== 'SPUBLISH') return { error: "READONLY You can't write" };
      if (isWrite) this.feed(10);
      return reply;
    }
    if (name === 'MODULE') return [];
    if (name === 'COMMAND') return ['get', 'set'];
    return { error: `ERR unknown command '${name}'` };
  }

  #acl(what: string, user: string, rest: readonly string[]): Reply {
    if (what === 'USERS') return [...this.users.keys()].sort();
    if (what === 'DELUSER') {
      const gone = [user, ...rest].filter(one => this.users.delete(one));
      for (const other of this.#all) {
        if (other.follows === this.port && gone.includes(other.linkedAs ?? '')) other.linkedAs = null;
      }
      return gone.length;
    }
    if (user === 'default') this.settings.set('default', `${rest.includes('off') ? 'off' : 'on'} ${this.life}`);
    else if (rest.includes('+psync')) this.users.set(user, true);
    else this.users.set(user, false);
    return 'OK';
  }

  #replicaOf(host: string, port: string, nowMs: number): Reply {
    if (host === 'NO') {
      if (this.role === 'master') return 'OK';
      this.role = 'master';
      this.follows = null;
      this.linkedAs = null;
      this.replid2 = this.replid;
      this.promotedAt = this.offset;
      this.replid = this.#freshId();
      return 'OK';
    }
    if (this.follows === Number(port)) return 'OK';
    this.role = 'slave';
    this.follows = Number(port);
    this.linkedAs = null;
    this.#link(nowMs);
    return 'OK';
  }

  #link(nowMs: number): void {
    this.retryAtMs = nowMs + SETTLED_MS;
    const target = this.#all.find(one => one.port === this.follows);
    const user = this.settings.get('masteruser') ?? '';
    if (target === undefined || !target.isUp || target.users.get(user) !== true) return;
    // Partial or in full: it comes to the same here, but for the id.
    this.linkedAs = user;
    this.replid = target.replid;
    this.offset = target.offset;
    target.#copyTo(this);
  }

  #client(what: string, words: readonly string[]): Reply {
    if (what !== 'LIST') return what === 'KILL' ? 0 : 'OK';
    const lines = this.#links().map((one, i) => `id=${i} addr=127.0.0.1:1 name= flags=S user=${one.linkedAs}`);
    if (!words.includes('TYPE')) lines.push(`id=99 addr=127.0.0.1:2 name= flags=N user=${ADMIN_USER}`);
    return `${lines.join('\n')}\n`;
  }

  #links(): ScriptedNode[] {
    return this.#all.filter(one => one.follows === this.port && one.linkedAs !== null);
  }

  #function(what: string, words: readonly string[]): Reply {
    if (what === 'LIST') {
      const libraries = words.includes('LIBRARYNAME') ? [] : [...this.functions];
      const all = [...(this.mark === null ? [] : [['ringside_mark', this.mark]]), ...libraries];
      return all.map(([library = '', code = '']) => ['library_name', library, 'library_code', code]);
    }
    if (what === 'FLUSH') {
      if (this.role === 'slave') return { error: "READONLY You can't write" };
      this.mark = null;
      this.functions.clear();
      this.feed(10);
      return 'OK';
    }
    const code = words.at(-1) ?? '';
    const library = /^#!lua name=(\w+)/.exec(code)?.[1] ?? '';
    if (what === 'DELETE') this.functions.delete(code);
    else if (library === 'ringside_mark') this.mark = code;
    else this.functions.set(library, code);
    this.feed(10);
    return what === 'DELETE' ? 'OK' : library;
  }

  #info(): string {
    const links = this.#links().length;
    const isReplica = this.role === 'slave';
    const following = [
      'master_host:127.0.0.1',
      `master_port:${this.follows}`,
      `master_link_status:${this.linkedAs === null ? 'down' : 'up'}`,
      'master_last_io_seconds_ago:0',
      'master_sync_in_progress:0',
      `slave_repl_offset:${this.offset}`,
    ];
    return [
      `redis_version:${this.version}`,
      `run_id:${this.runId}`,
      'process_id:1',
      `role:${this.role}`,
      ...(isReplica ? following : [`connected_slaves:${links}`]),
      `master_replid:${this.replid}`,
      `master_replid2:${this.replid2}`,
      `master_repl_offset:${this.offset}`,
      `second_repl_offset:${this.promotedAt + 1}`,
      'repl_backlog_active:1',
      'repl_backlog_first_byte_offset:1',
      // Of one that tries and tries to link it is never quite the same twice.
      `used_memory:${1000 + (isReplica && this.linkedAs === null ? ScriptedNode.#asked++ % 7 : 0)}`,
      `maxmemory:${this.maxMemory}`,
      `maxmemory_policy:${this.maxMemoryPolicy}`,
      'loading:0',
      ...(this.keys === 0 ? this.data.info() : [`db0:keys=${this.keys},expires=0,avg_ttl=0`]),
    ].join('\r\n');
  }

  #freshId(): string {
    ScriptedNode.#ids++;
    return String(ScriptedNode.#ids).padStart(40, 'e');
  }

  static #ids = 0;
  static #asked = 0;
}
