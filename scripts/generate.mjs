/**
 * `npm run generate`: writes anew what is made from the schema of the settings and the tables of metrics, and kept in the
 * repository: the sample file, the JSON Schema for editors, and the references in README.md. Tests compare them.
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
  const { supervisorMetricsReference } = await import('../dist/supervisor/metrics.js');
  const parts = {
    reference: settingsReference(),
    metrics: metricsReference(),
    'supervisor metrics': supervisorMetricsReference(),
  };
  let readme = readFileSync(path.join(root, 'README.md'), 'utf8');
  for (const [name, text] of Object.entries(parts)) readme = withGenerated(readme, name, text);
  write('README.md', readme);
});

function write(name, text) {
  writeFileSync(path.join(root, name), text);
  say(`wrote ${name}`);
}
