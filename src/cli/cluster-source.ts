/**
 * Where a command gets its knowledge of a cluster: the settings file it was given, or a supervisor.
 */
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { feedToken } from '../topology/credentials.ts';
import { CommandFailure, NOT_NOW, USAGE } from './failure.ts';
import { requireSettingsFile } from './settings-file.ts';

const ANSWER_LIMIT_MS = 2000;
/** From a follower to the leader, and once more when the leader changes meanwhile. */
const LEADER_HOPS = 2;

/** Supervisors in the order in which they are asked. */
export interface ClusterSource {
  /** Base URLs, without a path. Never empty. */
  readonly urls: readonly string[];
  /** What proves that the command may read; null where only a URL was given. */
  readonly token: string | null;
  /** Null where only a URL was given. */
  readonly config: Config | null;
}

/** Takes a file's name or a URL. */
export function clusterSource(fileOrUrl: string): ClusterSource {
  if (/^https?:/i.test(fileOrUrl)) return { urls: [baseUrl(fileOrUrl)], token: null, config: null };
  requireSettingsFile(fileOrUrl);
  const config = loadConfig(fileOrUrl);
  return { urls: config.supervisor.peers, token: feedToken(config.secret, config.cluster), config };
}

/** The first answer that a supervisor gives, and whose it is. Throws with what each of them said when none did. */
export async function askSupervisors(source: ClusterSource, path: string): Promise<{ url: string; body: unknown }> {
  const problems: string[] = [];
  for (const url of source.urls) {
    try {
      return { url, body: await getJson(url + path, source.token) };
    } catch (error) {
      problems.push(`${url}: ${reason(error)}`);
    }
  }
  throw new CommandFailure(
    `no supervisor answers (${problems.join('; ')}): is one running, and is this its address?`,
    NOT_NOW,
  );
}

/**
 * Gives an order to the supervisor that leads, whichever of them is asked first, and resolves to what it says.
 *
 * Throws `CommandFailure`: for a wrong order at once, for one that cannot be carried out now after all were asked.
 */
export async function orderSupervisors(source: ClusterSource, path: string, body: unknown): Promise<string> {
  const answer = (await askLeader(source, path, body, { answerMs: ANSWER_LIMIT_MS, patienceMs: 0 })) as {
    text?: string;
  };
  return answer.text ?? 'accepted';
}

export interface Patience {
  /** How long a supervisor may take for its answer. */
  readonly answerMs: number;
  /** For so long nobody may lead, as between two terms; then it has failed. */
  readonly patienceMs: number;
}

/** As `orderSupervisors`; resolves to all of the leader's answer. */
export async function askLeader(
  source: ClusterSource,
  path: string,
  body: unknown,
  { answerMs, patienceMs }: Patience,
): Promise<unknown> {
  const endMs = performance.now() + patienceMs;
  for (;;) {
    const problems: string[] = [];
    for (const url of source.urls) {
      try {
        return await postOrder(url + path, source.token, body, answerMs);
      } catch (error) {
        if (error instanceof CommandFailure) throw error;
        problems.push(`${url}: ${reason(error, answerMs)}`);
      }
    }
    if (performance.now() >= endMs)
      throw new CommandFailure(`no supervisor takes the order (${problems.join('; ')})`, NOT_NOW);
    await new Promise(resolve => setTimeout(resolve, ASK_AGAIN_MS));
  }
}

const ASK_AGAIN_MS = 200;

/** Throws `CommandFailure` when asking another supervisor, or asking again, would not help. */
async function postOrder(url: string, token: string | null, body: unknown, answerMs: number): Promise<unknown> {
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (token !== null) headers['authorization'] = `Bearer ${token}`;
  let response: Response;
  let at = url;
  for (let hops = 0; ; hops += 1) {
    const limit = AbortSignal.timeout(answerMs);
    response = await fetch(at, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
      redirect: 'manual',
      signal: limit,
    });
    const location = response.headers.get('location');
    if (response.status !== 307 || location === null || hops === LEADER_HOPS) break;
    // By hand: the client would leave the token out on its way to another address.
    at = new URL(location, at).href;
  }
  const answer = (await response.json().catch(() => ({}))) as { error?: string };
  if (response.ok) return answer;
  const said = answer.error ?? `it answered ${response.status}`;
  if (response.status === 401) {
    throw new CommandFailure('an order needs the token of the cluster: give --config FILE with its secret', USAGE);
  }
  if (response.status === 400 || response.status === 404) throw new CommandFailure(said, USAGE);
  if (response.status === 409) throw new CommandFailure(said, NOT_NOW);
  throw new Error(said);
}

async function getJson(url: string, token: string | null): Promise<unknown> {
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(ANSWER_LIMIT_MS) });
  if (response.status === 401) throw new Error('it wants the token of the cluster: give --config FILE with its secret');
  if (!response.ok) throw new Error(`it answered ${response.status}`);
  return response.json();
}

function reason(error: unknown, answerMs: number = ANSWER_LIMIT_MS): string {
  const { name, message, cause } = error as Error;
  if (name === 'TimeoutError') return `no answer within ${answerMs / 1000} s`;
  if (name === 'SyntaxError') return 'its answer is not JSON';
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ECONNREFUSED' ? 'connection refused' : (code ?? message);
}

function baseUrl(text: string): string {
  try {
    return new URL(text).origin;
  } catch {
    throw new CommandFailure(`${text} is no URL: write it as http://HOST:PORT`, USAGE);
  }
}
