/** Prints files and declarations. */
import { builders } from 'prettier/doc';
import type { Doc } from 'prettier';
import type {
  Application,
  Declaration,
  Expression,
  FunctionDeclaration,
  LayerDeclaration,
  LayerMember,
  LoadRule,
  Module,
  OptimizerDeclaration,
  Parameter,
  ParameterGroup,
  Selector,
  TestDeclaration,
  TrainEntry,
  Use,
} from '../ast.ts';
import type { Node } from './comments.ts';
import { ExpressionPrinter } from './expressions.ts';
import { quotePlain } from './printer.ts';

const { group, hardline, indent, join, line } = builders;

export class ModelPrinter extends ExpressionPrinter {
  module(node: Module): Doc {
    const items = [...node.uses, ...node.declarations].sort((a, b) => a.span.start - b.span.start);
    const doc = this.with(node, () => this.lines(items.map((one) => ({ node: one, doc: this.declaration(one) }))));
    return node.comments.length === 0 && items.length === 0 ? '' : [doc, hardline];
  }

  private declaration(node: Use | Declaration): Doc {
    return this.with(node, () => {
      switch (node.kind) {
        case 'use':
          return this.use(node);
        case 'constant':
          return ['let ', this.name(node.name), ' =', this.assigned(node.value)];
        case 'function':
          return this.function(node);
        case 'layer':
          return this.layer(node);
        case 'optimizer':
          return this.optimizer(node);
        case 'data':
          return [
            'data ',
            this.name(node.name),
            this.parameters(node.parameters, node),
            ' =',
            this.assigned(node.body),
          ];
        case 'train':
          return [
            'train ',
            this.name(node.name),
            ' ',
            this.braces(
              node,
              node.entries.map((one) => ({ node: one, doc: this.entry(one) })),
              node.name.span.end,
            ),
          ];
        case 'test':
          return this.test(node);
      }
    });
  }

  private use(node: Use): Doc {
    const module = this.with(node.module, () => (node.module.isFile ? quotePlain(node.module.text) : node.module.text));
    const names = node.names.map(({ name, alias }) => [
      this.name(name),
      alias === undefined ? '' : [' as ', this.name(alias)],
    ]);
    if (names.length === 0) return ['use ', module, ' ', this.list('{', names, '}', node)];
    // Names are many and short: as many on a line as there is room for.
    const parts = names.flatMap((name, at): Doc[] => (at === names.length - 1 ? [name] : [[name, ','], line]));
    return [
      'use ',
      module,
      ' ',
      group(['{', indent([line, builders.fill(parts)]), builders.ifBreak(',', ''), line, '}']),
    ];
  }

  private hyper(parameters: readonly Parameter[], around: Node): Doc {
    return parameters.length === 0
      ? ''
      : this.list(
          '{',
          parameters.map((one) => this.parameter(one)),
          '}',
          around,
        );
  }

  private parameters(parameters: readonly Parameter[], around: Node): Doc {
    return parameters.length === 0
      ? ''
      : this.list(
          '(',
          parameters.map((one) => this.parameter(one)),
          ')',
          around,
        );
  }

  /** `= value` or `{ … }`. */
  private body(body: Expression): Doc {
    return body.kind === 'block' ? [' ', this.block(body, true)] : [' =', this.assigned(body)];
  }

  private function(node: FunctionDeclaration): Doc {
    const { signature } = node;
    const hasParameters = signature.parameters.length > 0;
    return [
      node.role,
      ' ',
      this.name(node.name),
      this.hyper(node.hyper, node),
      this.signature(signature, hasParameters),
      this.body(node.body),
    ];
  }

  private layer(node: LayerDeclaration): Doc {
    const items = [...node.members, ...(node.apply === undefined ? [] : [node.apply])].sort(
      (a, b) => a.span.start - b.span.start,
    );
    const docs = items.map((one) => ({ node: one, doc: this.member(one) }));
    const openAt = Math.max(node.name.span.end, ...node.hyper.map((one) => one.span.end));
    return [node.role, ' ', this.name(node.name), this.hyper(node.hyper, node), ' ', this.braces(node, docs, openAt)];
  }

  private member(node: LayerMember | Application): Doc {
    return this.with(node, () => {
      if (node.kind === 'bind') return [this.name(node.name), ' =', this.assigned(node.value)];
      if (node.kind === 'application') return [this.signature(node.signature, true), this.body(node.body)];
      const tag = node.tag === undefined ? '' : [' as ', this.name(node.tag)];
      return [node.role, ' ', this.name(node.name), ': ', this.type(node.type), ' =', this.assigned(node.init), tag];
    });
  }

  private optimizer(node: OptimizerDeclaration): Doc {
    const states = node.states.map((one) => [this.name(one.name), ' = ', this.expression(one.init)]);
    const state = states.length === 0 ? '' : [group(['state ', indent(join([',', line], states))]), hardline];
    const update = [
      this.list(
        '(',
        node.parameters.map((one) => this.parameter(one)),
        ')',
        node,
      ),
      ' ',
      this.block(node.body, true),
    ];
    return [
      'optimizer ',
      this.name(node.name),
      this.hyper(node.hyper, node),
      ' {',
      indent([hardline, state, update]),
      hardline,
      '}',
    ];
  }

  private test(node: TestDeclaration): Doc {
    const over = node.over.map((one) => [this.name(one.name), ' in ', this.expression(one.range)]);
    const ranges = over.length === 0 ? '' : group([' for ', indent(join([',', line], over))]);
    return ['test ', node.rejects ? 'rejects ' : '', quotePlain(node.name), ranges, ' ', this.block(node.body, true)];
  }

  // ------------------------------------------------------------------------------------------------ train blocks

  private entry(node: TrainEntry): Doc {
    return this.with(node, () => {
      switch (node.kind) {
        case 'setting': {
          const groups = node.groups.map((one) => ({ node: one, doc: this.group(one) }));
          const braces = groups.length === 0 ? '' : [' ', this.braces(node, groups, node.value.span.end)];
          return [this.name(node.name), ' =', this.assigned(node.value), braces];
        }
        case 'train-function':
          return [
            this.name(node.name),
            this.list(
              '(',
              node.parameters.map((one) => this.parameter(one)),
              ')',
              node,
            ),
            ' =',
            this.assigned(node.body),
          ];
        case 'eval': {
          const parameters = this.list(
            '(',
            node.parameters.map((one) => this.parameter(one)),
            ')',
            node,
          );
          return ['eval', parameters, ' over ', this.expression(node.over), ' =', this.assigned(node.body)];
        }
        case 'save':
          if (node.when.kind === 'last') return 'save last';
          if (node.when.kind === 'every') return ['save every ', this.expression(node.when.steps)];
          return [
            'save best ',
            node.when.order === 'min' ? 'min ' : '',
            this.withBehind(node.when.metric, node.when.metric.name),
          ];
        case 'load': {
          const rules = node.rules.map((one) => ({ node: one, doc: this.rule(one) }));
          return [
            'load ',
            this.expression(node.path),
            rules.length === 0 ? '' : [' ', this.braces(node, rules, node.path.span.end)],
          ];
        }
        case 'freeze': {
          const except = node.except.length === 0 ? '' : [' except ', this.selectors(node.except)];
          return ['freeze ', node.selectors.length === 0 ? 'all' : this.selectors(node.selectors), except];
        }
        case 'clip':
          return ['clip ', node.by, ' ', this.expression(node.limit)];
        case 'accumulate':
          return ['accumulate ', this.expression(node.steps)];
        case 'checkpoint':
          return ['checkpoint ', this.selectors(node.selectors)];
        case 'prune':
          return [
            'prune ',
            this.selectors(node.selectors),
            ' with ',
            this.expression(node.pruner),
            node.globally ? ' globally' : '',
            node.every === undefined ? '' : [' every ', this.expression(node.every)],
            node.rewind === undefined ? '' : [' rewind ', this.expression(node.rewind)],
          ];
        case 'quantize': {
          const group = node.weights?.group;
          return [
            'quantize ',
            this.selectors(node.selectors),
            ' to ',
            this.name(node.dtype),
            node.weights === undefined
              ? ''
              : [' weights', group === undefined ? '' : [' group ', this.expression(group)]],
            node.calibrate === undefined ? '' : [' calibrate ', this.expression(node.calibrate)],
          ];
        }
        case 'precision': {
          const storing = node.storing === undefined ? '' : [' storing ', this.name(node.storing)];
          const except = node.except.length === 0 ? '' : [' except ', this.selectors(node.except)];
          return [
            'precision = ',
            node.mixed ? ['mixed(', this.name(node.dtype), ')'] : this.name(node.dtype),
            storing,
            except,
          ];
        }
      }
    });
  }

  private group(node: ParameterGroup): Doc {
    return this.with(node, () => {
      const changes = node.settings.map((one) =>
        this.with(one, () => [one.name === undefined ? '' : [this.name(one.name), ' = '], this.expression(one.value)]),
      );
      return group([this.selectors(node.selectors), ' : ', indent(join([',', line], changes))]);
    });
  }

  private selectors(selectors: readonly Selector[]): Doc {
    return group(
      indent(
        join(
          [',', line],
          selectors.map((one) => this.selector(one)),
        ),
      ),
    );
  }

  private selector(node: Selector): Doc {
    return this.with(node, () => (node.kind === 'role' ? ['role(', node.text, ')'] : node.text.replaceAll(',', ', ')));
  }

  private rule(node: LoadRule): Doc {
    return this.with(node, () => {
      if (node.kind === 'map') return [quotePlain(node.from), ' -> ', this.selector(node.to)];
      return node.kind === 'skip' ? ['skip ', quotePlain(node.from)] : ['fresh ', this.selector(node.to)];
    });
  }
}
