/**
 * Puts generated text into a document, between `<!-- name: begin -->` and `<!-- name: end -->`.
 */
export function withGenerated(document: string, name: string, text: string): string {
  const begin = `<!-- ${name}: begin -->`;
  const end = `<!-- ${name}: end -->`;
  const from = document.indexOf(begin);
  const to = document.indexOf(end);
  if (from < 0 || to < from) throw new Error(`the document has no part ${begin} … ${end}`);
  return `${document.slice(0, from + begin.length)}\n\n${text.trim()}\n\n${document.slice(to)}`;
}
