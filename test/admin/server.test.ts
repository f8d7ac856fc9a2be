import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAdminServer } from '../../src/admin/server.ts';
import type { Gathered, Question, WorkerAnswer } from '../../src/admin/worker-protocol.ts';
import { ProxyMetrics } from '../../src/telemetry/proxy-cells.ts';
import { takeSamples } from '../../src/telemetry/samples.ts';
import { readingOf } from '../telemetry/reading.ts';

let isStarted = true;
let answers: Partial<Record<Question, readonly WorkerAnswer[]>> = {};

const server = createAdminServer(async (question): Promise<Gathered> => {
  const workers = answers[question];
  if (workers === undefined) throw new Error('the parent process does not answer');
  return { workers, parent: { pid: 7, uptimeSeconds: 12.4, isStarted, samples: {} } };
});

let base = '';

beforeAll(async () => {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.close();
  server.closeAllConnections();
});

function serving(pid: number, body: unknown): WorkerAnswer {
  return { pid, state: 'serving', body };
}

async function get(path: string, init: RequestInit = {}): Promise<{ status: number; body: unknown }> {
  const response = await fetch(base + path, init);
  const text = await response.text();
  return { status: response.status, body: text === '' ? '' : JSON.parse(text) };
}

describe('/readyz', () => {
  it('is 200 when every worker is logged in to every shard', async () => {
    answers = { ready: [serving(1, { ok: true, waitingFor: [] }), serving(2, { ok: true, waitingFor: [] })] };
    expect(await get('/readyz')).toEqual({ status: 200, body: { ready: true, waitingFor: [] } });
  });

  it('is 503 with what is missing, each named once', async () => {
    answers = {
      ready: [serving(1, { ok: false, waitingFor: ['s2'] }), serving(2, { ok: false, waitingFor: ['s2', 's3'] })],
    };
    expect(await get('/readyz')).toEqual({ status: 503, body: { ready: false, waitingFor: ['s2', 's3'] } });
  });

  it('is 503 when a worker is silent, or when none serves', async () => {
    answers = { ready: [serving(1, { ok: true, waitingFor: [] }), serving(2, null)] };
    expect(await get('/readyz')).toEqual({ status: 503, body: { ready: false, waitingFor: ['worker 2'] } });
    answers = { ready: [] };
    expect((await get('/readyz')).status).toBe(503);
  });
});

describe('/readyz at the start', () => {
  it('is 503 until all workers serve', async () => {
    isStarted = false;
    answers = { ready: [serving(1, { ok: true, waitingFor: [] })] };
    expect(await get('/readyz')).toEqual({ status: 503, body: { ready: false, waitingFor: ['workers'] } });
    isStarted = true;
  });
});

describe('/healthz', () => {
  it('is 200 while the workers answer, ready or not', async () => {
    answers = { ready: [serving(1, { ok: false, waitingFor: ['s2'] })] };
    expect((await get('/healthz')).status).toBe(200);
  });

  it('is 503 with the workers that do not answer', async () => {
    answers = { ready: [serving(1, null), serving(2, { ok: true, waitingFor: [] })] };
    expect(await get('/healthz')).toEqual({ status: 503, body: { healthy: false, silentWorkers: [1] } });
  });
});

describe('/status', () => {
  it('shows each worker, and says which one is silent', async () => {
    answers = { status: [serving(1, { clients: 3 }), { pid: 2, state: 'draining', body: null }] };
    const { status, body } = await get('/status');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      pid: 7,
      uptimeSeconds: 12,
      workers: [
        { pid: 1, state: 'serving', clients: 3 },
        { pid: 2, state: 'draining', silent: true },
      ],
    });
  });
});

describe('/metrics', () => {
  it('is the sum of the workers in the format of Prometheus', async () => {
    const [one, two] = [new ProxyMetrics(), new ProxyMetrics()];
    one.clients.connected = 2;
    two.clients.connected = 5;
    const samplesOf = (proxy: ProxyMetrics) => takeSamples({ proxy, process: readingOf(), version: '1.2.3' });
    answers = { samples: [serving(1, samplesOf(one)), serving(2, samplesOf(two)), serving(3, null)] };
    const response = await fetch(`${base}/metrics`);
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    expect((await response.text()).split('\n')).toContain('ringside_clients_connected 7');
  });
});

describe('the admin endpoint', () => {
  it('names its pages to who asks for another', async () => {
    const { status, body } = await get('/');
    expect(status).toBe(404);
    expect(JSON.stringify(body)).toContain('/healthz, /readyz, /status, /metrics');
    expect((await get('/constructor')).status).toBe(404);
  });

  it('takes a query string, answers HEAD without a body, and nothing but reading', async () => {
    answers = { ready: [serving(1, { ok: true, waitingFor: [] })] };
    expect((await get('/readyz?verbose')).status).toBe(200);
    expect(await get('/readyz', { method: 'HEAD' })).toEqual({ status: 200, body: '' });
    const refused = await fetch(`${base}/readyz`, { method: 'POST' });
    expect(refused.status).toBe(405);
    expect(refused.headers.get('allow')).toBe('GET, HEAD');
  });

  it('says why it cannot answer when the parent is silent', async () => {
    answers = {};
    expect(await get('/status')).toEqual({ status: 500, body: { error: 'the parent process does not answer' } });
  });
});
