/**
 * `npm run generate`: writes anew what is made from the schema of the settings and kept in the repository: the sample
 * file, the JSON Schema for editors, and the reference in README.md. Tests compare them with the schema.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ensureBuilt } from './build.mjs';
import { ensureNodeVersion, ensureNpmPackages, root, runScript, say } from './setup.mjs';

/** The part of the README between its two marks. */
const MARKED = /(<!-- reference: begin -->)[\s\S]*(<!-- reference: end -->)/;

await runScript(async () => {
  ensureNodeVersion();
  await ensureNpmPackages();
  await ensureBuilt();
  const { sampleSettings } = await import('../dist/config/sample.js');
  const { editorSchema } = await import('../dist/config/json-schema.js');
  const { settingsReference } = await import('../dist/config/reference.js');
  write('config/ringside.yaml', sampleSettings());
  write('config/ringside.schema.json', `${JSON.stringify(editorSchema(), null, 2)}\n`);
  const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
  write('README.md', readme.replace(MARKED, (_, begin, end) => `${begin}\n${settingsReference()}\n${end}`));
});



function write(name, text) {
  writeFileSync(path.join(root, name), text);
  say(`wrote ${name}`);
}
