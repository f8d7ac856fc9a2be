/**
 * Amounts as people read them.
 */
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** Three digits are enough to see it move. */
export function bytesText(count: number): string {
  const step = count < 1000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(count) / 3));
  return `${step === 0 ? Math.round(count) : (count / 1000 ** step).toFixed(1)} ${UNITS[step]}`;
}

/** Whole, with a comma at each thousand. */
export function countText(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

export function shareText(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** As in `45 s`, `3 min 20 s` or `2 h 5 min`. */
export function timeText(ms: number): string {
  const seconds = Math.max(1, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`;
  return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
