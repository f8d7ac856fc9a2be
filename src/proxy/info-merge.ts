/**
 * Makes one INFO text of those of several primaries: sums where a number counts something, the worst where it is a
 * state, the first where it names something.
 *
 * Pure; the field names are those of Redis 7.0 (`genRedisInfoString` in server.c), and what is not known here is summed
 * when it is a number, else taken from the first.
 */

/** Fields by name in the order of the text; in Modules, whose lines repeat one name, whole lines. */
export type InfoSection = Map<string, string>;
/** Sections by their titles: "Server", "Clients", … */
export type InfoSections = Map<string, InfoSection>;

export function parseInfo(text: string): InfoSections {
  const sections: InfoSections = new Map();
  let section: InfoSection = new Map();
  let title = '';
  for (const line of text.split('\r\n')) {
    if (line.startsWith('# ')) {
      title = line.slice(2);
      section = sections.get(title) ?? new Map<string, string>();
      sections.set(title, section);
    } else if (line !== '') {
      const colon = title === MODULES ? -1 : line.indexOf(':');
      if (colon < 0) section.set(line, '');
      else section.set(line.slice(0, colon), line.slice(colon + 1));
    }
  }
  return sections;
}

/** The text of an INFO reply: sections apart by an empty line. */
export function formatInfo(sections: InfoSections): string {
  const texts = [...sections].map(([title, fields]) => {
    const lines = [...fields].map(([name, value]) => (title === MODULES ? name : `${name}:${value}`));
    return [`# ${title}`, ...lines, ''].join('\r\n');
  });
  return texts.join('\r\n');
}

export function mergeInfo(all: readonly InfoSections[]): InfoSections {
  const merged: InfoSections = new Map();
  for (const title of new Set(all.flatMap(sections => [...sections.keys()]))) {
    const parts = all.flatMap(sections => sections.get(title) ?? []);
    merged.set(title, mergeSection(title, parts));
  }
  return merged;
}

/** `key=value,…` as the fields of Keyspace, Commandstats and their kin have it. */
export function parsePairs(value: string): Map<string, number> {
  const pairs = value.split(',').map(pair => {
    const [name = '', number = '0'] = pair.split('=');
    return [name, Number(number)] as const;
  });
  return new Map(pairs);
}

/** As `bytesToHuman` in server.c. */
export function humanBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes}B`;
  let size = bytes;
  for (const unit of ['K', 'M', 'G', 'T']) {
    size /= 1024;
    if (size < 1024) return `${size.toFixed(2)}${unit}`;
  }
  return `${(size / 1024).toFixed(2)}P`;
}

function mergeSection(title: string, parts: readonly InfoSection[]): InfoSection {
  const [first = new Map<string, string>()] = parts;
  if (title === 'Server') return new Map(first);
  const merged: InfoSection = new Map();
  for (const name of new Set(parts.flatMap(part => [...part.keys()]))) {
    // The replicas behind the proxy are not for clients to talk to.
    if (REPLICA.test(name)) continue;
    const values = parts.flatMap(part => part.get(name) ?? []);
    merged.set(name, mergeField(title, name, values));
  }
  if (title === 'Memory') deriveMemory(merged);
  return title === 'Keyspace' ? sortedByNumber(merged) : merged;
}

function mergeField(title: string, name: string, values: readonly string[]): string {
  const [first = ''] = values;
  if (title === MODULES || values.length === 1) return first;
  if (title === 'Keyspace') return mergeKeyspace(values);
  if (title === 'Commandstats') return mergeCommand(values);
  if (title === 'Errorstats') return `count=${sumOf(values.map(parsePairs), 'count')}`;
  if (title === 'Latencystats') return mergePercentiles(values);
  if (name.endsWith('_status')) return values.find(value => value !== 'ok') ?? first;
  if (FIRST.has(name) || !values.every(value => NUMBER.test(value))) return first;
  const numbers = values.map(Number);
  const decimals = first.split('.')[1]?.length ?? 0;
  if (LARGEST.has(name)) return Math.max(...numbers).toFixed(decimals);
  if (SMALLEST.has(name)) return Math.min(...numbers).toFixed(decimals);
  return numbers.reduce((sum, number) => sum + number, 0).toFixed(decimals);
}

function sumOf(all: readonly ReadonlyMap<string, number>[], name: string): number {
  return all.reduce((sum, pairs) => sum + (pairs.get(name) ?? 0), 0);
}

/** The average of the times to live counts each shard by its keys that have one. */
function mergeKeyspace(values: readonly string[]): string {
  const all = values.map(parsePairs);
  const expires = sumOf(all, 'expires');
  const weighed = all.reduce((sum, one) => sum + (one.get('avg_ttl') ?? 0) * (one.get('expires') ?? 0), 0);
  return `keys=${sumOf(all, 'keys')},expires=${expires},avg_ttl=${expires === 0 ? 0 : Math.round(weighed / expires)}`;
}

function mergeCommand(values: readonly string[]): string {
  const all = values.map(parsePairs);
  const calls = sumOf(all, 'calls');
  const usec = sumOf(all, 'usec');
  const perCall = (calls === 0 ? 0 : usec / calls).toFixed(2);
  const rejected = sumOf(all, 'rejected_calls');
  return `calls=${calls},usec=${usec},usec_per_call=${perCall},rejected_calls=${rejected},failed_calls=${sumOf(all, 'failed_calls')}`;
}

/** Percentiles cannot be added up; the largest of each is a bound that holds for all. */
function mergePercentiles(values: readonly string[]): string {
  const all = values.map(parsePairs);
  const names = [...(all[0]?.keys() ?? [])];
  return names.map(name => `${name}=${Math.max(...all.map(one => one.get(name) ?? 0)).toFixed(3)}`).join(',');
}

/** What follows from other fields: ratios and the forms that people read. */
function deriveMemory(fields: InfoSection): void {
  const number = (name: string): number => Number(fields.get(name) ?? 0);
  for (const [name] of fields) {
    if (name.endsWith('_human')) fields.set(name, humanBytes(number(name.slice(0, -'_human'.length))));
  }
  const derive = (name: string, above: number, below: number, unit = ''): void => {
    if (fields.has(name)) fields.set(name, `${(below > 0 ? above / below : 0).toFixed(2)}${unit}`);
  };
  derive('used_memory_peak_perc', number('used_memory') * 100, number('used_memory_peak'), '%');
  const net = number('used_memory') - number('used_memory_startup');
  derive('used_memory_dataset_perc', number('used_memory_dataset') * 100, net, '%');
  derive('allocator_frag_ratio', number('allocator_active'), number('allocator_allocated'));
  derive('allocator_rss_ratio', number('allocator_resident'), number('allocator_active'));
  derive('rss_overhead_ratio', number('used_memory_rss'), number('allocator_resident'));
  derive('mem_fragmentation_ratio', number('used_memory_rss'), number('used_memory'));
}

/** db0, db1, … db10: by the number and not by the letters. */
function sortedByNumber(fields: InfoSection): InfoSection {
  const numberOf = (name: string): number => Number(name.slice(2));
  return new Map([...fields].sort(([a], [b]) => numberOf(a) - numberOf(b)));
}

const MODULES = 'Modules';
const NUMBER = /^-?\d{1,19}(?:\.\d+)?$/;
const REPLICA = /^slave\d+$/;

/** Numbers that name something. */
const FIRST: ReadonlySet<string> = new Set(['second_repl_offset', 'cluster_enabled', 'repl_backlog_first_byte_offset']);

/** States, moments and shares: one shard is enough; and what every shard has alike. */
const LARGEST: ReadonlySet<string> = new Set(
  [
    'loading async_loading current_cow_size_age current_fork_perc rdb_bgsave_in_progress rdb_last_bgsave_time_sec',
    'rdb_current_bgsave_time_sec aof_enabled aof_rewrite_in_progress aof_rewrite_scheduled aof_last_rewrite_time_sec',
    'aof_current_rewrite_time_sec aof_pending_rewrite module_fork_in_progress latest_fork_usec expired_stale_perc',
    'current_eviction_exceeded_time current_active_defrag_time active_defrag_running total_system_memory',
    'repl_backlog_active number_of_cached_scripts number_of_functions number_of_libraries',
    'pubsub_channels pubsub_patterns',
  ]
    .join(' ')
    .split(' '),
);

/** Everything written before that moment is saved on every shard. */
const SMALLEST: ReadonlySet<string> = new Set(['rdb_last_save_time']);
