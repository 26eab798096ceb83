/** The runtime as one minified file, for folders that train without an installed Nacre. */
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Trainer } from '../../runtime/artefact.ts';
import { sourceOf } from '../../runtime/data/load.ts';
import { UserError } from '../../runtime/errors.ts';
import type { TrainPlan } from '../../runtime/program.ts';
import { packageRoot } from './project.ts';
import { codeTargets, targets } from './targets/index.ts';

export interface Bundle {
  readonly name: string;
  readonly bytes: Uint8Array;
}

type Platform = 'node' | 'web';

/** What decides which parts of the runtime it needs. */
type Bundled = Pick<Trainer, 'target' | 'plan'>;

interface Asked {
  readonly path: string;
  readonly resolveDir: string;
}

interface PluginBuild {
  onResolve(of: { filter: RegExp }, answer: (asked: Asked) => unknown): void;
  onLoad(of: { filter: RegExp; namespace: string }, answer: () => unknown): void;
  resolve(path: string, options: { resolveDir: string; kind: 'import-statement' }): Promise<unknown>;
}

interface Plugin {
  name: string;
  setup(build: PluginBuild): void;
}

/** In words that tsc does not look up: a checkout is built without the package, too. */
const esbuildPackage: string = 'esbuild';

/** What is used of the package esbuild, whose own types are absent where it is. */
interface Esbuild {
  build(options: {
    entryPoints: { in: string; out: string }[];
    bundle: true;
    minify: true;
    write: false;
    outdir: string;
    format: 'esm';
    target: string;
    logLevel: 'silent';
    legalComments: 'none';
    plugins: Plugin[];
    platform: 'node' | 'browser';
    external?: string[];
    banner?: { js: string };
  }): Promise<{ outputFiles: { readonly path: string; readonly contents: Uint8Array }[] }>;
}

/** Where each lies in the folder. */
const folders: Record<Platform, string> = { node: 'runtime', web: 'web' };

/**
 * What a trainer never asks for is left out: readers of other data. A page has no Node either; the runtime names it there, but
 * does not ask it.
 */
const slim = (platform: Platform, { plan }: Bundled): Plugin => ({
  name: 'slim',
  setup(build) {
    const leaveOut = (filter: RegExp): void =>
      build.onResolve({ filter }, ({ path }) => ({ path, namespace: 'absent' }));
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

/** A trainer on the device of its target: no other is in the folder. */
const entry = (platform: Platform, { target }: Bundled): Plugin => ({
  name: 'entry',
  setup(build) {
    build.onResolve({ filter: /^entry$/ }, () => ({ path: platform, namespace: 'entry' }));
    build.onLoad({ filter: /.*/, namespace: 'entry' }, () => ({
      contents: `import { openBuilt } from './runtime/devices/${target}-built.js';
import { start } from './tools/trainer/${platform}.js';
start(openBuilt);`,
      resolveDir: built('.'),
    }));
  },
});

const built = (path: string): string => join(packageRoot, 'dist', path);

/** The entries of a trainer: the one asked for, and the scripts of its worker threads, where its device has some. */
export async function bundleTrainer(platform: Platform, trainer: Bundled): Promise<Bundle[]> {
  let esbuild: Esbuild;
  try {
    esbuild = await import(esbuildPackage);
  } catch {
    throw new UserError(
      'no-esbuild',
      '`nacre build` needs the package esbuild, which is not installed.',
      'npm install esbuild',
    );
  }
  const workers = [
    `runtime/devices/${trainer.target}-worker.js`,
    ...(platform === 'node' ? ['runtime/data/prefetch-worker.js'] : []),
  ].filter((path) => existsSync(built(path)));
  if (!existsSync(built('runtime/program.js')))
    throw new UserError('not-built', `${built('.')} is missing: this installation is not whole.`);
  const { outputFiles } = await esbuild.build({
    entryPoints: [
      { in: 'entry', out: platform },
      ...workers.map((path) => ({ in: built(path), out: basename(path, '.js') })),
    ],
    bundle: true,
    minify: true,
    write: false,
    outdir: 'runtime',
    format: 'esm',
    target: 'es2022',
    logLevel: 'silent',
    legalComments: 'none',
    plugins: [entry(platform, trainer), slim(platform, trainer)],
    ...(platform === 'node'
      ? {
          platform: 'node',
          external: codeTargets.flatMap((name) => targets[name].needs ?? []),
          // Packages written for require ask for it by that name.
          banner: {
            js: "import{createRequire as nacreRequire}from'node:module';const require=nacreRequire(import.meta.url);",
          },
        }
      : { platform: 'browser' }),
  });
  return outputFiles.map(({ path, contents }) => ({ name: `${folders[platform]}/${basename(path)}`, bytes: contents }));
}
