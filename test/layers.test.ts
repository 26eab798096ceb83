/** The house stands as drawn: imports run one way, the compiler needs no Node, the runtime needs no compiler. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [
    ...text.matchAll(/(?:^|\n)\s*(import|export)(\s+type)?[^'";]*?from\s*'([^']+)'/g),
    ...text.matchAll(/()()import\(\s*'([^']+)'\s*\)/g),
  ].map(([, , type, target]) => ({
    from: file,
    to: target.startsWith('.') ? relative(root, resolve(root, dirname(file), target)) : target,
    typeOnly: type !== undefined && type !== '',
  }));
}

/** Lower rooms first; rooms of one line may not use each other's neighbours above. */
const order: readonly (readonly string[])[] = [
  ['common'],
  ['compiler/base'],
  ['compiler/types'],
  ['grammar'],
  ['compiler/graph', 'compiler/ops'],
  ['compiler/differentiate', 'compiler/optimize', 'compiler/compact', 'compiler/quantize'],
  ['compiler/check'],
  ['compiler/elaborate'],
  ['compiler/loop'],
  ['compiler/fuse'],
  ['compiler/tile'],
  ['compiler/schedule'],
  ['compiler/targets', 'compiler/analyze'],
  ['compiler/pipeline.ts', 'compiler/index.ts'],
];

const levelOf = (path: string): number =>
  order.findIndex((rooms) => rooms.some((room) => path === room || path.startsWith(`${room}/`)));

const compilerFiles = [...sources('common'), ...sources('grammar'), ...sources('compiler')];

describe('imports', () => {
  it('run one way through the compiler', () => {
    const wrong = compilerFiles
      .flatMap(importsOf)
      .filter(({ from, to, typeOnly }) => !typeOnly && levelOf(to) > levelOf(from))
      .map(({ from, to }) => `${from} → ${to}`);
    expect(wrong).toEqual([]);
  });

  it('never go in a circle', () => {
    const edges = new Map(
      compilerFiles.map((file) => [
        file,
        importsOf(file)
          .filter(({ typeOnly }) => !typeOnly)
          .map(({ to }) => to),
      ]),
    );
    const done = new Set<string>();
    const visit = (file: string, path: readonly string[]): string | undefined => {
      if (path.includes(file)) return [...path.slice(path.indexOf(file)), file].join(' → ');
      if (done.has(file)) return undefined;
      for (const next of edges.get(file) ?? []) {
        const circle = visit(next, [...path, file]);
        if (circle !== undefined) return circle;
      }
      done.add(file);
      return undefined;
    };
    expect(compilerFiles.map((file) => visit(file, [])).find((circle) => circle !== undefined)).toBeUndefined();
  });

  it('of the compiler need no Node', () => {
    const wrong = compilerFiles
      .flatMap(importsOf)
      .filter(({ to }) => to.startsWith('node:') || ['koffi', 'csv-parse', 'commander'].includes(to));
    expect(wrong).toEqual([]);
  });

  it('of the runtime need no compiler', () => {
    const wrong = sources('runtime')
      .flatMap(importsOf)
      .filter(({ to }) => /^(compiler|grammar|tools)\//.test(to));
    expect(wrong).toEqual([]);
  });

  it('of the compiler take nothing but types from the runtime', () => {
    const wrong = compilerFiles.flatMap(importsOf).filter(({ to, typeOnly }) => to.startsWith('runtime/') && !typeOnly);
    expect(wrong).toEqual([]);
  });
});

describe('the code', () => {
  const all = ['common', 'grammar', 'compiler', 'runtime', 'tools', 'bench'].flatMap(sources);

  it('has no hole in its types', () => {
    const wrong = all.filter((file) =>
      /(: any\b|\bas any\b|<any>|@ts-ignore|@ts-expect-error|@ts-nocheck)/.test(readFileSync(join(root, file), 'utf8')),
    );
    expect(wrong).toEqual([]);
  });

  it('comes in files that can be read in one sitting', () => {
    const long = all
      .map((file) => ({ file, lines: readFileSync(join(root, file), 'utf8').split('\n').length }))
      .filter(({ lines }) => lines > 550);
    expect(long).toEqual([]);
  });

  it('runs nothing that comes from data', () => {
    const wrong = all.filter((file) =>
      /\beval\([^…]|new Function\(|from 'node:vm'/.test(
        readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, ''),
      ),
    );
    expect(wrong).toEqual([]);
  });
});
