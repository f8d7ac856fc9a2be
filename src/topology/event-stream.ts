/**
 * Reads server-sent events out of text that arrives in any pieces.
 *
 * The format is the HTML standard's `text/event-stream`: lines `event: NAME` and `data: TEXT` (several are joined by
 * line breaks), an empty line ends the event, a line that begins with a colon is a comment.
 */
export class EventStream {
  readonly #maxLength: number;
  readonly #onEvent: (name: string, data: string) => void;
  #rest = '';
  #name = '';
  #data: string[] = [];
  #dataLength = 0;

  /** `maxLength`: characters of one event, beyond which `push` gives up. */
  constructor(maxLength: number, onEvent: (name: string, data: string) => void) {
    this.#maxLength = maxLength;
    this.#onEvent = onEvent;
  }

  /** False: an event is too long, and the stream is of no more use. */
  push(text: string): boolean {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() as string;
    for (const line of lines) this.#takeLine(line.endsWith('\r') ? line.slice(0, -1) : line);
    return this.#rest.length + this.#dataLength <= this.#maxLength;
  }

  #takeLine(line: string): void {
    if (line === '') {
      if (this.#data.length > 0) this.#onEvent(this.#name === '' ? 'message' : this.#name, this.#data.join('\n'));
      this.#name = '';
      this.#data = [];
      this.#dataLength = 0;
      return;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.#name = value;
    if (field !== 'data') return;
    this.#data.push(value);
    this.#dataLength += value.length;
  }
}
