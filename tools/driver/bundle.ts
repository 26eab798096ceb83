/** The runtime as one minified file, for folders that train without an installed Nacre. */
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Plugin } from 'esbuild';
import type { Trainer } from '../../runtime/artefact.ts';
import { sourceOf } from '../../runtime/data/load.ts';
import { UserError } from '../../runtime/errors.ts';
import type { TrainPlan } from '../../runtime/program.ts';
import { packageRoot } from './project.ts';

export interface Bundle {
  readonly name: string;
  readonly bytes: Uint8Array;
}

type Platform = 'node' | 'web';

/** Where each lies in the folder. */
const folders: Record<Platform, string> = { node: 'runtime', web: 'web' };

/**
 * What a trainer never asks for is left out: devices of other targets, readers of other data. A page has no Node either; the
 * runtime names it there, but does not ask it.
 */
const slim = (platform: Platform, { target, plan }: Trainer): Plugin => ({
  name: 'slim',
  setup(build) {
    const others = (['cpu', 'cuda', 'webgpu', 'wasm'] as const).filter((device) => device !== target);
    const leaveOut = (filter: RegExp): void =>
      build.onResolve({ filter }, ({ path }) => ({ path, namespace: 'absent' }));
    leaveOut(new RegExp(`/devices/(${others.join('|')})\\.js$`));
    const unread = readers.filter((kind) => !kindsOf(plan).includes(kind));
    if (unread.length > 0) leaveOut(new RegExp(`/(${unread.join('|')})\\.js$`));
    if (unread.includes('csv')) leaveOut(/^csv-parse/);
    if (platform === 'web') {
      leaveOut(/^node:|^koffi$|^webgpu$/);
      build.onResolve({ filter: /^csv-parse\/sync$/ }, ({ resolveDir }) =>
        build.resolve('csv-parse/browser/esm/sync', { resolveDir, kind: 'import-statement' }),
      );
    }
    build.onLoad({ filter: /.*/, namespace: 'absent' }, () => ({ contents: 'module.exports = {};', loader: 'js' }));
  },
});

/** Modules of runtime/data, by the kind of source that they read. */
const readers = ['idx', 'npy', 'csv', 'text'] as const;

const kindsOf = ({ data, evaluations }: TrainPlan): readonly string[] =>
  [data, ...evaluations.map((one) => one.data)].map((plan) => sourceOf(plan).kind);

/** The entries of a trainer: the one asked for, and the scripts of its worker threads. */
export async function bundleTrainer(platform: Platform, trainer: Trainer): Promise<Bundle[]> {
  let esbuild: typeof import('esbuild');
  try {
    esbuild = await import('esbuild');
  } catch {
    throw new UserError(
      'no-esbuild',
      '`nacre build` needs the package esbuild, which is not installed.',
      'npm install esbuild',
    );
  }
  const built = (path: string): string => join(packageRoot, 'dist', path);
  const workers = [
    ...(trainer.target === 'wasm' ? ['runtime/devices/wasm-worker.js'] : []),
    ...(platform === 'node' ? ['runtime/data/prefetch-worker.js'] : []),
  ];
  const entries = [`tools/trainer/${platform}.js`, ...workers].map(built);
  const missing = entries.find((path) => !existsSync(path));
  if (missing !== undefined) throw new UserError('not-built', `${missing} is missing: this installation is not whole.`);
  const { outputFiles } = await esbuild.build({
    entryPoints: entries,
    bundle: true,
    minify: true,
    write: false,
    outdir: 'runtime',
    entryNames: '[name]',
    format: 'esm',
    target: 'es2022',
    logLevel: 'silent',
    legalComments: 'none',
    plugins: [slim(platform, trainer)],
    ...(platform === 'node'
      ? {
          platform: 'node',
          external: ['koffi', 'webgpu'],
          // Packages written for require ask for it by that name.
          banner: {
            js: "import{createRequire as nacreRequire}from'node:module';const require=nacreRequire(import.meta.url);",
          },
        }
      : { platform: 'browser' }),
  });
  return outputFiles.map(({ path, contents }) => ({ name: `${folders[platform]}/${basename(path)}`, bytes: contents }));
}
