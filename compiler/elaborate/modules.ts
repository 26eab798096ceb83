/** Modules as scopes of values: what a file declares, what it uses, the prelude, and the builtins below. */
import type { ConstantDeclaration, Declaration } from '../../grammar/ast.ts';
import { loadModules, type LoadedModule, type ReadModule } from '../check/load-modules.ts';
import { resolveNames } from '../check/resolve-names.ts';
import { Diagnostics } from '../base/diagnostics.ts';
import type { Source, Span } from '../base/source.ts';
import { createBuiltinScope } from './builtins/index.ts';
import { at, atRoot, attempt, fail, type Context } from './context.ts';
import { createScope, type Binding, type Scope } from './scope.ts';
import { unknown, type Value } from './value.ts';

export interface ProgramModule {
  readonly loaded: LoadedModule;
  /** Its declarations and what it uses; the prelude and builtins are further out. */
  readonly scope: Scope;
}

export interface Program {
  readonly entry: ProgramModule;
  readonly modules: readonly ProgramModule[];
  readonly diagnostics: Diagnostics;
}

/** Reads a program and everything it uses, and checks all names; `standard` names modules that are there, for hints. */
export function loadProgram(entry: Source, readModule: ReadModule, standard: readonly string[] = []): Program {
  const diagnostics = new Diagnostics();
  const loaded = loadModules(entry, readModule, diagnostics, standard);
  const builtins = createBuiltinScope();
  const prelude = createScope(builtins);
  const modules = new Map<LoadedModule, ProgramModule>();
  for (const module of loaded.modules) {
    const isPrelude = module === loaded.prelude;
    const scope = isPrelude ? prelude : createScope(prelude);
    for (const { use, module: from } of module.uses) {
      const exporter = from === undefined ? undefined : modules.get(from);
      for (const { name, alias } of use.names)
        scope.names.set(
          (alias ?? name).name,
          exporter?.scope.names.get(name.name) ?? { kind: 'value', value: unknown },
        );
    }
    for (const declaration of module.tree.declarations)
      if (declaration.kind !== 'test') scope.names.set(declaration.name.name, declare(declaration, scope));
    modules.set(module, { loaded: module, scope });
  }
  for (const module of loaded.modules)
    if (!module.isBroken) resolveNames(module, loaded, builtins.names.keys(), diagnostics);
  const found = modules.get(loaded.entry);
  if (found === undefined) throw new Error('the entry was not loaded');
  return { entry: found, modules: [...modules.values()], diagnostics };
}

function declare(declaration: Exclude<Declaration, { kind: 'test' }>, scope: Scope): Binding {
  switch (declaration.kind) {
    case 'function':
      return { kind: 'value', value: { kind: 'function', declaration, scope, hyper: new Map() } };
    case 'layer':
      return { kind: 'value', value: { kind: 'layer', declaration, scope } };
    case 'optimizer':
      return {
        kind: 'value',
        value: { kind: 'optimizer', declaration, scope, hyper: new Map(), span: declaration.span },
      };
    case 'data':
      return { kind: 'value', value: { kind: 'data-function', declaration, scope } };
    case 'constant':
      return { kind: 'global', read: (context, span) => readConstant(context, scope, declaration, span) };
    case 'train':
      return {
        kind: 'global',
        read: (context, span) =>
          fail(context, 'not-a-value', { name: declaration.name.name, what: 'a train block' }, [at(span)]),
      };
  }
}

/** A constant of a module: evaluated once for a graph, outside of whatever asked for it. */
function readConstant(context: Context, scope: Scope, declaration: ConstantDeclaration, span: Span): Value {
  const known = context.constants.get(declaration);
  const name = declaration.name.name;
  if (known === 'busy') return fail(context, 'constant-cycle', { name }, [at(span), at(declaration.name.span)]);
  if (known !== undefined) return known;
  context.constants.set(declaration, 'busy');
  const value = attempt(context, () =>
    atRoot(context, () => context.evaluator.evaluate(context, scope, declaration.value)),
  );
  if (value.kind === 'instance' && value.owner === undefined) value.name ??= name;
  context.constants.set(declaration, value);
  return value;
}
