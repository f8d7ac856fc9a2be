import { endOfReply } from './reply-decoder.ts';

/** The elements of an aggregate reply, still encoded; those of a map are its keys and values in turn. */
export function elementsOf(reply: Buffer): Buffer[] {
  const elements: Buffer[] = [];
  let at = reply.indexOf('\r\n') + 2;
  while (at < reply.length) {
    const end = endOfReply(reply, at, reply.length);
    elements.push(reply.subarray(at, end));
    at = end;
  }
  return elements;
}
