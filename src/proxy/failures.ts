import { unreachable } from '../base/assert.ts';
import { error } from '../resp/encoder.ts';
import { Failure } from '../upstream/request.ts';

/**
 * The error replies that are Ringside's own: one row each, with what the client may conclude.
 *
 * The first word is what programs test; the rest is for people.
 */
export function failureReply(failure: Failure, detail: string): Buffer {
  switch (failure) {
    case Failure.Uncertain:
      return error(`UNCERTAIN the write was sent and may or may not have been applied: ${detail}`);
    case Failure.Down:
      return error(`CLUSTERDOWN the shard has no reachable primary, nothing was applied: ${detail}`);
    case Failure.Overloaded:
      return error(`OVERLOADED nothing was applied: ${detail}`);
    case Failure.ReadLost:
      return error(
        `UNCERTAIN the read was lost, and a later write of this client may have been applied, so it is not repeated: ${detail}`,
      );
    case Failure.Gone:
      return error(`CLUSTERDOWN the connection to the primary was lost, nothing was applied: ${detail}`);
    case Failure.Moved:
      return error(`TRYAGAIN the key is on the move and could not be pulled in time, nothing was applied: ${detail}`);
    case Failure.Closing:
      return error(`CLUSTERDOWN the proxy is closing, nothing was applied: ${detail}`);
    default:
      return unreachable(failure);
  }
}

/** `-NOREPLICAS` for a shard that has fewer copies than its writes want. */
export function tooFewCopies(shard: string, copies: number, minimum: number): Buffer {
  return error(
    `NOREPLICAS Not enough good replicas to write. Nothing was applied: shard ${shard} has ${copies} ` +
      `${copies === 1 ? 'copy' : 'copies'} in sync, writes.minimumCopies is ${minimum}`,
  );
}

export const CROSSSLOT = error(
  "CROSSSLOT Keys in request don't hash to the same shard; give them a common hash tag, as in {tag}:key",
);

/** `-OVERLOADED` for a bound by its name in the configuration. */
export function overloaded(bound: string): Buffer {
  return error(`OVERLOADED nothing was applied: ${bound} is reached`);
}

/** `-DENIED` for a command that the configuration switches off. */
export function denied(name: string): Buffer {
  return error(`DENIED ${name.toUpperCase().replace('|', ' ')} is switched off by proxy.deny, nothing was applied`);
}
