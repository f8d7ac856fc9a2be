import type { Reply } from '../../src/supervisor/core/effect.ts';
import type { End, Network } from './network.ts';
import type { Actor } from './world.ts';

/**
 * A connection to a simulated node: commands out, replies back in their order, and the login before anything else.
 */
export class NodeClient {
  readonly #end: End;
  readonly #waiting: OnReply[] = [];
  #closed = false;
  onClose: (wasRefused: boolean) => void = () => {};

  constructor(network: Network, host: string, owner: Actor, address: string, onOpen: () => void) {
    let opened = false;
    this.#end = network.connect(host, owner, address, {
      onOpen: () => {
        opened = true;
        onOpen();
      },
      onMessage: message => {
        if (message.kind === 'reply') this.#waiting.shift()?.(message.value, message.sentMs);
      },
      onClose: () => this.#gone(!opened),
    });
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** How many commands have no reply yet. */
  get unanswered(): number {
    return this.#waiting.length;
  }

  /** `onReply` gets undefined when the connection is lost first. */
  send(args: readonly string[], onReply: OnReply): void {
    if (this.#closed) {
      onReply(undefined, 0);
      return;
    }
    this.#waiting.push(onReply);
    this.#end.send({ kind: 'command', args });
  }

  close(): void {
    this.#end.close();
    this.#gone(false);
  }

  /** Closes, and what is held up on its way to the node is thrown away, where that can be done. */
  reset(): void {
    this.#end.reset();
    this.#gone(false);
  }

  /** Is broken; the node learns of it later. */
  break(unseenMs: number): void {
    this.#end.break(unseenMs);
    this.#gone(false);
  }

  #gone(wasRefused: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const onReply of this.#waiting.splice(0)) onReply(undefined, 0);
    this.onClose(wasRefused);
  }
}

/** `sentMs`: when the node said it; `reply` is undefined when the connection was lost before. */
export type OnReply = (reply: Reply | undefined, sentMs: number) => void;

/** The text of an error reply; null: it is none. */
export function errorOf(reply: Reply | undefined): string | null {
  return typeof reply === 'object' && reply !== null && 'error' in reply ? reply.error : null;
}

/** A field of `INFO`. */
export function infoField(info: string, name: string): string {
  return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? '';
}
