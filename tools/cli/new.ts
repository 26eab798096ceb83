/** `nacre new`: a small project in a new folder that trains at once, with nothing to download: `examples/rings.model`. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { UserError } from '../../runtime/errors.ts';
import { packageRoot } from '../driver/project.ts';
import { startsNacre } from './command.ts';
import { quote } from './quote.ts';
import { exit, type Terminal } from './terminal.ts';

export async function createProject(folder: string, terminal: Terminal): Promise<number> {
  const name = basename(folder);
  if (!/^[A-Za-z][\w-]*$/.test(name)) {
    throw new UserError(
      'bad-name',
      `A project cannot be called "${name}".`,
      'A name begins with a letter and has letters, digits, `-` and `_`.',
    );
  }
  if (existsSync(folder)) throw new UserError('exists', `${folder} is there already; a new project gets a new folder.`);
  const file = `${name}.model`;
  const nacre = startsNacre(folder);
  const files = {
    [file]: readFileSync(join(packageRoot, 'examples', 'rings.model'), 'utf8'),
    '.gitignore': 'runs/\n',
    'README.md': `# ${name}\n\n    ${nacre} train ${file}\n    ${nacre} test ${file}\n`,
  };
  try {
    mkdirSync(folder, { recursive: true });
    for (const [path, text] of Object.entries(files)) writeFileSync(join(folder, path), text, { flag: 'wx' });
  } catch (error) {
    throw new UserError(
      'write',
      `${folder} could not be written: ${error instanceof Error ? error.message : String(error)}.`,
    );
  }
  terminal.out(`${folder} is there. To train it:\n  cd ${quote(folder)}\n  ${nacre} train ${file}\n`);
  return exit.ok;
}
