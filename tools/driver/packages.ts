/** Packages that may or may not be installed beside this one. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** The version of an installed package, without loading it. */
export function versionOf(name: string): string | undefined {
  const require = createRequire(import.meta.url);
  for (const folder of require.resolve.paths(name) ?? []) {
    const file = `${folder}/${name}/package.json`;
    if (!existsSync(file)) continue;
    const description: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof description === 'object' && description !== null && 'version' in description)
      return String(description.version);
  }
  return undefined;
}
