import { describedSchema, type JsonSchema } from './json-schema.ts';

/**
 * The table of all settings, for the README: one row each, in the words of the schema.
 */
export function settingsReference(): string {
  const rows = settingRows(describedSchema(), '').map(
    ({ path, preset, values, description, live }) =>
      `| \`${path}\` | ${preset === null ? '' : `\`${preset}\``} | ${cell(values)} | ${live ? 'yes' : ''} | ${cell(description)} |`,
  );
  return ['| setting | default | values | live | what it does |', '|---|---|---|---|---|', ...rows, ''].join('\n');
}

interface SettingRow {
  /** As in `proxy.limits.clients`; `nodes[].id` is a key of each element of a list. */
  readonly path: string;
  /** The default as YAML; null: none. */
  readonly preset: string | null;
  readonly values: string;
  readonly description: string;
  readonly live: boolean;
}

function settingRows(schema: JsonSchema, path: string): SettingRow[] {
  const inner = [
    ...Object.entries(schema.properties ?? {}).flatMap(([key, value]) =>
      settingRows(value, path === '' ? key : `${path}.${key}`),
    ),
    ...(schema.items ? settingRows(schema.items, `${path}[]`) : []),
    ...(schema.anyOf ?? []).flatMap(form => settingRows(form, path)),
  ];
  if (schema.description === undefined) return inner;
  return [rowOf(schema, path), ...inner];
}

function rowOf(schema: JsonSchema, path: string): SettingRow {
  const isSection = schema.properties !== undefined || schema.anyOf !== undefined;
  return {
    path,
    preset: isSection || schema.default === undefined ? null : JSON.stringify(schema.default),
    values: schema.values ?? '',
    description: schema.description ?? '',
    live: schema.live === true,
  };
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
