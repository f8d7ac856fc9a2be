/**
 * What all workers say, said as one proxy.
 */
import { mergeSamples, type Samples } from '../telemetry/samples.ts';
import { ringsideVersion } from '../telemetry/version.ts';
import type { Gathered, Readiness } from './worker-protocol.ts';

/** A yes or no, and what is shown with it. */
export interface Verdict {
  readonly ok: boolean;
  readonly detail: object;
}

/** Alive: every worker that serves answers at all. */
export function health({ workers }: Gathered): Verdict {
  const silent = workers.filter(worker => worker.body === null).map(worker => worker.pid);
  if (silent.length === 0) return { ok: true, detail: { healthy: true } };
  return { ok: false, detail: { healthy: false, silentWorkers: silent } };
}

/** Ready: every worker is logged in to the primary of every shard. */
export function readiness({ workers, parent }: Gathered): Verdict {
  const waitingFor = new Set<string>(parent.isStarted ? [] : ['workers']);
  let ok = parent.isStarted && workers.length > 0;
  for (const worker of workers) {
    const answer = worker.body as Readiness | null;
    if (answer?.ok) continue;
    ok = false;
    for (const name of answer?.waitingFor ?? [`worker ${worker.pid}`]) waitingFor.add(name);
  }
  return { ok, detail: { ready: ok, waitingFor: [...waitingFor] } };
}

/** Each worker's own account, and the process that holds them. */
export function statusOf({ workers, parent }: Gathered): object {
  return {
    version: ringsideVersion(),
    pid: parent.pid,
    uptimeSeconds: Math.round(parent.uptimeSeconds),
    workers: workers.map(({ pid, state, body }) => ({ pid, state, ...(body ?? { silent: true }) })),
  };
}

/** The numbers of all workers, of the parent, and of workers that ended. */
export function samplesOf({ workers, parent }: Gathered): Samples {
  const parts = workers.flatMap(worker => (worker.body === null ? [] : [worker.body as Samples]));
  return mergeSamples([...parts, parent.samples]);
}
