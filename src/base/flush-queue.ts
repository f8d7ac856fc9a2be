/**
 * Writes once per socket and turn of the event loop: whoever has bytes to send puts itself in line, and all are flushed
 * after the sockets of this turn were read.
 *
 * `setImmediate` runs right behind the poll phase, so that the commands of all clients that were readable together
 * share one write to their node, and the replies that one read brought share one write to their client.
 */
export interface Flushable {
  /** True while in line; owned by the queue. */
  flushScheduled: boolean;
  flush(): void;
}

export function scheduleFlush(item: Flushable): void {
  if (item.flushScheduled) return;
  item.flushScheduled = true;
  line.push(item);
  if (!armed) {
    armed = true;
    setImmediate(flushAll);
  }
}

let line: Flushable[] = [];
let spare: Flushable[] = [];
let armed = false;

function flushAll(): void {
  armed = false;
  const items = line;
  line = spare;
  for (let i = 0; i < items.length; i += 1) {
    const item = items[i] as Flushable;
    item.flushScheduled = false;
    item.flush();
  }
  items.length = 0;
  spare = items;
}
