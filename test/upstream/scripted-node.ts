/** A node that logs clients in as Redis does and otherwise says what a test lets it say, for what no real node shows. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions, Server as TlsServer } from 'node:tls';
import type { Target } from '../../src/upstream/login.ts';

/** What the node answers to a command, as it stands on the wire; null: nothing. */
export type Answers = (words: string[], link: Link) => string | null;

export const bulkText = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;

/** One connection to the node. */
export class Link {
  readonly socket: Socket;
  /** Every command heard here behind the login, its words joined by blanks. */
  readonly heard: string[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
  }

  say(bytes: string): void {
    this.socket.write(bytes, 'latin1');
  }
}

export class ScriptedNode {
  readonly port: number;
  readonly links: Link[] = [];
  /** Fields of INFO. */
  info: Record<string, string> = { redis_version: '7.0.15', run_id: 'a'.repeat(40), loading: '0', role: 'master' };
  answers: Answers;
  /** Answers to commands of the login, by the first word; others are answered well. */
  login: Record<string, string | null> = {};
  /** Looks at a command of the login first; undefined: it has nothing to say about it. */
  onLogin: (words: string[], link: Link) => string | undefined = () => undefined;
  readonly #server: Server;

  private constructor(server: Server, answers: Answers) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    this.answers = answers;
    const event = server instanceof TlsServer ? 'secureConnection' : 'connection';
    server.on(event, (socket: Socket) => this.#accept(socket));
  }

  /** `secure`: speaks TLS with this key and certificate. */
  static async start(answers: Answers = () => null, secure: TlsOptions | null = null): Promise<ScriptedNode> {
    const server = secure === null ? createServer({ noDelay: true }) : createTlsServer(secure);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new ScriptedNode(server, answers);
  }

  get target(): Target {
    return { host: '127.0.0.1', port: this.port, username: '', password: '', runId: null, database: 0, protocol: 2 };
  }

  /** The newest connection. */
  get link(): Link {
    return this.links.at(-1) as Link;
  }

  async stop(): Promise<void> {
    for (const { socket } of this.links) socket.destroy();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(socket: Socket): void {
    const link = new Link(socket);
    this.links.push(link);
    let unread = '';
    socket.on('error', () => {});
    socket.on('data', bytes => {
      unread += bytes.toString('latin1');
      for (let found = readCommand(unread); found !== null; found = readCommand(unread)) {
        unread = unread.slice(found.length);
        const answer = this.#answer(found.words, link);
        if (answer !== null) link.say(answer);
      }
    });
  }

  #answer(words: string[], link: Link): string | null {
    const name = (words[0] as string).toUpperCase();
    const isLogin = ['AUTH', 'HELLO', 'CLIENT', 'SELECT', 'INFO', 'COMMAND'].includes(name);
    if (!isLogin) {
      link.heard.push(words.join(' '));
      return this.answers(words, link);
    }
    const scripted = this.onLogin(words, link) ?? this.login[name];
    if (scripted !== undefined) return scripted;
    if (name === 'HELLO') return '%1\r\n+proto\r\n:3\r\n';
    if (name === 'CLIENT' && words[1] === 'ID') return ':7\r\n';
    // Behind the login a proxy asks for the table of commands: one of no use leaves it with the shipped one.
    if (name === 'COMMAND') return '*0\r\n';
    if (name !== 'INFO') return '+OK\r\n';
    const lines = Object.entries(this.info).map(([field, value]) => `${field}:${value}\r\n`);
    return bulkText(`# Server\r\n${lines.join('')}`);
  }
}

function readCommand(text: string): { words: string[]; length: number } | null {
  const words: string[] = [];
  let at = text.indexOf('\r\n') + 2;
  if (at < 2) return null;
  for (let left = Number(text.slice(1, at - 2)); left > 0; left -= 1) {
    const lineEnd = text.indexOf('\r\n', at);
    if (lineEnd < 0) return null;
    const length = Number(text.slice(at + 1, lineEnd));
    if (text.length < lineEnd + 2 + length + 2) return null;
    words.push(text.slice(lineEnd + 2, lineEnd + 2 + length));
    at = lineEnd + 2 + length + 2;
  }
  return { words, length: at };
}
