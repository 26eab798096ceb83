/** Prints types, expressions and statements. */
import { builders } from 'prettier/doc';
import type { Doc } from 'prettier';
import type {
  Argument,
  Block,
  DimExpression,
  Expect,
  Expression,
  Identifier,
  IndexItem,
  IndexVariable,
  Parameter,
  Signature,
  Statement,
  TypeExpression,
} from '../ast.ts';
import { precedence } from '../operators.ts';
import { chain } from './chain.ts';
import type { Node } from './comments.ts';
import { PrinterBase, quotePart, quotePlain } from './printer.ts';
import type { Item } from './printer.ts';

const { group, indent, join, line } = builders;

/** Binds tighter than any operator: names, calls, brackets. */
const atomic = 13;

/** How tightly an expression's outermost operator binds. */
function tightness(node: Expression): number {
  if (node.kind === 'pipe') return precedence['|>'];
  if (node.kind === 'binary') return precedence[node.operator];
  if (node.kind === 'unary') return node.operator === '-' ? precedence.negate : precedence.not;
  if (node.kind === 'range') return precedence['..'];
  if (node.kind === 'reduction') return precedence.reduction;
  // The last part of an `if` takes in everything behind it.
  return node.kind === 'if' ? 0 : atomic;
}

const isNumber = (node: Expression): boolean =>
  node.kind === 'number' || (node.kind === 'unary' && node.operator === '-' && node.operand.kind === 'number');

/** Numbers, and short lists of them, such as points. */
const isTabular = (node: Expression): boolean =>
  isNumber(node) ||
  ((node.kind === 'list' || node.kind === 'tuple') &&
    node.elements.length > 0 &&
    node.elements.length <= 4 &&
    node.elements.every(isNumber));

/** A line that begins with `-` would go on with the expression above it. */
function startsWithMinus(node: Expression): boolean {
  if (node.kind === 'unary') return node.operator === '-';
  if (node.kind === 'range') return startsWithMinus(node.from);
  if (node.kind !== 'binary' && node.kind !== 'pipe') return false;
  const [first] = chain(node).operands;
  return first !== undefined && tightness(first) >= tightness(node) && startsWithMinus(first);
}

const monoids = ['sum', 'max', 'min', 'mean', 'prod'];

export abstract class ExpressionPrinter extends PrinterBase {
  // ------------------------------------------------------------------------------------------------ types

  protected type(node: TypeExpression): Doc {
    return this.with(node, () => {
      switch (node.kind) {
        case 'named-type':
          return this.name(node.name);
        case 'choice-type':
          return join(' | ', node.choices.map(quotePlain));
        case 'tuple-type':
          return this.list(
            '(',
            node.elements.map((one) => this.type(one)),
            ')',
            node,
          );
        case 'record-type':
          return this.list(
            '{',
            node.fields.map((field) => [this.name(field.name), ': ', this.type(field.type)]),
            '}',
            node,
            line,
          );
        case 'tensor-type':
          return [
            this.name(node.dtype),
            node.dims === undefined
              ? ''
              : this.list(
                  '[',
                  node.dims.map((dim) => this.dim(dim)),
                  ']',
                  node,
                ),
          ];
      }
    });
  }

  private dim(node: DimExpression): Doc {
    return this.with(node, () =>
      node.kind === 'rest' ? '...' : node.kind === 'any' ? '_' : this.expression(node.value),
    );
  }

  protected signature(node: Signature, hasParameters: boolean): Doc {
    return this.with(node, () => {
      const parameters = node.parameters.map((one) => this.parameter(one));
      const list = hasParameters ? this.list('(', parameters, ')', node) : '';
      if (node.result === undefined) return list;
      const result = this.type(node.result);
      const oneLine = hasParameters && parameters.length > 0 ? ['(', join(', ', parameters), ')'] : list;
      // Too long for one line: the result goes to the next, if that is enough.
      return builders.conditionalGroup([
        [list, ' -> ', result],
        [oneLine, indent([builders.hardline, '-> ', result])],
        [list, ' -> ', result],
      ]);
    });
  }

  protected parameter(node: Parameter): Doc {
    return this.with(node, () => [
      this.name(node.name),
      node.type === undefined ? '' : [': ', this.type(node.type)],
      node.default === undefined ? '' : [' = ', this.expression(node.default)],
    ]);
  }

  protected name(node: Identifier): Doc {
    return this.with(node, () => node.name);
  }

  // ------------------------------------------------------------------------------------------------ expressions

  protected expression(node: Expression): Doc {
    return this.with(node, () => this.bare(node));
  }

  /** An operand that must bind at least so tight, in brackets if it does not. */
  private operand(node: Expression, least: number): Doc {
    return tightness(node) >= least ? this.expression(node) : ['(', this.expression(node), ')'];
  }

  private bare(node: Expression): Doc {
    switch (node.kind) {
      case 'number':
        return node.text;
      case 'bool':
        return String(node.value);
      case 'identifier':
        return node.name;
      case 'string':
        return [
          '"',
          node.parts.map((part) => (typeof part === 'string' ? quotePart(part) : ['{', this.flat(part), '}'])),
          '"',
        ];
      case 'binary':
      case 'pipe':
        return this.row(node, true);
      case 'unary':
        return node.operator === '-'
          ? ['-', this.operand(node.operand, precedence.negate)]
          : ['not ', this.operand(node.operand, precedence.not)];
      case 'range':
        return [this.operand(node.from, precedence['..'] + 1), '..', this.operand(node.to, precedence['..'] + 1)];
      case 'reduction': {
        const indices = this.indices(node.indices, node);
        const isAfterBracket = this.startsPlainly(node.body) && tightness(node.body) >= precedence['*'];
        return group([
          node.monoid,
          indices,
          indent([line, isAfterBracket ? this.expression(node.body) : ['(', this.expression(node.body), ')']]),
        ]);
      }
      case 'if':
        return this.ladder(node);
      case 'call':
        return [this.target(node.callee), this.arguments('(', node.arguments, ')', node)];
      case 'make':
        return [this.target(node.callee), this.arguments('{', node.arguments, '}', node)];
      case 'index': {
        const looksReduced =
          node.target.kind === 'identifier' &&
          monoids.includes(node.target.name) &&
          node.items.every((item) => item.kind === 'at' && item.value.kind === 'identifier');
        const target = looksReduced ? ['(', this.target(node.target), ')'] : this.target(node.target);
        return [
          target,
          this.list(
            '[',
            node.items.map((item) => this.indexItem(item)),
            ']',
            node,
          ),
        ];
      }
      case 'member':
        return [this.target(node.target), '.', this.name(node.name)];
      case 'tuple': {
        const [only] = node.elements;
        if (node.elements.length === 1 && only !== undefined) return ['(', this.expression(only), ',)'];
        return this.list(
          '(',
          node.elements.map((one) => this.expression(one)),
          ')',
          node,
        );
      }
      case 'list':
        if (node.elements.length > 0 && node.elements.every(isTabular)) return this.table(node.elements);
        return this.list(
          '[',
          node.elements.map((one) => this.expression(one)),
          ']',
          node,
        );
      case 'comprehension':
        return group([
          '[',
          indent([
            builders.softline,
            this.expression(node.element),
            line,
            'for ',
            this.name(node.name),
            ' in ',
            this.expression(node.over),
            node.condition === undefined ? '' : [line, 'if ', this.expression(node.condition)],
          ]),
          builders.softline,
          ']',
        ]);
      case 'record':
        return this.list(
          '{',
          node.fields.map((field) => this.field(field)),
          '}',
          node,
          line,
        );
      case 'block':
        return this.bareBlock(node, false);
      case 'scan': {
        const names = node.sequences.map((one) => this.name(one));
        const sequences = names.length === 1 ? names : ['(', join(', ', names), ')'];
        const carried = node.carried.map((one) => [this.name(one.name), ' = ', this.expression(one.init)]);
        const parts = carried.length === 0 ? '' : [' with', group(indent([line, join([',', line], carried)]))];
        return [
          'scan ',
          node.reverse ? 'reverse ' : '',
          sequences,
          ' over ',
          this.expression(node.over),
          parts,
          ' ',
          this.block(node.body, true),
        ];
      }
    }
  }

  /** `[1, 2, 3, …]`: as many on a line as there is room for. */
  private table(elements: readonly Expression[]): Doc {
    const parts = elements.flatMap((one, at): Doc[] => {
      const isLast = at === elements.length - 1;
      return isLast ? [this.expression(one)] : [[this.expression(one), ','], line];
    });
    return group([
      '[',
      indent([builders.softline, builders.fill(parts)]),
      builders.ifBreak(',', ''),
      builders.softline,
      ']',
    ]);
  }

  /** Holes stay on one line: a string may not be broken. */
  private flat(node: Expression): Doc {
    return builders.conditionalGroup([this.expression(node)]);
  }

  /** What `(…)`, `{…}`, `[…]` or `.` stand behind. */
  private target(node: Expression): Doc {
    const kinds = ['identifier', 'call', 'make', 'index', 'member', 'list', 'comprehension', 'tuple'];
    return kinds.includes(node.kind) ? this.expression(node) : ['(', this.expression(node), ')'];
  }

  /** Behind `sum[i]` only a name, a number or a bracket shows that a reduction begins. */
  private startsPlainly(node: Expression): boolean {
    switch (node.kind) {
      case 'number':
      case 'identifier':
      case 'tuple':
      case 'reduction':
        return true;
      case 'binary':
        return this.startsPlainly(chain(node).operands[0] ?? node.right);
      case 'call':
      case 'make':
        return this.startsPlainly(node.callee);
      case 'index':
      case 'member':
        return this.startsPlainly(node.target);
      case 'list':
      case 'comprehension':
      case 'string':
      case 'bool':
      case 'record':
      case 'block':
      case 'scan':
      case 'range':
      case 'unary':
      case 'pipe':
      case 'if':
        // Those that need brackets here get them, and then begin with one.
        return tightness(node) < precedence['*'] || (node.kind !== 'unary' && tightness(node) < atomic);
    }
  }

  /** `a + b - c`; broken, each operator begins a line. */
  protected row(node: Expression, isIndented: boolean): Doc {
    const { operands, operators } = chain(node);
    const [first, ...others] = operands;
    if (first === undefined) throw new Error('a row without operands');
    const level = tightness(node);
    const isPower = node.kind === 'binary' && node.operator === '^';
    const printed = others.map((operand, at): Doc => {
      const isLast = at === others.length - 1;
      const least = isPower ? (isLast ? level : level + 1) : level + 1;
      const isNegation = isPower && isLast && operand.kind === 'unary' && operand.operator === '-';
      return [line, operators[at] ?? '', ' ', this.operand(operand, isNegation ? 0 : least)];
    });
    const isComparison = node.kind === 'binary' && level === precedence['=='];
    const start = this.operand(first, isPower || isComparison ? level + 1 : level);
    return group([start, isIndented ? indent(printed) : printed]);
  }

  /** Broken, each `then` on its own line; a branch that is a block keeps its brace beside the word instead. */
  private ladder(node: Expression): Doc {
    const { operands } = chain(node);
    const hasBlock = operands.some((operand) => operand.kind === 'block');
    const gap = hasBlock ? ' ' : line;
    const parts: Doc[] = [];
    for (let at = 0; at + 1 < operands.length; at += 2) {
      const condition = operands[at];
      const value = operands[at + 1];
      if (condition === undefined || value === undefined) break;
      const then = [gap, 'then ', this.expression(value)];
      parts.push(at === 0 ? 'if ' : [gap, 'else if '], this.expression(condition), hasBlock ? then : indent(then));
    }
    const last = operands[operands.length - 1];
    if (last !== undefined) parts.push(gap, 'else ', this.expression(last));
    return group(parts);
  }

  private arguments(open: string, items: readonly Argument[], close: string, around: Node): Doc {
    const docs = items.map((item) =>
      this.with(item, () =>
        item.name === undefined
          ? this.expression(item.value)
          : [this.name(item.name), ': ', this.expression(item.value)],
      ),
    );
    const [only] = items;
    const isHugged =
      items.length === 1 && only?.name === undefined && (only?.value.kind === 'list' || only?.value.kind === 'record');
    return isHugged ? [open, docs, close] : this.list(open, docs, close, around);
  }

  private field(field: { readonly name: Identifier; readonly value: Expression }): Doc {
    const isShort = field.value.kind === 'identifier' && field.value.name === field.name.name;
    if (field.value === field.name) return this.name(field.name);
    return isShort
      ? [this.name(field.name), this.onlyComments(field.value)]
      : [this.name(field.name), ': ', this.expression(field.value)];
  }

  /** The comments of a node whose text is not printed. */
  private onlyComments(node: Node): Doc {
    return this.with(node, () => '');
  }

  private indexItem(item: IndexItem): Doc {
    return this.with(item, () =>
      item.kind === 'rest' ? '...' : item.kind === 'all' ? ':' : this.expression(item.value),
    );
  }

  private indices(indices: readonly IndexVariable[], around: Node): Doc {
    const docs = indices.map((one) =>
      this.with(one, () => [this.name(one.name), one.range === undefined ? '' : [' in ', this.expression(one.range)]]),
    );
    return this.list('[', docs, ']', around);
  }

  /** What stands behind a `=`: on the same line, or all of it below. */
  protected assigned(value: Expression): Doc {
    const hasBlock = value.kind === 'if' && chain(value).operands.some((operand) => operand.kind === 'block');
    const isRow = !hasBlock && ['binary', 'pipe', 'unary', 'range', 'reduction', 'if', 'string'].includes(value.kind);
    if (!isRow) return [' ', this.expression(value)];
    const doc = this.with(value, () =>
      value.kind === 'binary' || value.kind === 'pipe' ? this.row(value, false) : this.bare(value),
    );
    return group(indent([line, doc]));
  }

  // ------------------------------------------------------------------------------------------------ statements

  /** `isBody` where braces can only be a block; elsewhere `{ x }` would be a record. */
  protected block(node: Block, isBody: boolean): Doc {
    return this.with(node, () => this.bareBlock(node, isBody));
  }

  private bareBlock(node: Block, isBody: boolean): Doc {
    const items: Item[] = node.statements.map((one) => ({ node: one, doc: this.statement(one) }));
    const { result } = node;
    if (result !== undefined) {
      const doc = this.expression(result);
      const looksRecord = !isBody && items.length === 0 && result.kind === 'identifier';
      const looksContinued = items.length > 0 && startsWithMinus(result);
      items.push({ node: result, doc: looksRecord || looksContinued ? ['(', doc, ')'] : doc });
    }
    return this.braces(node, items, node.span.start);
  }

  private statement(node: Statement): Doc {
    return this.with(node, () => {
      switch (node.kind) {
        case 'let': {
          const names = node.names.map((one) => this.name(one));
          const left = names.length === 1 ? names : this.list('(', names, ')', node);
          const indices = node.indices === undefined ? '' : this.indices(node.indices, node);
          return ['let ', left, indices, ' =', this.assigned(node.value)];
        }
        case 'assign':
          return [this.expression(node.target), ' <-', this.assigned(node.value)];
        case 'yield':
          return ['yield ', this.expression(node.value)];
        case 'expect':
          return ['expect ', this.condition(node)];
        case 'gradcheck':
          return [
            'gradcheck ',
            this.expression(node.target),
            ' at ',
            group(
              indent(
                join(
                  [',', line],
                  node.at.map((one) => this.type(one)),
                ),
              ),
            ),
          ];
        case 'train': {
          const one = (count: Expression, word: string, words: string): Doc => [
            this.expression(count),
            ' ',
            count.kind === 'number' && count.value === 1 ? word : words,
          ];
          const batches = node.batches === undefined ? '' : [' on ', one(node.batches, 'batch', 'batches')];
          const expects = node.expects.map((expect, at) => ({
            node: expect,
            doc: this.with(expect, () => this.condition(expect, at > 0)),
          }));
          const openAt = node.steps.span.end;
          return [
            'train ',
            this.name(node.name),
            batches,
            ' for ',
            one(node.steps, 'step', 'steps'),
            ' ',
            this.braces(node, expects, openAt),
          ];
        }
      }
    });
  }

  private condition(node: Expect, isContinuing = false): Doc {
    const { comparison } = node;
    const operator = comparison?.operator;
    const level = operator === undefined ? 0 : operator === '≈' ? 0 : precedence[operator] + 1;
    // A bare comparison in brackets would be taken for the one that is expected; below `≈` it is only a value.
    const least = isContinuing && startsWithMinus(node.left) ? atomic + 1 : level;
    const left = comparison === undefined && least === 0 ? this.expression(node.left) : this.operand(node.left, least);
    const right = comparison === undefined ? '' : [line, operator ?? '', ' ', this.operand(comparison.right, level)];
    const within = node.within === undefined ? '' : [line, 'within ', this.expression(node.within)];
    return group([left, indent([right, within])]);
  }
}
