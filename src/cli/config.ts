// signet config check: every setting, its value, and where that came from. Problems are a ConfigError, told in run.ts.

import type { Command } from 'commander';
import { disabledDeclared } from '../clients/disabled.ts';
import { type ConfigProblem, configWarnings, formatProblem } from '../config/config.ts';
import { describeConfig, type SettingDescription } from '../config/describe.ts';
import { formatPath } from '../config/problems.ts';
import { formatDuration } from '../config/rules.ts';
import { listSettings } from '../config/settings.ts';
import { isObject } from '../config/sources.ts';
import type { CliSession } from './session.ts';
import { table } from './tables.ts';

export function configCommands(program: Command, session: CliSession): void {
  const config = program.command('config').description('the configuration: signet.yaml and SIGNET_* variables');

  config
    .command('check')
    .description('print every setting with its value and source, or list every problem')
    .action(async () => {
      const config = session.config();
      const described = describeConfig(config);
      const warnings = [...configWarnings(config), ...(await disabledDeclared(config))];
      const rows = described.flatMap(leaves).map(({ path, value, source }) => [path, shown(path, value), source]);
      session.answer(
        { settings: described, warnings },
        [table(['SETTING', 'VALUE', 'FROM'], rows), ...warnings.map(formatWarning)].join('\n\n'),
      );
    });
}

const formatWarning = (warning: ConfigProblem) => `warning: ${formatProblem(warning)}`;

/** An application or an API is one setting to the configuration, and several lines to a reader. */
function leaves({ path, value, source }: SettingDescription): SettingDescription[] {
  if (!isObject(value)) return [{ path, value, source }];
  return Object.entries(value).flatMap(([name, inner]) => {
    const step = formatPath([name]);
    return leaves({ path: step.startsWith('[') ? path + step : `${path}.${step}`, value: inner, source });
  });
}

// What is read as a number and yet may be written as text is a duration: 90d.
const durations = new Set(
  listSettings()
    .filter(({ kind }) => kind === 'text')
    .map(({ path }) => formatPath(path)),
);

function shown(path: string, value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? '(none)' : value.join(', ');
  const isDuration = typeof value === 'number' && (durations.has(path) || path.endsWith('.accessTokenLife'));
  return isDuration ? formatDuration(value) : String(value);
}
