/** `nacre build`: a folder that trains a block without the compiler, in Node or in a page. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../runtime/errors.ts';
import type { Files } from '../../runtime/files.ts';
import { encodeWeights } from '../../runtime/safetensors.ts';
import { weightsOf } from '../../runtime/weights.ts';
import { buildTrainer, writeFolder } from '../driver/build.ts';
import { bundleTrainer } from '../driver/bundle.ts';
import { compactTrain, prunesColumns } from '../driver/compact.ts';
import { openProject, packageRoot, type RunnableTrain } from '../driver/project.ts';
import { openTarget } from '../driver/target.ts';
import type { BuiltFile } from '../driver/targets/backend.ts';
import { type CodeTarget, codeTargets, targets } from '../driver/targets/index.ts';
import { trainerPage } from '../trainer/page.ts';
import { quote } from './quote.ts';
import { checkSettings, parseSettings } from './settings.ts';
import { exit, printJson, type Terminal } from './terminal.ts';

export interface BuildCommand {
  readonly output: string;
  readonly target: CodeTarget;
  readonly web: boolean;
  readonly threads?: number;
  readonly set: readonly string[];
  readonly data: readonly string[];
  readonly json: boolean;
}

/**
 * Which columns structured pruning removes is decided by the weights that a run begins with: so it is decided now, and the
 * trainer begins with those that are left.
 */
async function begun(
  asked: RunnableTrain,
  files: Files,
  terminal: Terminal,
): Promise<{ readonly runnable: RunnableTrain; readonly begin: readonly BuiltFile[] }> {
  if (!prunesColumns(asked)) return { runnable: asked, begin: [] };
  const { train, weights, notice } = await compactTrain(asked, files, () => openTarget('auto'));
  terminal.err(`${notice}\n`);
  const tensors = weightsOf(train.plan).flatMap((field) => {
    const data = weights.get(field.name);
    return data === undefined ? [] : [{ field, data }];
  });
  const path = 'begin.safetensors';
  return {
    runnable: { ...train, plan: { ...train.plan, loads: [{ path, rules: [] }] } },
    begin: [{ name: path, bytes: Buffer.concat(encodeWeights(tensors, new Map([['nacre', 'weights']]))) }],
  };
}

/** Of the folder: `npm install` there gets what the target needs. */
function packageOf(needs: string | undefined): object {
  const { optionalDependencies, peerDependencies } = JSON.parse(
    readFileSync(join(packageRoot, 'package.json'), 'utf8'),
  );
  const versions: Record<string, string> = { ...optionalDependencies, ...peerDependencies };
  return { type: 'module', private: true, ...(needs !== undefined && { dependencies: { [needs]: versions[needs] } }) };
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

export async function build(
  file: string,
  name: string | undefined,
  { output, target, web, threads, set, data, json }: BuildCommand,
  terminal: Terminal,
): Promise<number> {
  const { inPage, needs } = targets[target];
  if (web && inPage === undefined)
    throw new UserError(
      'build-web',
      `A page cannot train on ${target}.`,
      `Say --target ${codeTargets.filter((one) => targets[one].inPage !== undefined).join(', or ')} for any browser.`,
    );
  const overrides = parseSettings(set);
  const project = await openProject(file, { data, overrides });
  const asked = await project.train(name);
  checkSettings(overrides, project, asked.block.name);
  const { runnable, begin } = await begun(asked, project.files, terminal);
  const { trainer, files } = await buildTrainer(runnable, { target, ...(threads !== undefined && { threads }) });
  const [node, page] = await Promise.all([bundleTrainer('node', trainer), web ? bundleTrainer('web', trainer) : []]);
  const written = writeFolder(output, trainer, [
    ...files,
    ...begin,
    ...node,
    ...page,
    { name: 'train.js', bytes: encode("import './runtime/node.js';\n") },
    { name: 'package.json', bytes: encode(`${JSON.stringify(packageOf(needs))}\n`) },
    ...(web && inPage !== undefined ? [{ name: 'index.html', bytes: encode(trainerPage(trainer.plan, inPage)) }] : []),
  ]);
  const size = (of: readonly BuiltFile[]): number => of.reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (json) {
    const sizes = { runtime: size(node), ...(web && { runtimeInPage: size(page) }), total: written.bytes };
    printJson(terminal, { event: 'build', output, target, files: written.names, ...sizes });
    return exit.ok;
  }
  const kilobytes = (bytes: number): string => `${(bytes / 1000).toFixed(0)} KB`;
  terminal.out(
    `${output}: ${runnable.plan.name} for ${target}, ${Object.keys(trainer.programs).length} programs\n` +
      `runtime ${kilobytes(size(node))}${web ? `, that of the page ${kilobytes(size(page))}` : ''}, in all ${kilobytes(written.bytes)}\n` +
      (needs === undefined
        ? ''
        : `once, where it will train: npm install --prefix ${quote(output)}, which gets ${needs}\n`) +
      `train it: node ${quote(`${output}/train.js`)}${web ? `, or open ${output}/index.html from any static server` : ''}\n`,
  );
  return exit.ok;
}
