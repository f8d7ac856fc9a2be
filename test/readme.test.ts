import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { withGenerated } from '../src/config/generated-part.ts';
import { settingsReference } from '../src/config/reference.ts';
import { supervisorMetricsReference } from '../src/supervisor/metrics.ts';
import { metricsReference } from '../src/telemetry/metrics.ts';

/** What the README lists is what there is. To write the generated parts anew: npm run generate. */
const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8');

describe('README', () => {
  test('has the reference of the settings as the schema makes it', () => {
    expect(withGenerated(readme, 'reference', settingsReference())).toBe(readme);
  });

  test('has the reference of the metrics as their table makes it', () => {
    expect(withGenerated(readme, 'metrics', metricsReference())).toBe(readme);
  });

  test("has the reference of the supervisor's metrics as their table makes it", () => {
    expect(withGenerated(readme, 'supervisor metrics', supervisorMetricsReference())).toBe(readme);
  });

  test('names nothing of a place that only its authors know', () => {
    expect(readme).not.toMatch(/\/(work|tmp)\//);
  });
});
