/**
 * What a proxy worker counts: plain number fields that the data path bumps, and that nobody reads before a scrape.
 *
 * A counter only grows; a gauge says what is now. Each class has one shape, so that a bump is one load and one store.
 * The metrics that are made of them stand in `metrics.ts`, one row each.
 */
import { LatencyHistogram } from './histogram.ts';

/** Everything one worker counts. */
export class ProxyMetrics {
  readonly clients = new ClientCells();
  readonly closed = new ClosedCells();
  readonly commands = new CommandCells();
  readonly errors = new ErrorCells();
  readonly overloaded = new BoundCells();
  /** The bounds as configured for this worker; 0 until told. */
  readonly limits = new BoundCells();
  readonly held = new HeldCells();
  readonly topology = new TopologyCells();
  readonly moving = new MovingCells();
  readonly latency = new LatencyCells();
  readonly #shards = new Map<string, ShardCells>();

  /** The cells of one shard, made at the first call; keep the object, not the name. */
  shard(name: string): ShardCells {
    let cells = this.#shards.get(name);
    if (cells === undefined) {
      cells = new ShardCells(name);
      this.#shards.set(name, cells);
    }
    return cells;
  }

  /** Takes a shard that no longer exists out of the next scrape; sums over all shards keep what it counted. */
  dropShard(name: string): void {
    this.held.expired += this.#shards.get(name)?.expired ?? 0;
    this.#shards.delete(name);
  }

  /** Every shard's cells, in the order in which they were first asked for. */
  shards(): Iterable<ShardCells> {
    return this.#shards.values();
  }
}

/** The clients' edge. */
export class ClientCells {
  /** Gauge: clients connected now. */
  connected = 0;
  accepted = 0;
  /** Turned away at the door: too many clients, or a failed TLS handshake. */
  refused = 0;
  /** Bytes read from clients. */
  bytesIn = 0;
  /** Bytes written to clients. */
  bytesOut = 0;
  /** Gauge: bytes of replies that clients have not read yet. */
  unreadBytes = 0;
  /** Gauge: clients whose commands are not read while they do not read their replies. */
  paused = 0;
}

/** Why connections of clients ended; one field per reason. */
export class ClosedCells {
  /** The client closed, or its connection broke. */
  byClient = 0;
  /** The client asked for it: QUIT. */
  quit = 0;
  /** CLIENT KILL. */
  killed = 0;
  /** A malformed frame. */
  protocolError = 0;
  /** Too many replies unread: the reader was too slow. */
  slowReader = 0;
  /** The worker was drained. */
  drained = 0;
}

/** Commands by what was done with them. */
export class CommandCells {
  /** Forwarded to one shard, plainly a read. */
  read = 0;
  /** Forwarded to one shard, a write or not known to be a read. */
  write = 0;
  /** Sent to several shards, the replies merged. */
  split = 0;
  /** Answered by the proxy itself. */
  local = 0;
  /** Refused by the proxy: not allowed, malformed, or a bound was reached. */
  refused = 0;
  /** Sent on a connection lent to one client. */
  exclusive = 0;
}

/** Error replies made by the proxy, by their first word. */
export class ErrorCells {
  readonly #counts = new Map<string, number>();

  /** Counts an error reply by its first word (`CLUSTERDOWN`, `ERR`, …); past 64 words the rest counts as `other`. */
  count(word: string): void {
    const known = this.#counts.get(word);
    if (known === undefined && this.#counts.size >= MOST_WORDS)
      this.#counts.set(OTHER, (this.#counts.get(OTHER) ?? 0) + 1);
    else this.#counts.set(word, (known ?? 0) + 1);
  }

  /** First word and how often. */
  entries(): Iterable<[string, number]> {
    return this.#counts.entries();
  }
}

/** First words come from nodes too, so their number is bounded: each one is a time series. */
const MOST_WORDS = 64;
const OTHER = 'other';

/** One number per bound: how often it was reached, or how high it is. */
export class BoundCells {
  clients = 0;
  heldBytes = 0;
  unreadBytes = 0;
  laneQueue = 0;
  exclusive = 0;
}

/** What is kept for later. */
export class HeldCells {
  /** Gauge: bytes of commands that the proxy holds, from whatever cause. */
  bytes = 0;
  /** Gauge: commands that wait for a primary. */
  commands = 0;
  /** Commands whose wait for a primary ended with an error, of shards that no longer exist. */
  expired = 0;
}

/** What the worker knows of the cluster. */
export class TopologyCells {
  /** Gauge: version of the topology in use; 0 before the first. */
  version = 0;
  /** Gauge: 1 while a supervisor's feed is connected. */
  feedConnected = 0;
}

/** Keys on the move between shards. */
export class MovingCells {
  /** Keys that this worker has pulled to their new shard. */
  pulled = 0;
  /** Keys that clients of this worker needed, and that somebody else had pulled. */
  there = 0;
  /** Steps of a pull that failed: it was begun anew, or given up. */
  failed = 0;
  /** Gauge: clients, and commands that were queued elsewhere, that wait for keys on the move. */
  waiting = 0;
  /** From the wish for a key until it was there. */
  readonly pullTime = new LatencyHistogram();
}

/** From a command's arrival to its reply, of the commands that were sampled. */
export class LatencyCells {
  readonly read = new LatencyHistogram();
  readonly write = new LatencyHistogram();
}

/** One shard as this worker sees it. */
export class ShardCells {
  readonly name: string;
  /** Gauge: 1 while the worker is logged in to the shard's primary. */
  up = 0;
  /** Gauge: shared lanes open. */
  lanes = 0;
  /** Gauge: connections lent to single clients. */
  exclusive = 0;
  /** Gauge: commands sent and not answered. */
  inFlight = 0;
  /** Gauge: commands accepted and not sent. */
  queued = 0;
  /** Commands sent to the shard. */
  commands = 0;
  /** Bytes written to the shard's nodes. */
  bytesOut = 0;
  /** Bytes read from the shard's nodes. */
  bytesIn = 0;
  /** Connections made again after one was lost. */
  reconnects = 0;
  /** Connections given up because a node left a command unanswered too long. */
  timeouts = 0;
  /** Commands, or a split command's parts, whose wait for the shard's primary ended with an error. */
  expired = 0;
  /** Barriers sent: askings whether every copy has what was written. */
  barriers = 0;
  /** Gauge: answers that wait to be confirmed by every copy. */
  kept = 0;
  /** How long answers waited to be confirmed; of each batch the one that waited longest. */
  readonly keptTime = new LatencyHistogram();
  /** Writes answered `-UNCERTAIN`: not confirmed in time, or lost with their primary. */
  uncertain = 0;
  /** Writes sent to a new primary that was proven not to have them. */
  resent = 0;
  /** Writes lost with their primary's connection that the new primary was proven to have. */
  survived = 0;
  /** Gauge: replicas that must confirm a write. */
  required = 0;
  /** Gauge: epoch of the shard's connections. */
  epoch = 0;

  constructor(name: string) {
    this.name = name;
  }
}
