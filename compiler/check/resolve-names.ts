/**
 * Every name means something, and every name that was introduced is used — also where evaluation does not come by.
 *
 * A name that begins with `_` may stay unused. What a file declares at its top is for others, so it may too.
 */
import type {
  Block,
  Declaration,
  Expression,
  FunctionDeclaration,
  Identifier,
  IndexVariable,
  LayerDeclaration,
  OptimizerDeclaration,
  Parameter,
  Scan,
  Signature,
  Statement,
  TestDeclaration,
  TrainDeclaration,
  TrainEntry,
  TypeExpression,
} from '../../grammar/ast.ts';
import { nearest } from '../../common/nearest.ts';
import { diagnose, didYouMean, type Diagnostics } from '../base/diagnostics.ts';
import { messages } from '../base/messages.ts';
import type { Span } from '../base/source.ts';
import { opCodes } from '../graph/op.ts';
import type { LoadedModule, LoadedProgram } from './load-modules.ts';
import { parts } from './walk.ts';

interface Name {
  readonly span: Span;
  /** What it is called when it is unused; undefined where it may be. */
  readonly what: string | undefined;
  used: boolean;
}

interface Names {
  readonly outer: Names | undefined;
  readonly own: Map<string, Name>;
  /** Unknown names are fields of data, which nobody knows yet. */
  readonly open: boolean;
}

/** Checks the names of one module. `builtins` are visible below everything. */
export function resolveNames(
  module: LoadedModule,
  program: LoadedProgram,
  builtins: Iterable<string>,
  diagnostics: Diagnostics,
): void {
  const root: Names = { outer: undefined, own: new Map(), open: false };
  for (const name of builtins) root.own.set(name, { span: module.tree.span, what: undefined, used: true });
  const { prelude } = program;
  for (const name of prelude === undefined ? [] : exportsOf(prelude))
    root.own.set(name, { span: module.tree.span, what: undefined, used: true });
  new Resolver(module, diagnostics, module === prelude).run(root);
}

/** What others may use of a module: what it declares, and for the prelude also what it uses. */
export function exportsOf(module: LoadedModule): string[] {
  const own = declaredNames(module);
  const passed = module.uses.flatMap(({ use }) => use.names.map(({ name, alias }) => (alias ?? name).name));
  return [...own, ...passed];
}

export const declaredNames = (module: LoadedModule): string[] =>
  module.tree.declarations.flatMap((declaration) =>
    declaration.kind === 'test' || declaration.kind === 'train' ? [] : [declaration.name.name],
  );

/** What a body may be rejected with. */
const codes: ReadonlySet<string> = new Set([...Object.keys(messages), ...opCodes]);
const checking: ReadonlySet<string> = new Set(['expect', 'gradcheck', 'train']);

class Resolver {
  private readonly module: LoadedModule;
  private readonly diagnostics: Diagnostics;
  private readonly isPrelude: boolean;
  /** Whole numbers of the file and of what it uses may be sizes. */
  private readonly constants = new Set<string>();

  constructor(module: LoadedModule, diagnostics: Diagnostics, isPrelude: boolean) {
    this.module = module;
    this.diagnostics = diagnostics;
    this.isPrelude = isPrelude;
  }

  run(root: Names): void {
    const names = this.inside(root);
    for (const { use, module } of this.module.uses) {
      const known = module === undefined ? undefined : declaredNames(module);
      for (const { name, alias } of use.names) {
        if (known !== undefined && !known.includes(name.name))
          this.diagnostics.report(
            diagnose(
              'unknown-export',
              { module: use.module.text, name: name.name },
              [{ span: name.span, text: '' }],
              didYouMean(name.name, known),
            ),
          );
        if (module?.tree.declarations.some((own) => own.kind === 'constant' && own.name.name === name.name) === true)
          this.constants.add((alias ?? name).name);
        // Whether names of a module that is not there are used says nothing.
        this.declare(
          names,
          alias ?? name,
          this.isPrelude || !(known?.includes(name.name) ?? false) ? undefined : 'import',
        );
      }
    }
    const { declarations } = this.module.tree;
    const trains: Names = this.inside(undefined);
    for (const declaration of declarations) {
      if (declaration.kind === 'test') continue;
      this.declare(declaration.kind === 'train' ? trains : names, declaration.name, undefined);
      if (declaration.kind === 'constant') this.constants.add(declaration.name.name);
    }
    for (const declaration of declarations) this.declaration(names, declaration, trains);
    this.close(names);
  }

  private inside(outer: Names | undefined, open = outer?.open ?? false): Names {
    return { outer, own: new Map(), open };
  }

  private declare(names: Names, { name, span }: Identifier, what: string | undefined): void {
    const known = names.own.get(name);
    if (known !== undefined && name !== '_')
      this.diagnostics.report(
        diagnose('duplicate-name', { name }, [
          { span, text: '' },
          { span: known.span, text: 'first here' },
        ]),
      );
    else names.own.set(name, { span, what, used: false });
  }

  /** Reports what was not used. */
  private close(names: Names): void {
    for (const [name, { what, used, span }] of names.own)
      if (!used && what !== undefined && !name.startsWith('_'))
        this.diagnostics.report(
          diagnose('unused-name', { what, name }, [{ span, text: '' }], {
            // A name that is given from outside cannot be called otherwise.
            hint: what === 'import' || what === 'field' ? 'Remove it.' : `Remove it, or call it \`_${name}\`.`,
          }),
        );
  }

  private use(names: Names, { name, span }: Identifier): void {
    for (let at: Names | undefined = names; at !== undefined; at = at.outer) {
      const found = at.own.get(name);
      if (found === undefined) continue;
      found.used = true;
      return;
    }
    if (names.open) return;
    const visible = new Set<string>();
    for (let at: Names | undefined = names; at !== undefined; at = at.outer)
      for (const known of at.own.keys()) visible.add(known);
    this.diagnostics.report(diagnose('unknown-name', { name }, [{ span, text: '' }], this.meant(names, name, visible)));
  }

  /** A hint at the name that was meant, which is then not reported as unused too. */
  private meant(names: Names, name: string, visible: Iterable<string>): { hint?: string } {
    const near = nearest(name, visible);
    if (near === undefined) return {};
    for (let at: Names | undefined = names; at !== undefined; at = at.outer) {
      const found = at.own.get(near);
      if (found === undefined) continue;
      found.used = true;
      break;
    }
    return { hint: `Did you mean \`${near}\`?` };
  }

  // ------------------------------------------------------------------------------------------------ declarations

  private declaration(names: Names, declaration: Declaration, trains: Names): void {
    switch (declaration.kind) {
      case 'constant':
        return this.expression(names, declaration.value);
      case 'function':
        return this.functionDeclaration(names, declaration);
      case 'layer':
        return this.layer(names, declaration);
      case 'optimizer':
        return this.optimizer(names, declaration);
      case 'data': {
        const inner = this.inside(names);
        this.parameters(inner, declaration.parameters, 'parameter');
        this.expression(inner, declaration.body);
        return this.close(inner);
      }
      case 'train':
        return this.train(names, declaration);
      case 'test': {
        this.purpose(declaration);
        const inner = this.inside(names);
        for (const { name, range } of declaration.over) {
          this.expression(names, range);
          this.declare(inner, name, 'size');
        }
        this.block(inner, declaration.body, trains);
        return this.close(inner);
      }
    }
  }

  /** A test says something that can fail. */
  private purpose({ name, rejects, body, span }: TestDeclaration): void {
    const start = span.source.text.indexOf('"', span.start);
    const labels = [{ span: { ...span, start, end: start + name.length + 2 }, text: '' }];
    if (rejects && !codes.has(name))
      this.diagnostics.report(diagnose('unknown-code', { code: name }, labels, didYouMean(name, codes)));
    const checks = body.result !== undefined || body.statements.some(({ kind }) => checking.has(kind));
    if (!rejects && !checks)
      this.diagnostics.report(
        diagnose('checks-nothing', { name }, labels, { hint: 'Say what should hold: `expect a ≈ b`.' }),
      );
  }

  private functionDeclaration(names: Names, { hyper, signature, body }: FunctionDeclaration): void {
    const inner = this.inside(names);
    this.parameters(inner, hyper, 'hyperparameter');
    this.application(inner, signature, body);
    this.close(inner);
  }

  private layer(names: Names, { hyper, members, apply }: LayerDeclaration): void {
    const inner = this.inside(names);
    this.parameters(inner, hyper, 'hyperparameter');
    for (const member of members) {
      if (member.kind === 'param') {
        this.type(inner, member.type, false);
        this.expression(inner, member.init);
      } else this.expression(inner, member.value);
      const what = member.kind === 'param' ? (member.role === 'param' ? 'parameter' : 'buffer') : 'member';
      this.declare(inner, member.name, apply === undefined ? undefined : what);
    }
    if (apply !== undefined) this.application(inner, apply.signature, apply.body);
    this.close(inner);
  }

  private optimizer(names: Names, { hyper, states, parameters, body }: OptimizerDeclaration): void {
    const inner = this.inside(names);
    this.parameters(inner, hyper, 'hyperparameter');
    for (const { name, init } of states) {
      this.expression(inner, init);
      this.declare(inner, name, 'state');
    }
    const scope = this.inside(inner);
    for (const { name } of parameters) this.declare(scope, name, 'parameter');
    this.block(scope, body);
    this.close(scope);
    this.close(inner);
  }

  private application(names: Names, signature: Signature, body: Expression): void {
    const scope = this.inside(names);
    this.parameters(scope, signature.parameters, 'parameter');
    if (signature.result !== undefined)
      this.type(scope, signature.result, false, 'Write `_` for a size that follows from the body.');
    this.expression(scope, body);
    this.close(scope);
  }

  private parameters(names: Names, parameters: readonly Parameter[], what: string): void {
    for (const { name, type, default: otherwise } of parameters) {
      if (type !== undefined) this.type(names, type, true);
      if (otherwise !== undefined) this.expression(names, otherwise);
      this.declare(names, name, what);
    }
  }

  /** Sizes get their names at the parameters of a signature; elsewhere they were named before. */
  private type(names: Names, type: TypeExpression, binds: boolean, hint?: string): void {
    switch (type.kind) {
      case 'tensor-type':
        for (const dim of type.dims ?? []) if (dim.kind === 'dim') this.size(names, dim.value, binds, hint);
        return;
      case 'tuple-type':
        return type.elements.forEach((element) => this.type(names, element, binds, hint));
      case 'record-type':
        return type.fields.forEach((field) => this.type(names, field.type, binds, hint));
      case 'named-type':
      case 'choice-type':
        return;
    }
  }

  private size(names: Names, expression: Expression, binds: boolean, hint?: string): void {
    if (expression.kind !== 'identifier')
      return parts(expression).forEach((part) => this.size(names, part, binds, hint));
    const { name, span } = expression;
    const visible = new Set(this.constants);
    for (let at: Names | undefined = names; at?.outer?.outer !== undefined; at = at.outer) {
      const found = at.own.get(name);
      if (found !== undefined) {
        found.used = true;
        return;
      }
      for (const known of at.own.keys()) visible.add(known);
    }
    if (this.constants.has(name)) return this.use(names, expression);
    if (binds) {
      names.own.set(name, { span, what: undefined, used: true });
      return;
    }
    const near = this.meant(names, name, visible);
    const extra = near.hint === undefined && hint !== undefined ? { hint } : near;
    this.diagnostics.report(diagnose('unknown-size', { name }, [{ span, text: '' }], extra));
  }

  // ------------------------------------------------------------------------------------------------ train blocks

  private train(names: Names, { entries }: TrainDeclaration): void {
    const inner = this.inside(names);
    for (const entry of entries)
      if (entry.kind === 'setting')
        inner.own.set(entry.name.name, { span: entry.name.span, what: undefined, used: true });
    for (const entry of entries) this.trainEntry(names, inner, entry);
  }

  private trainEntry(outer: Names, names: Names, entry: TrainEntry): void {
    switch (entry.kind) {
      case 'setting':
        // `seed = seed` would mean itself; settings see each other all the same, in order.
        this.expression(names, entry.value);
        for (const group of entry.groups) for (const { value } of group.settings) this.expression(names, value);
        return;
      case 'train-function':
      case 'eval': {
        if (entry.kind === 'eval') this.expression(names, entry.over);
        const inner = this.inside(names);
        for (const { name } of entry.parameters) this.declare(inner, name, 'field');
        this.expression(inner, entry.body);
        return this.close(inner);
      }
      case 'save':
        if (entry.when.kind === 'every') this.expression(outer, entry.when.steps);
        return;
      case 'load':
        return this.expression(outer, entry.path);
      case 'clip':
        return this.expression(outer, entry.limit);
      case 'accumulate':
        return this.expression(outer, entry.steps);
      case 'prune':
        for (const expression of [entry.pruner, entry.every, entry.rewind])
          if (expression !== undefined) this.expression(outer, expression);
        return;
      case 'quantize':
        for (const expression of [entry.weights?.group, entry.calibrate])
          if (expression !== undefined) this.expression(outer, expression);
        return;
      case 'checkpoint':
      case 'freeze':
      case 'precision':
        return;
    }
  }

  // ------------------------------------------------------------------------------------------------- expressions

  private expression(names: Names, expression: Expression): void {
    switch (expression.kind) {
      case 'identifier':
        return this.use(names, expression);
      case 'call': {
        this.expression(names, expression.callee);
        const fields = expression.callee.kind === 'identifier' && expression.callee.name === 'map';
        const inner = fields ? this.inside(names, true) : names;
        for (const { value } of expression.arguments) this.expression(inner, value);
        return;
      }
      case 'reduction': {
        const inner = this.indices(names, expression.indices);
        return this.expression(inner, expression.body);
      }
      case 'comprehension': {
        this.expression(names, expression.over);
        const inner = this.inside(names);
        this.declare(inner, expression.name, 'name');
        if (expression.condition !== undefined) this.expression(inner, expression.condition);
        this.expression(inner, expression.element);
        return this.close(inner);
      }
      case 'block':
        return this.block(names, expression);
      case 'scan':
        return this.scan(names, expression);
      default:
        return parts(expression).forEach((part) => this.expression(names, part));
    }
  }

  private indices(names: Names, variables: readonly IndexVariable[]): Names {
    const inner = this.inside(names);
    for (const { name, range } of variables) {
      if (range !== undefined) this.expression(names, range);
      if (name.name !== '...') this.declare(inner, name, undefined);
    }
    return inner;
  }

  private scan(names: Names, { sequences, over, carried, body }: Scan): void {
    this.expression(names, over);
    const inner = this.inside(names);
    for (const name of sequences) {
      this.use(names, name);
      this.declare(inner, name, 'sequence');
    }
    for (const { name, init } of carried) {
      this.expression(names, init);
      this.declare(inner, name, 'carried value');
    }
    this.block(inner, body);
    this.close(inner);
  }

  private block(outer: Names, { statements, result }: Block, trains?: Names): void {
    const names = this.inside(outer);
    for (const statement of statements) this.statement(names, statement, trains);
    if (result !== undefined) this.expression(names, result);
    this.close(names);
  }

  private statement(names: Names, statement: Statement, trains: Names | undefined): void {
    switch (statement.kind) {
      case 'let':
        this.expression(
          statement.indices === undefined ? names : this.indices(names, statement.indices),
          statement.value,
        );
        for (const name of statement.names) {
          // A later `let` of the same name replaces the earlier one, which must have been used.
          const before = names.own.get(name.name);
          if (before !== undefined && !before.used)
            this.close({ outer: undefined, own: new Map([[name.name, before]]), open: false });
          names.own.set(name.name, { span: name.span, what: 'name', used: false });
        }
        return;
      case 'assign':
        if (statement.target.kind === 'identifier') this.use(names, statement.target);
        else this.expression(names, statement.target);
        return this.expression(names, statement.value);
      case 'yield':
        return this.expression(names, statement.value);
      case 'expect':
        for (const part of [statement.left, statement.comparison?.right, statement.within])
          if (part !== undefined) this.expression(names, part);
        return;
      case 'gradcheck':
        this.expression(names, statement.target);
        return statement.at.forEach((type) => this.type(names, type, false));
      case 'train': {
        for (const part of [statement.batches, statement.steps]) if (part !== undefined) this.expression(names, part);
        if (trains !== undefined) this.use(trains, statement.name);
        const inner = this.inside(names, true);
        for (const expect of statement.expects) this.statement(inner, expect, trains);
      }
    }
  }
}
