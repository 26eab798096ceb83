/** `--set path=value`: what may be set, and to what. */
import { bool, float, int, string, type Value } from '../../compiler/elaborate/value.ts';
import { numberSettings, type Override } from '../../compiler/elaborate/overrides.ts';
import { nearestName, UserError } from '../../runtime/errors.ts';
import type { Project } from '../driver/project.ts';

/** The overrides of a command line. */
export const parseSettings = (texts: readonly string[]): Override[] => texts.map(parseSetting);

/** The part before the `=`. */
export const settingPath = (text: string): string => text.slice(0, Math.max(0, text.indexOf('=')));

function parseSetting(text: string): Override {
  const [, path, value] = /^([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)=(.+)$/s.exec(text) ?? [];
  if (path === undefined || value === undefined) {
    throw new UserError(
      'unknown-set',
      `--set ${text}: I expected a name and a value.`,
      'For example --set model.hidden=256 or --set epochs=3.',
    );
  }
  return { path: path.split('.'), value: parseValue(value) };
}

function parseValue(text: string): Value {
  if (text === 'true' || text === 'false') return bool(text === 'true');
  const number = Number(text.replaceAll('_', ''));
  if (!/^-?[\d._]+(?:[eE][+-]?\d+)?$/.test(text) || Number.isNaN(number)) return string(text);
  return /^-?[\d_]+$/.test(text) ? int(number) : float(number);
}

/** Refuses what the train block has no place for: nothing is silently ignored. */
export function checkSettings(overrides: readonly Override[], project: Project, trainName: string): void {
  const declarations = project.program.entry.loaded.tree.declarations;
  const declaration = declarations.find((one) => one.kind === 'train' && one.name.name === trainName);
  if (declaration?.kind !== 'train') return;
  const settings = declaration.entries.filter((entry) => entry.kind === 'setting');
  for (const { path } of overrides) {
    const [first = '', second] = path;
    if (second === undefined && numberSettings.includes(first)) continue;
    const names = [...new Set([...settings.map((entry) => entry.name.name), ...numberSettings])];
    const setting = settings.find((entry) => entry.name.name === first);
    if (setting === undefined) {
      const near = nearestName(first, names);
      const hint = near === undefined ? `It has ${names.join(', ')}.` : `Did you mean \`${near}\`?`;
      throw new UserError(
        'unknown-set',
        `--set ${path.join('.')}: the train block ${trainName} has no setting \`${first}\`.`,
        hint,
      );
    }
    if (second !== undefined && setting.value.kind !== 'make') {
      throw new UserError(
        'unknown-set',
        `--set ${path.join('.')}: \`${first}\` is not something with hyperparameters.`,
      );
    }
  }
}
