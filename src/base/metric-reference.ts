/** A metric as the README's table shows it. */
interface Described {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly help: string;
}

/** The table of metrics for the README, in Markdown. */
export function referenceOf(metrics: readonly Described[]): string {
  const lines = ['| metric | type | labels | meaning |', '|---|---|---|---|'];
  for (const { name, type, labels, help } of metrics)
    lines.push(`| \`${name}\` | ${type} | ${labels.map(label => `\`${label}\``).join(', ')} | ${help} |`);
  return `${lines.join('\n')}\n`;
}
