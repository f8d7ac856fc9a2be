/**
 * `ringside check`: is a settings file right, and what does it make?
 */
import { connectionBudget } from '../config/budget.ts';
import type { Config, ListenAddress, ReadRule, StoreConfig, WriteRule } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { durationText } from '../config/scalars.ts';
import { settingWarnings } from '../config/warnings.ts';
import { tellFailure, USAGE } from './failure.ts';
import { unknownCommandWarnings } from './unknown-commands.ts';

export async function check(file: string, options: { json?: boolean }): Promise<number> {
  let config: Config;
  try {
    config = loadConfig(file);
  } catch (error) {
    if (options.json !== true || (error as Error).name !== 'ConfigError') return tellFailure(error);
    const { mistakes } = error as Error & { mistakes: readonly string[] };
    process.stdout.write(`${JSON.stringify({ file, ok: false, mistakes })}\n`);
    return USAGE;
  }
  process.stdout.write(
    options.json === true ? `${JSON.stringify(summary(file, config))}\n` : summaryText(file, config),
  );
  return 0;
}

function summary(file: string, config: Config): object {
  const { perProxy, proxies, warning } = connectionBudget(config);
  return {
    file,
    ok: true,
    cluster: config.cluster,
    nodes: config.nodes.length,
    shards: config.shards.map(({ name, weight, nodes }) => ({ name, weight, nodes })),
    spares: sparesOf(config),
    ring: config.ring,
    listen: config.proxy.listen.map(addressText),
    connections: { perProxyAndNode: perProxy, proxies, warning },
    writes: config.writes,
    reads: config.reads,
    rules: config.rules,
    store: storeText(config.supervisor.store),
    warnings: warningsOf(config),
  };
}

function summaryText(file: string, config: Config): string {
  const { ring } = config;
  const { text, warning } = connectionBudget(config);
  const copies = config.shards.reduce((sum, shard) => sum + shard.nodes.length, 0);
  const points = ring.kind === 'murmur3' ? `${ring.vnodes} tokens per unit of weight` : ring.distribution;
  const lines = [
    `${file}: ok`,
    `cluster      ${config.cluster}: ${config.nodes.length} nodes, ${copies} in shards, ${sparesOf(config).length} spare`,
    ...config.shards.map(({ name, weight, nodes }) => `shard        ${name} (weight ${weight}): ${nodes.join(', ')}`),
    `ring         ${ring.kind === 'murmur3' ? 'murmur3' : `as twemproxy's, ${ring.hash}`}, ${points}`,
    `proxy        ${config.proxy.listen.map(addressText).join(', ')}`,
    `writes       ${writesText(config.writes)}`,
    `reads        ${readsText(config.reads)}`,
    ...config.rules.map(
      ({ match, writes, reads }) => `rule         ${match}: ${writesText(writes)}; ${readsText(reads)}`,
    ),
    `supervisor   ${config.supervisor.listen.host}:${config.supervisor.listen.port}, ${storeText(config.supervisor.store)}`,
    `connections  ${text}`,
  ];
  const warnings = [...(warning === null ? [] : [warning]), ...warningsOf(config)];
  for (const line of warnings) lines.push(`warning      ${line}`);
  return `${lines.join('\n')}\n`;
}

function warningsOf(config: Config): string[] {
  return [...settingWarnings(config), ...unknownCommandWarnings(config.proxy.deny)];
}

function writesText({ acknowledge, timeoutMs, minimumCopies }: WriteRule): string {
  const who =
    acknowledge === 'all'
      ? `acknowledged by all copies, within ${durationText(timeoutMs)}`
      : 'acknowledged by the primary alone';
  return minimumCopies === 1 ? who : `${who}, refused below ${minimumCopies} copies`;
}

function readsText({ from, strict }: ReadRule): string {
  if (strict) return 'read strictly';
  return { primary: 'read from the primary', any: 'read from any copy', zone: 'read from a copy in the zone' }[from];
}

function storeText(store: StoreConfig): string {
  return store.kind === 'file' ? `topology in ${store.directory}` : `topology in etcd at ${store.endpoints.join(', ')}`;
}

function sparesOf(config: Config): string[] {
  const members = new Set(config.shards.flatMap(shard => shard.nodes));
  return config.nodes.map(node => node.id).filter(id => !members.has(id));
}

function addressText(address: ListenAddress): string {
  return address.kind === 'unix' ? `unix:${address.path}` : `${address.host}:${address.port}`;
}
