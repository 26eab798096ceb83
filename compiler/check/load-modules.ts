/** The files of a program: the entry, what it uses, what those use, and the prelude that every file sees. */
import type { Declaration, Module, Use } from '../../grammar/ast.ts';
import { parse } from '../../grammar/index.ts';
import { diagnose, didYouMean, type Diagnostics } from '../base/diagnostics.ts';
import type { Source } from '../base/source.ts';
import { depthOf } from './walk.ts';

/** Finds a module's text: `std.layers`, or a file named relative to the one that uses it. Undefined if there is none. */
export type ReadModule = (name: string, from: Source) => Source | undefined;

export interface LoadedModule {
  readonly source: Source;
  readonly tree: Module;
  /** The text could not be read as a whole. */
  readonly isBroken: boolean;
  /** Declarations in which nothing is wrong with the text. */
  readonly healthy: readonly Declaration[];
  /** Its `use` lines, each with the module it names if that was found. */
  readonly uses: readonly { readonly use: Use; readonly module: LoadedModule | undefined }[];
}

export interface LoadedProgram {
  readonly entry: LoadedModule;
  readonly prelude: LoadedModule | undefined;
  /** All of them, each after the ones it uses. */
  readonly modules: readonly LoadedModule[];
}

export const preludeName = 'std.prelude';

/** Deeper than a person writes; everything after this walks trees by recursion. */
const deepestTree = 1000;

/** The module without declarations that nest too deep, which are reported. */
function shallow(module: Module, diagnostics: Diagnostics): Module {
  const declarations = module.declarations.filter((declaration) => {
    if (depthOf(declaration) <= deepestTree) return true;
    diagnostics.report(
      diagnose(
        'too-deep',
        { limit: deepestTree },
        [{ span: declaration.kind === 'test' ? declaration.span : declaration.name.span, text: '' }],
        {
          hint: 'Give parts of it names with `let`.',
        },
      ),
    );
    return false;
  });
  return declarations.length === module.declarations.length ? module : { ...module, declarations };
}

/** `standard`: names of modules that are there, for hints. */
export function loadModules(
  entry: Source,
  readModule: ReadModule,
  diagnostics: Diagnostics,
  standard: readonly string[] = [],
): LoadedProgram {
  const done = new Map<string, LoadedModule>();
  const order: LoadedModule[] = [];
  const under: string[] = [];
  /** Modules that were asked for and are there. */
  const found = new Set<string>();

  function load(source: Source): LoadedModule {
    const known = done.get(source.name);
    if (known !== undefined) return known;
    const { module, errors } = parse(source);
    for (const { code, message, span, hint } of errors)
      diagnostics.report({
        code,
        severity: 'error',
        message,
        labels: [{ span, text: '' }],
        notes: [],
        ...(hint === undefined ? {} : { hint }),
      });
    const tree = shallow(module, diagnostics);
    under.push(source.name);
    const uses = tree.uses.map((use) => ({ use, module: follow(use, source) }));
    under.pop();
    const healthy = tree.declarations.filter(
      ({ span }) => !errors.some((error) => error.span.start <= span.end && error.span.end >= span.start),
    );
    const loaded = { source, tree, uses, healthy, isBroken: errors.length > 0 };
    done.set(source.name, loaded);
    order.push(loaded);
    return loaded;
  }

  function follow(use: Use, from: Source): LoadedModule | undefined {
    const { text, span } = use.module;
    const source = readModule(text, from);
    if (source === undefined) {
      const near = didYouMean(text, new Set([...found, ...standard]));
      diagnostics.report(diagnose('unknown-module', { module: text }, [{ span, text: '' }], near));
      return undefined;
    }
    found.add(text);
    const place = under.indexOf(source.name);
    if (place >= 0) {
      diagnostics.report(
        diagnose('module-cycle', { path: [...under.slice(place), source.name].join(' → ') }, [{ span, text: '' }]),
      );
      return undefined;
    }
    return load(source);
  }

  const preludeSource = readModule(preludeName, entry);
  const prelude = preludeSource === undefined ? undefined : load(preludeSource);
  return { entry: load(entry), prelude, modules: order };
}
