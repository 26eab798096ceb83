/** The grammar of blocks and statements. Each rule's EBNF stands above it; `model.ebnf` is made of these comments. */
import { nearest } from '../common/nearest.ts';
import type {
  Block,
  Expect,
  Expression,
  GradCheck,
  Let,
  Statement,
  TrainStatement,
  TypeExpression,
  Yield,
} from './ast.ts';
import { ExpressionParser } from './expression-parser.ts';
import type { Rule } from './parser-base.ts';
import { syntaxError } from './syntax-error.ts';
import {
  At,
  BatchesWord,
  BatchWord,
  BraceClose,
  BraceOpen,
  Comma,
  Equal,
  Expect as ExpectToken,
  For,
  GradCheck as GradCheckToken,
  Into,
  Let as LetToken,
  Name,
  Nearly,
  On,
  StepsWord,
  StepWord,
  TrainWord,
  Within,
  Yield as YieldToken,
} from './tokens.ts';

/** `let a = 1, b = 2` is two statements; a value stands alone and is the block's result. */
type BlockItem = { readonly statements: readonly Statement[] } | { readonly value: Expression };

const comparisons = ['==', '!=', '<', '<=', '>', '>='] as const;

export abstract class StatementParser extends ExpressionParser {
  /** `block = "{" { statement [ ";" ] } "}" ;` (a value may stand only at its end) */
  protected readonly block: Rule<Block> = this.rule('block', () => {
    const start = this.start();
    this.consume(0, BraceOpen);
    const items = this.items(this.statement);
    this.consume(0, BraceClose);
    return this.ACTION((): Block => {
      const statements: Statement[] = [];
      let result: Expression | undefined;
      items.forEach((item, at) => {
        if ('statements' in item) statements.push(...item.statements);
        else if (at === items.length - 1) result = item.value;
        else this.reportUnused(item.value);
      });
      return { kind: 'block', statements, ...(result && { result }), span: this.spanFrom(start) };
    });
  });

  private reportUnused(value: Expression): void {
    const { start, end } = value.span;
    const message = 'Nothing is done with this value: only the last line of a block may be a value.';
    const meant =
      value.kind === 'identifier' ? nearest(value.name, ['yield', 'expect', 'gradcheck', 'train', 'let']) : undefined;
    const hint = meant === undefined ? 'Give it a name with `let`, or remove it.' : `Did you mean \`${meant}\`?`;
    this.problems.push(syntaxError('unused-value', message, this.source, start, end, hint));
  }

  /** `statement = let | yield | expect | gradcheck | trainStatement | assignmentOrValue ;` */
  private readonly statement: Rule<BlockItem> = this.rule('statement', () => {
    const one = (statement: Statement): BlockItem => ({ statements: [statement] });
    return this.choose(0, [
      { ALT: (): BlockItem => ({ statements: this.subrule(0, this.let) }) },
      { ALT: () => one(this.subrule(0, this.yield)) },
      { ALT: () => one(this.subrule(0, this.expect)) },
      { ALT: () => one(this.subrule(0, this.gradcheck)) },
      {
        GATE: () => this.isNext(1, TrainWord) && this.isNext(2, Name),
        IGNORE_AMBIGUITIES: true,
        ALT: () => one(this.subrule(0, this.trainStatement)),
      },
      { ALT: () => this.subrule(0, this.assignmentOrValue) },
    ]);
  });

  /** `let = "let" binding { "," binding } ;` */
  private readonly let: Rule<Let[]> = this.rule('let', () => {
    const start = this.start();
    this.consume(0, LetToken);
    const first = this.subrule(0, this.binding);
    const bindings = [this.ACTION((): Let => ({ ...first, span: { ...first.span, start } }))];
    this.many(0, () => {
      this.consume(0, Comma);
      bindings.push(this.subrule(1, this.binding));
    });
    return bindings;
  });

  /** `binding = ( name [ indices ] | names ) "=" expression ;` */
  private readonly binding: Rule<Let> = this.rule('binding', () => {
    const start = this.start();
    const { names, indices } = this.choose<Pick<Let, 'names' | 'indices'>>(0, [
      {
        ALT: () => {
          const name = this.identifier(this.consume(0, Name));
          const indices = this.option(0, () => this.subrule(0, this.indices));
          return { names: [name], ...(indices && { indices }) };
        },
      },
      { ALT: () => ({ names: this.subrule(0, this.names) }) },
    ]);
    this.consume(0, Equal);
    const value = this.subrule(0, this.expression);
    return { kind: 'let', names, ...(indices && { indices }), value, span: this.spanFrom(start) };
  });

  /** `yield = "yield" expression ;` */
  private readonly yield: Rule<Yield> = this.rule('yield', () => {
    const start = this.start();
    this.consume(0, YieldToken);
    const value = this.subrule(0, this.expression);
    return { kind: 'yield', value, span: this.spanFrom(start) };
  });

  /** `expect = "expect" condition ;` */
  private readonly expect: Rule<Expect> = this.rule('expect', () => {
    const start = this.start();
    this.consume(0, ExpectToken);
    const condition = this.subrule(0, this.condition);
    return this.ACTION((): Expect => ({ ...condition, span: this.spanFrom(start) }));
  });

  /** `condition = expression [ "≈" expression ] [ "within" expression ] ;` (a comparison at its top is the one that is expected) */
  private readonly condition: Rule<Expect> = this.rule('condition', () => {
    const start = this.start();
    const value = this.subrule(0, this.expression);
    const near = this.option(0, () => {
      this.consume(0, Nearly);
      return this.subrule(1, this.expression);
    });
    const within = this.option(1, () => {
      this.consume(0, Within);
      return this.subrule(2, this.expression);
    });
    return this.ACTION((): Expect => {
      const tolerance = within && { within };
      const span = this.spanFrom(start);
      if (near !== undefined)
        return { kind: 'expect', left: value, comparison: { operator: '≈', right: near }, ...tolerance, span };
      const operator = value.kind === 'binary' ? comparisons.find((one) => one === value.operator) : undefined;
      if (value.kind === 'binary' && operator !== undefined) {
        return { kind: 'expect', left: value.left, comparison: { operator, right: value.right }, ...tolerance, span };
      }
      return { kind: 'expect', left: value, ...tolerance, span };
    });
  });

  /** `gradcheck = "gradcheck" expression "at" type { "," type } ;` */
  private readonly gradcheck: Rule<GradCheck> = this.rule('gradcheck', () => {
    const start = this.start();
    this.consume(0, GradCheckToken);
    const target = this.subrule(0, this.expression);
    this.consume(0, At);
    const at: TypeExpression[] = [this.subrule(0, this.type)];
    this.many(0, () => {
      this.consume(0, Comma);
      at.push(this.subrule(1, this.type));
    });
    return { kind: 'gradcheck', target, at, span: this.spanFrom(start) };
  });

  /** `trainStatement = "train" name [ "on" expression ( "batch" | "batches" ) ] "for" expression ( "step" | "steps" ) "{" { condition [ ";" ] } "}" ;` */
  private readonly trainStatement: Rule<TrainStatement> = this.rule('trainStatement', () => {
    const start = this.start();
    this.consume(0, TrainWord);
    const name = this.identifier(this.consume(0, Name));
    const batches = this.option(0, () => {
      this.consume(0, On);
      const count = this.subrule(0, this.expression);
      this.choose(0, [{ ALT: () => this.consume(0, BatchWord) }, { ALT: () => this.consume(0, BatchesWord) }]);
      return count;
    });
    this.consume(0, For);
    const steps = this.subrule(1, this.expression);
    this.choose(1, [{ ALT: () => this.consume(0, StepWord) }, { ALT: () => this.consume(0, StepsWord) }]);
    this.consume(0, BraceOpen);
    const expects = this.items(this.condition);
    this.consume(0, BraceClose);
    return { kind: 'train', name, ...(batches && { batches }), steps, expects, span: this.spanFrom(start) };
  });

  /** `assignmentOrValue = expression [ "<-" expression ] ;` */
  private readonly assignmentOrValue: Rule<BlockItem> = this.rule('assignmentOrValue', () => {
    const start = this.start();
    const left = this.subrule(0, this.expression);
    const value = this.option(0, () => {
      this.consume(0, Into);
      return this.subrule(1, this.expression);
    });
    return this.ACTION((): BlockItem => {
      if (value === undefined) return { value: left };
      if (left.kind === 'identifier' || left.kind === 'member') {
        return { statements: [{ kind: 'assign', target: left, value, span: this.spanFrom(start) }] };
      }
      const message = 'Only a name, or a member of an instance, can be given a next value with `<-`.';
      const hint = 'For "less than minus" write `a < -b`, with a space.';
      this.problems.push(syntaxError('assignment-target', message, this.source, left.span.start, left.span.end, hint));
      return { statements: [] };
    });
  });
}
