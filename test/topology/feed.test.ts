/** The receiving end of the topology, against a real HTTP server that behaves in every way a supervisor may. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Random } from '../../src/base/random.ts';
import { EventStream } from '../../src/topology/event-stream.ts';
import { type FeedEvent, type FeedOptions, TopologyFeed } from '../../src/topology/feed.ts';
import type { Topology } from '../../src/topology/snapshot.ts';
import { HANG_MS } from '../support/patience.ts';
import { exampleTopology } from './example.ts';

/** A supervisor's feed in the hands of a test. */
class Supervisor {
  readonly requests: IncomingMessage[] = [];
  readonly streams: ServerResponse[] = [];
  readonly #server: Server;
  answer: (response: ServerResponse) => void = response => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(': hello\n\n');
  };

  private constructor() {
    this.#server = createServer((request, response) => {
      this.requests.push(request);
      this.streams.push(response);
      this.answer(response);
    });
  }

  static async start(): Promise<Supervisor> {
    const supervisor = new Supervisor();
    supervisor.#server.listen(0, '127.0.0.1');
    await once(supervisor.#server, 'listening');
    return supervisor;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  send(topology: unknown): void {
    this.streams.at(-1)?.write(`event: topology\ndata: ${JSON.stringify(topology)}\n\n`);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

let supervisor: Supervisor;
let others: Supervisor[] = [];
let feed: TopologyFeed | null = null;
let taken: Topology[] = [];
let events: FeedEvent[] = [];

beforeEach(async () => {
  supervisor = await Supervisor.start();
  others = [];
  taken = [];
  events = [];
});

afterEach(async () => {
  feed?.close();
  feed = null;
  for (const server of [supervisor, ...others]) await server.stop().catch(() => undefined);
});

function begin(options: Partial<FeedOptions> = {}): TopologyFeed {
  feed = new TopologyFeed({
    peers: [supervisor.url],
    token: 'the token',
    cluster: 'shop',
    knownVersion: 0,
    random: new Random(1),
    onTopology: topology => taken.push(topology),
    onEvent: event => events.push(event),
    backoff: { baseMs: 5, capMs: 20 },
    ...options,
  });
  feed.start();
  return feed;
}

async function until(isTrue: () => boolean): Promise<void> {
  for (let waitedMs = 0; waitedMs < HANG_MS; waitedMs += 5) {
    if (isTrue()) return;
    await new Promise(resolve => setTimeout(resolve, 5));
  }
  throw new Error(`never: ${isTrue}; events: ${JSON.stringify(events)}`);
}

const versions = () => taken.map(topology => topology.version);
const kinds = () => events.map(event => event.kind);

describe('a stream', () => {
  test('is asked for with the token, and each higher version is passed on whole', async () => {
    const watched = begin();
    await until(() => watched.isConnected);
    expect(supervisor.requests[0]).toMatchObject({ method: 'GET', url: '/v1/topology/feed' });
    expect(supervisor.requests[0]?.headers.authorization).toBe('Bearer the token');
    supervisor.send(exampleTopology(3));
    supervisor.send(exampleTopology(4));
    await until(() => taken.length === 2);
    expect(taken).toEqual([exampleTopology(3), exampleTopology(4)]);
    expect(watched.version).toBe(4);
    expect(kinds()).toEqual(['connected']);
  });

  test('may bring the version that is known without a word, and an older one is told and not taken', async () => {
    const watched = begin({ knownVersion: 5 });
    await until(() => watched.isConnected);
    for (const version of [5, 4, 6]) supervisor.send(exampleTopology(version));
    await until(() => taken.length === 1);
    expect(versions()).toEqual([6]);
    expect(events.slice(1)).toEqual([
      {
        kind: 'ignored',
        peer: supervisor.url,
        reason: expect.stringMatching(/^it offers version 4, version 5 is known; .*delete last-topology\.json/),
      },
    ]);
  });

  test('with the topology of another cluster, a contradiction or no JSON is told and goes on', async () => {
    const watched = begin();
    await until(() => watched.isConnected);
    supervisor.send({ ...exampleTopology(1), cluster: 'cache' });
    supervisor.send({ ...exampleTopology(2), nodes: [] });
    supervisor.streams[0]?.write('event: topology\ndata: {"cluster"\n\n');
    supervisor.streams[0]?.write('event: gossip\ndata: whatever\n\n');
    supervisor.send(exampleTopology(3));
    await until(() => taken.length === 1);
    expect(versions()).toEqual([3]);
    const reasons = events.flatMap(event => (event.kind === 'ignored' ? [event.reason] : []));
    expect(reasons).toEqual([
      'it is of the cluster cache, not shop',
      expect.stringContaining('malformed: nodes'),
      expect.stringContaining('JSON'),
    ]);
  });

  test('may arrive in single bytes, with names of any alphabet', async () => {
    const watched = begin();
    await until(() => watched.isConnected);
    const topology = {
      ...exampleTopology(1),
      nodes: exampleTopology(1).nodes.map(node => ({ ...node, zone: 'Zürich–東京' })),
    };
    const bytes = Buffer.from(`event: topology\r\ndata: ${JSON.stringify(topology)}\r\n\r\n`);
    for (const byte of bytes) supervisor.streams[0]?.write(Buffer.of(byte));
    await until(() => taken.length === 1);
    expect(taken[0]).toEqual(topology);
  });
});

describe('trouble', () => {
  test('a stream that ends is taken up again, and what is known stays known', async () => {
    const watched = begin();
    await until(() => watched.isConnected);
    supervisor.send(exampleTopology(1));
    await until(() => taken.length === 1);
    supervisor.streams[0]?.destroy();
    await until(() => supervisor.streams.length === 2 && watched.isConnected);
    supervisor.send(exampleTopology(1));
    supervisor.send(exampleTopology(2));
    await until(() => taken.length === 2);
    expect(versions()).toEqual([1, 2]);
    expect(kinds()).toEqual(['connected', 'lost', 'connected']);
  });

  test('a peer that is not there is told once, and costs the others nothing', async () => {
    const gone = await Supervisor.start();
    const goneUrl = gone.url;
    await gone.stop();
    const watched = begin({ peers: [goneUrl, supervisor.url] });
    await until(() => watched.isConnected);
    expect(watched.connectedPeers).toEqual([supervisor.url]);
    await new Promise(resolve => setTimeout(resolve, 100));
    expect(events.filter(({ kind }) => kind === 'refused')).toEqual([
      { kind: 'refused', peer: goneUrl, reason: expect.stringContaining('ECONNREFUSED') },
    ]);
    expect(events.filter(({ kind }) => kind === 'connected')).toEqual([{ kind: 'connected', peer: supervisor.url }]);
  });

  test('the newest is taken, whichever supervisor has it, and one that lags behind is no news', async () => {
    const second = await Supervisor.start();
    others.push(second);
    const from: string[] = [];
    const watched = begin({
      peers: [supervisor.url, second.url],
      onTopology: (topology, peer) => {
        taken.push(topology);
        from.push(peer);
      },
    });
    await until(() => watched.connectedPeers.length === 2);
    supervisor.send(exampleTopology(3));
    await until(() => taken.length === 1);
    second.send(exampleTopology(1));
    second.send(exampleTopology(3));
    second.send(exampleTopology(4));
    await until(() => taken.length === 2);
    expect(versions()).toEqual([3, 4]);
    expect(from).toEqual([supervisor.url, second.url]);
    expect(kinds()).toEqual(['connected', 'connected']);
  });

  test('one that is cut off without a word keeps nobody from hearing the others', async () => {
    const second = await Supervisor.start();
    others.push(second);
    const watched = begin({ peers: [supervisor.url, second.url], silenceMs: 2 * HANG_MS });
    await until(() => watched.connectedPeers.length === 2);
    supervisor.send(exampleTopology(1));
    await until(() => taken.length === 1);
    // From here on the first says nothing, and nothing tells that it is gone.
    second.send(exampleTopology(2));
    await until(() => taken.length === 2);
  });

  test('when a supervisor dies the others feed on', async () => {
    const second = await Supervisor.start();
    others.push(second);
    const watched = begin({ peers: [supervisor.url, second.url] });
    await until(() => watched.connectedPeers.length === 2);
    supervisor.send(exampleTopology(1));
    await until(() => taken.length === 1);
    await supervisor.stop();
    await until(() => watched.connectedPeers.length === 1);
    second.send(exampleTopology(2));
    await until(() => taken.length === 2);
    expect(versions()).toEqual([1, 2]);
    expect(watched.isConnected).toBe(true);
  });

  test('a wrong token is told in words that help', async () => {
    supervisor.answer = response => response.writeHead(401).end();
    begin();
    await until(() => events.length > 0);
    expect(events[0]).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('cluster and secret must be the same'),
    });
  });

  test('an answer of another kind is told with its status', async () => {
    supervisor.answer = response => response.writeHead(503).end('not now');
    begin();
    await until(() => events.length > 0);
    expect(events[0]).toMatchObject({ kind: 'refused', reason: 'it answers HTTP status 503' });
  });

  test('a supervisor that accepts and never answers is given up', async () => {
    supervisor.answer = () => undefined;
    begin({ silenceMs: 50 });
    await until(() => supervisor.requests.length >= 2);
    expect(events[0]).toMatchObject({ kind: 'refused', reason: 'nothing came for 50 ms' });
  });

  test('a stream on which nothing comes is given up, one with heartbeats is not', async () => {
    const watched = begin({ silenceMs: 2000 });
    await until(() => watched.isConnected);
    for (let beat = 0; beat < 12; beat += 1) {
      await new Promise(resolve => setTimeout(resolve, 200));
      supervisor.streams[0]?.write(': heartbeat\n\n');
    }
    expect(kinds()).toEqual(['connected']);
    await until(() => events.length >= 2);
    expect(events[1]).toMatchObject({ kind: 'lost', reason: 'nothing came for 2000 ms' });
    await until(() => watched.isConnected);
  });

  test('pauses grow while every peer refuses', async () => {
    supervisor.answer = response => response.writeHead(503).end();
    begin({ backoff: { baseMs: 20, capMs: 100_000 }, random: new Random(3) });
    await until(() => supervisor.requests.length > 1);
    await new Promise(resolve => setTimeout(resolve, 600));
    // Doubling from 20 ms, drawn from [0, that): some ten tries at the most, and not hundreds.
    expect(supervisor.requests.length).toBeLessThan(20);
  });

  test('after close nothing is tried or called any more', async () => {
    const watched = begin();
    await until(() => watched.isConnected);
    watched.close();
    const before = events.length;
    await until(() => supervisor.streams[0]?.destroyed === true);
    await new Promise(resolve => setTimeout(resolve, 100));
    expect(events.length).toBe(before);
    expect(supervisor.requests.length).toBe(1);
    expect(watched.isConnected).toBe(false);
  });

  test('a close from within a callback is obeyed', async () => {
    supervisor.answer = response => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const version of [1, 2, 3]) {
        response.write(`event: topology\ndata: ${JSON.stringify(exampleTopology(version))}\n\n`);
      }
    };
    begin({
      onTopology: topology => {
        taken.push(topology);
        feed?.close();
      },
    });
    await until(() => taken.length > 0);
    await new Promise(resolve => setTimeout(resolve, 50));
    expect(versions()).toEqual([1]);
  });
});

describe('event stream', () => {
  function read(pieces: string[], maxLength = 1000): { events: [string, string][]; fits: boolean } {
    const seen: [string, string][] = [];
    const stream = new EventStream(maxLength, (name, data) => seen.push([name, data]));
    return { fits: pieces.map(piece => stream.push(piece)).every(Boolean), events: seen };
  }

  test('joins lines of data, drops comments and fields of no interest, and names what has no name', () => {
    const text =
      ': comment\nid: 7\nretry: 5\nevent: news\ndata: one\ndata:two\ndata\n\ndata: three\n\nevent: empty\n\n';
    expect(read([text]).events).toEqual([
      ['news', 'one\ntwo\n'],
      ['message', 'three'],
    ]);
  });

  test('is the same wherever it is cut', () => {
    const text = 'event: news\r\ndata: one\r\n\r\n: comment\ndata: {"a": "b: c"}\n\n';
    for (let cut = 0; cut <= text.length; cut += 1) {
      expect(read([text.slice(0, cut), text.slice(cut)]).events).toEqual([
        ['news', 'one'],
        ['message', '{"a": "b: c"}'],
      ]);
    }
  });

  test('gives up an event that is too long, in one line or in many', () => {
    expect(read([`data: ${'x'.repeat(1000)}`]).fits).toBe(false);
    expect(read(Array.from({ length: 200 }, () => 'data: 0123456789\n')).fits).toBe(false);
    expect(read(Array.from({ length: 200 }, () => 'data: 0123456789\n\n')).fits).toBe(true);
  });
});
