/**
 * Rows of text as columns, for people.
 */

/** Every cell padded to its column's width, two spaces between columns; the first row is the heading. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, width(cell));
    });
  }
  const lines = rows.map(row =>
    row
      .map((cell, i) => cell + ' '.repeat((widths[i] as number) - width(cell)))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

/** Characters, not UTF-16 units. */
function width(cell: string): number {
  return [...cell].length;
}
