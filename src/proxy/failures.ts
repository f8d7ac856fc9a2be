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
    case Failure.Closing:
      return error(`CLUSTERDOWN the proxy is closing, nothing was applied: ${detail}`);
    default:
      return unreachable(failure);
  }
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
