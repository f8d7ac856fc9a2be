/**
 * How a follower gets the leader's answer, to give it to whoever asked the wrong supervisor.
 */
const LIMIT_MS = 1000;
/** Set on what a follower asks, so that two who each take the other for the leader do not ask each other for ever. */
export const FORWARDED = 'x-ringside-forwarded';

/** The JSON that the leader answers; null: it does not answer in time, or not with success. Never rejects. */
export async function askLeader(url: string, path: string, token: string): Promise<unknown> {
  try {
    const response = await fetch(url + path, {
      headers: { authorization: `Bearer ${token}`, [FORWARDED]: '1' },
      signal: AbortSignal.timeout(LIMIT_MS),
      redirect: 'error',
    });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}
