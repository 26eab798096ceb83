/** Commands that a person can copy: how this Nacre is started. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { packageRoot } from '../driver/project.ts';
import { quote } from './quote.ts';

/** What starts this Nacre in a folder: `npx nacre` where npm finds it, else the path of the checkout it runs from. */
export function startsNacre(folder: string): string {
  for (let at = resolve(folder); ; at = dirname(at)) {
    if (at === packageRoot || existsSync(join(at, 'node_modules', 'nacre'))) return 'npx nacre';
    if (dirname(at) === at) break;
  }
  const isCheckout = existsSync(join(packageRoot, 'tsconfig.json'));
  return isCheckout ? `node ${quote(join(packageRoot, 'bin', 'nacre.mjs'))}` : 'npx nacre';
}
