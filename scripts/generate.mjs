/**
 * `npm run generate`: writes anew what is made from the schema of the settings and kept in the repository: the sample
 * file, the JSON Schema for editors, and the reference in README.md. Tests compare them with the schema.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ensureBuilt } from './build.mjs';
import { ensureNodeVersion, ensureNpmPackages, root, runScript, say } from './setup.mjs';

await runScript(async () => {
  ensureNodeVersion();
  await ensureNpmPackages();
  await ensureBuilt();
  const { sampleSettings } = await import('../dist/config/sample.js');
  const { editorSchema } = await import('../dist/config/json-schema.js');
  const { settingsReference } = await import('../dist/config/reference.js');
  write('config/ringside.yaml', sampleSettings());
  write('config/ringside.schema.json', `${JSON.stringify(editorSchema(), null, 2)}\n`);
  const { metricsReference } = await import('../dist/telemetry/metrics.js');
  const { withGenerated } = await import('../dist/config/generated-part.js');
  const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
  const withSettings = withGenerated(readme, 'reference', settingsReference());
  write('README.md', withGenerated(withSettings, 'metrics', metricsReference()));
});

function write(name, text) {
  writeFileSync(path.join(root, name), text);
  say(`wrote ${name}`);
}
