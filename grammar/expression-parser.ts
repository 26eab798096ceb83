/** The grammar of expressions. Each rule's EBNF stands above it; `model.ebnf` is made of these comments. */
import type {
  Argument,
  Comprehension,
  Expression,
  Identifier,
  IndexItem,
  IndexVariable,
  RecordExpression,
  Scan,
} from './ast.ts';
import { decodeText } from './lex.ts';
import { buildExpression } from './operators.ts';
import type { InfixOperator, RowItem } from './operators.ts';
import type { Rule } from './parser-base.ts';
import {
  BraceClose,
  BraceOpen,
  Colon,
  Comma,
  Dot,
  Else,
  Equal,
  False,
  For,
  If,
  In,
  infixTokens,
  Into,
  MakeOpen,
  Max,
  Mean,
  Min,
  Minus,
  Name,
  Not,
  NumberToken,
  Over,
  ParenClose,
  ParenOpen,
  Prod,
  Rest,
  Reverse,
  Scan as ScanToken,
  SquareClose,
  SquareOpen,
  Star,
  Sum,
  Text,
  TextHead,
  TextMiddle,
  TextTail,
  Then,
  True,
  With,
} from './tokens.ts';
import { TypeParser } from './type-parser.ts';

export abstract class ExpressionParser extends TypeParser {
  /** Made once: an expression is read very often. */
  private readonly infixes = infixTokens.map((type, at) => ({ ALT: () => this.consume(at, type) }));

  /**
   * `expression = { prefix } operand { infix { prefix } operand } ;`
   * `infix = "|>" | "per" | "or" | "and" | "==" | "!=" | "<=" | ">=" | "<" | ">" | ".." | "+" | "-" | "*" | "/" | "%" | "@" | "^" ;`
   */
  protected readonly expression: Rule<Expression> = this.rule('expression', () => {
    const row: RowItem[] = [];
    this.many(0, { GATE: () => this.isPrefix(), DEF: () => row.push(this.subrule(0, this.prefix)) });
    row.push({ kind: 'operand', expression: this.subrule(0, this.operand) });
    this.many(1, {
      // In a row of selectors `decay = 0` may be followed by a line that begins with `*.bias`.
      GATE: () => !(this.isNext(1, Star) && this.isNext(2, Dot)),
      DEF: () => {
        const token = this.choose(0, this.infixes);
        row.push(
          this.ACTION(() => ({ kind: 'infix', operator: token.image as InfixOperator, span: this.tokenSpan(token) })),
        );
        this.many(2, { GATE: () => this.isPrefix(), DEF: () => row.push(this.subrule(1, this.prefix)) });
        row.push({ kind: 'operand', expression: this.subrule(1, this.operand) });
      },
    });
    return this.ACTION(() => buildExpression(row, (error) => this.problems.push(error)));
  });

  /** `prefix = "-" | "not" | ( "sum" | "max" | "min" | "mean" | "prod" ) indices ;` (a reduction only where an operand follows) */
  private readonly prefix: Rule<RowItem> = this.rule('prefix', () => {
    const start = this.start();
    const sign = (at: number, operator: '-' | 'not') => ({
      ALT: (): RowItem => {
        this.consume(at, operator === '-' ? Minus : Not);
        return { kind: 'prefix', operator, span: this.spanFrom(start) };
      },
    });
    const reduce = (at: number, type: typeof Sum, monoid: 'sum' | 'max' | 'min' | 'mean' | 'prod') => ({
      ALT: (): RowItem => {
        this.consume(at, type);
        return { kind: 'reduce', monoid, indices: this.subrule(at, this.indices), span: this.spanFrom(start) };
      },
    });
    return this.choose(0, [
      sign(0, '-'),
      sign(1, 'not'),
      reduce(2, Sum, 'sum'),
      reduce(3, Max, 'max'),
      reduce(4, Min, 'min'),
      reduce(5, Mean, 'mean'),
      reduce(6, Prod, 'prod'),
    ]);
  });

  private isPrefix(): boolean {
    return this.isNext(1, Minus, Not) || (this.isNext(1, Sum, Max, Min, Mean, Prod) && this.isReduction());
  }

  /** `sum[u, v in 0..k]` with an operand behind the bracket; else `sum` is a name. */
  private isReduction(): boolean {
    if (!this.isNext(2, SquareOpen) || this.LA(2).startOffset !== this.LA(1).startOffset + this.LA(1).image.length)
      return false;
    let at = 3;
    const inside = this.LA(3).payload;
    for (let isStart = true; ; at++) {
      const token = this.LA(at);
      if (Number.isNaN(token.startOffset)) return false;
      if (this.isNext(at, SquareClose) && token.payload !== inside) break;
      if (
        isStart &&
        !(
          this.isNext(at, Name, Rest) &&
          (this.isNext(at + 1, Comma, In) || (this.isNext(at + 1, SquareClose) && this.LA(at + 1).payload !== inside))
        )
      )
        return false;
      isStart = this.isNext(at, Comma) && token.payload === inside;
    }
    if (at === 3) return false;
    if (this.isNext(at + 1, Name)) return !this.isNext(at + 2, Into, Equal);
    return this.isNext(at + 1, NumberToken, ParenOpen, If, Not);
  }

  /** `operand = number | string | "true" | "false" | conditional | scan | record | block | atom { postfix } ;` */
  private readonly operand: Rule<Expression> = this.rule('operand', () => {
    const start = this.start();
    return this.choose(0, [
      {
        ALT: (): Expression => {
          const token = this.consume(0, NumberToken);
          return this.ACTION((): Expression => ({
            kind: 'number',
            value: Number(token.image.replaceAll('_', '')),
            isInteger: /^[\d_]+$/.test(token.image),
            text: token.image,
            span: this.tokenSpan(token),
          }));
        },
      },
      { ALT: (): Expression => this.subrule(0, this.string) },
      {
        ALT: (): Expression => {
          this.consume(0, True);
          return { kind: 'bool', value: true, span: this.spanFrom(start) };
        },
      },
      {
        ALT: (): Expression => {
          this.consume(0, False);
          return { kind: 'bool', value: false, span: this.spanFrom(start) };
        },
      },
      { ALT: (): Expression => this.subrule(0, this.conditional) },
      { ALT: (): Expression => this.subrule(0, this.scan) },
      { GATE: () => this.isRecord(), IGNORE_AMBIGUITIES: true, ALT: (): Expression => this.subrule(0, this.record) },
      { ALT: (): Expression => this.subrule(0, this.block) },
      {
        ALT: (): Expression => {
          let target = this.subrule(0, this.atom);
          this.many(0, {
            GATE: () => !this.isNext(1, ParenOpen, SquareOpen) || this.isSameLine(),
            DEF: () => {
              const postfix = this.subrule(0, this.postfix);
              target = this.ACTION((): Expression => ({ ...postfix(target), span: this.spanFrom(start) }));
            },
          });
          return target;
        },
      },
    ]);
  });

  /** `atom = name | parenthesized | listOrComprehension ;` */
  private readonly atom: Rule<Expression> = this.rule('atom', () =>
    this.choose(0, [
      { ALT: (): Expression => this.identifier(this.consume(0, Name)) },
      { ALT: (): Expression => this.subrule(0, this.parenthesized) },
      { ALT: (): Expression => this.subrule(0, this.listOrComprehension) },
    ]),
  );

  /** `postfix = arguments | make | index | "." name ;` (`(` and `[` on the same line, `{` touching the name before it) */
  private readonly postfix: Rule<(target: Expression) => Expression> = this.rule('postfix', () =>
    this.choose(0, [
      {
        ALT: () => {
          const args = this.subrule(0, this.arguments);
          return (callee: Expression): Expression => ({ kind: 'call', callee, arguments: args, span: callee.span });
        },
      },
      {
        ALT: () => {
          const args = this.subrule(0, this.make);
          return (callee: Expression): Expression => ({ kind: 'make', callee, arguments: args, span: callee.span });
        },
      },
      {
        ALT: () => {
          const items = this.subrule(0, this.index);
          return (target: Expression): Expression => ({ kind: 'index', target, items, span: target.span });
        },
      },
      {
        ALT: () => {
          this.consume(0, Dot);
          const name = this.identifier(this.consume(0, Name));
          return (target: Expression): Expression => ({ kind: 'member', target, name, span: target.span });
        },
      },
    ]),
  );

  /** `arguments = "(" [ argument { "," argument } [ "," ] ] ")" ;` */
  private readonly arguments: Rule<Argument[]> = this.rule('arguments', () => {
    this.consume(0, ParenOpen);
    const items = this.list(this.argument);
    this.consume(0, ParenClose);
    return items;
  });

  /** `make = "{" [ argument { "," argument } [ "," ] ] "}" ;` */
  private readonly make: Rule<Argument[]> = this.rule('make', () => {
    this.consume(0, MakeOpen);
    const items = this.list(this.argument);
    this.consume(0, BraceClose);
    return items;
  });

  /** `argument = [ name ":" ] expression ;` */
  private readonly argument: Rule<Argument> = this.rule('argument', () => {
    const start = this.start();
    const name = this.option(0, {
      GATE: () => this.isNext(2, Colon),
      DEF: () => {
        const name = this.identifier(this.consume(0, Name));
        this.consume(0, Colon);
        return name;
      },
    });
    const value = this.subrule(0, this.expression);
    return { ...(name && { name }), value, span: this.spanFrom(start) };
  });

  /** `index = "[" [ indexItem { "," indexItem } [ "," ] ] "]" ;` */
  private readonly index: Rule<IndexItem[]> = this.rule('index', () => {
    this.consume(0, SquareOpen);
    const items = this.list(this.indexItem);
    this.consume(0, SquareClose);
    return items;
  });

  /** `indexItem = "..." | ":" | expression ;` */
  private readonly indexItem: Rule<IndexItem> = this.rule('indexItem', () => {
    const start = this.start();
    return this.choose(0, [
      {
        ALT: (): IndexItem => {
          this.consume(0, Rest);
          return { kind: 'rest', span: this.spanFrom(start) };
        },
      },
      {
        ALT: (): IndexItem => {
          this.consume(0, Colon);
          return { kind: 'all', span: this.spanFrom(start) };
        },
      },
      {
        ALT: (): IndexItem => {
          const value = this.subrule(0, this.expression);
          return { kind: 'at', value, span: this.spanFrom(start) };
        },
      },
    ]);
  });

  /** `indices = "[" [ indexVariable { "," indexVariable } [ "," ] ] "]" ;` */
  protected readonly indices: Rule<IndexVariable[]> = this.rule('indices', () => {
    this.consume(0, SquareOpen);
    const items = this.list(this.indexVariable);
    this.consume(0, SquareClose);
    return items;
  });

  /** `indexVariable = "..." | name [ "in" expression ] ;` */
  private readonly indexVariable: Rule<IndexVariable> = this.rule('indexVariable', () => {
    const start = this.start();
    return this.choose(0, [
      { ALT: (): IndexVariable => ({ name: this.identifier(this.consume(0, Rest)), span: this.spanFrom(start) }) },
      {
        ALT: (): IndexVariable => {
          const name = this.identifier(this.consume(0, Name));
          const range = this.option(0, () => {
            this.consume(0, In);
            return this.subrule(0, this.expression);
          });
          return { name, ...(range && { range }), span: this.spanFrom(start) };
        },
      },
    ]);
  });

  /** `parenthesized = "(" [ expression { "," expression } [ "," ] ] ")" ;` (one without a comma is that expression) */
  private readonly parenthesized: Rule<Expression> = this.rule('parenthesized', () => {
    const start = this.start();
    this.consume(0, ParenOpen);
    const elements = this.list(this.expression);
    const isTuple = this.isNext(0, Comma);
    this.consume(0, ParenClose);
    return this.ACTION((): Expression => {
      const span = this.spanFrom(start);
      const [only] = elements;
      if (only === undefined || elements.length > 1 || isTuple) return { kind: 'tuple', elements, span };
      // The brackets belong to what an error points at; a string's place stays its own text's.
      return only.kind === 'string' ? only : { ...only, span };
    });
  });

  /** `listOrComprehension = "[" [ expression ( comprehension | { "," expression } [ "," ] ) ] "]" ;` */
  private readonly listOrComprehension: Rule<Expression> = this.rule('listOrComprehension', () => {
    const start = this.start();
    const elements: Expression[] = [];
    this.consume(0, SquareOpen);
    const comprehension = this.option(0, () => {
      elements.push(this.subrule(0, this.expression));
      return this.choose(0, [
        { ALT: () => this.subrule(0, this.comprehension) },
        {
          ALT: () => {
            this.many(0, {
              GATE: () => this.hasMoreItems(),
              DEF: () => {
                this.consume(0, Comma);
                elements.push(this.subrule(1, this.expression));
              },
            });
            this.option(1, () => this.consume(1, Comma));
            return undefined;
          },
        },
      ]);
    });
    this.consume(0, SquareClose);
    return this.ACTION((): Expression => {
      const span = this.spanFrom(start);
      const [element] = elements;
      return comprehension !== undefined && element !== undefined
        ? { kind: 'comprehension', element, ...comprehension, span }
        : { kind: 'list', elements, span };
    });
  });

  /** `comprehension = "for" name "in" expression [ "if" expression ] ;` */
  private readonly comprehension: Rule<Pick<Comprehension, 'name' | 'over' | 'condition'>> = this.rule(
    'comprehension',
    () => {
      this.consume(0, For);
      const name = this.identifier(this.consume(0, Name));
      this.consume(0, In);
      const over = this.subrule(0, this.expression);
      const condition = this.option(0, () => {
        this.consume(0, If);
        return this.subrule(1, this.expression);
      });
      return { name, over, ...(condition && { condition }) };
    },
  );

  /** `{ name: …`, `{ name, …`, `{ name }` and `{}` are records; all other braces are blocks. */
  private isRecord(): boolean {
    if (!this.isNext(1, BraceOpen)) return false;
    return this.isNext(2, BraceClose) || (this.isNext(2, Name) && this.isNext(3, Colon, Comma, BraceClose));
  }

  /** `record = "{" [ field { "," field } [ "," ] ] "}" ;` */
  private readonly record: Rule<Expression> = this.rule('record', () => {
    const start = this.start();
    this.consume(0, BraceOpen);
    const fields = this.list(this.field);
    this.consume(0, BraceClose);
    return { kind: 'record', fields, span: this.spanFrom(start) };
  });

  /** `field = name [ ":" expression ] ;` */
  private readonly field: Rule<RecordExpression['fields'][number]> = this.rule('field', () => {
    const name = this.identifier(this.consume(0, Name));
    const value = this.option(0, () => {
      this.consume(0, Colon);
      return this.subrule(0, this.expression);
    });
    return { name, value: value ?? name };
  });

  /** `conditional = "if" expression "then" expression { "else" "if" expression "then" expression } "else" expression ;` */
  private readonly conditional: Rule<Expression> = this.rule('conditional', () => {
    const arms: { start: number; condition: Expression; then: Expression }[] = [];
    const start = this.start();
    this.consume(0, If);
    const condition = this.subrule(0, this.expression);
    this.consume(0, Then);
    arms.push({ start, condition, then: this.subrule(1, this.expression) });
    // A loop, not recursion: a long ladder costs no stack.
    this.many(0, {
      GATE: () => this.isNext(2, If),
      DEF: () => {
        this.consume(0, Else);
        const start = this.start();
        this.consume(1, If);
        const condition = this.subrule(2, this.expression);
        this.consume(1, Then);
        arms.push({ start, condition, then: this.subrule(3, this.expression) });
      },
    });
    this.consume(1, Else);
    const last = this.subrule(4, this.expression);
    return this.ACTION(() =>
      arms.reduceRight(
        (otherwise, { start, condition, then }): Expression => ({
          kind: 'if',
          condition,
          then,
          else: otherwise,
          span: this.spanFrom(start),
        }),
        last,
      ),
    );
  });

  /** `string = text | textHead expression { textMiddle expression } textTail ;` */
  private readonly string: Rule<Expression> = this.rule('string', () => {
    const start = this.start();
    const parts: (string | Expression)[] = [];
    const add = (image: string): void => {
      const text = decodeText(image.slice(1, image.endsWith('"') || image.endsWith('{') ? -1 : undefined)) ?? '';
      if (text !== '') parts.push(text);
    };
    this.choose(0, [
      { ALT: () => add(this.consume(0, Text).image) },
      {
        ALT: () => {
          add(this.consume(0, TextHead).image);
          parts.push(this.subrule(0, this.expression));
          this.many(0, () => {
            add(this.consume(0, TextMiddle).image);
            parts.push(this.subrule(1, this.expression));
          });
          add(this.consume(0, TextTail).image);
        },
      },
    ]);
    return { kind: 'string', parts, span: this.spanFrom(start) };
  });

  /** `plainText = string ;` (as written: braces in it are only braces) */
  protected readonly plainText: Rule<string> = this.rule('plainText', () => {
    const start = this.start();
    this.subrule(0, this.string);
    return this.ACTION(() => decodeText(this.source.text.slice(start + 1, this.spanFrom(start).end - 1)) ?? '');
  });

  /** `scan = "scan" [ "reverse" ] sequences "over" expression [ "with" carried { "," carried } ] block ;` */
  private readonly scan: Rule<Expression> = this.rule('scan', () => {
    const start = this.start();
    const carried: Scan['carried'][number][] = [];
    this.consume(0, ScanToken);
    const reverse =
      this.option(0, { GATE: () => !this.isNext(2, Over), DEF: () => this.consume(0, Reverse) }) !== undefined;
    const sequences = this.subrule(0, this.sequences);
    this.consume(0, Over);
    const over = this.subrule(0, this.expression);
    this.option(1, () => {
      this.consume(0, With);
      carried.push(this.subrule(0, this.carried));
      this.many(0, () => {
        this.consume(0, Comma);
        carried.push(this.subrule(1, this.carried));
      });
    });
    const body = this.subrule(0, this.block);
    return { kind: 'scan', sequences, over, reverse, carried, body, span: this.spanFrom(start) };
  });

  /** `sequences = name | names ;` */
  private readonly sequences: Rule<Identifier[]> = this.rule('sequences', () =>
    this.choose(0, [
      { ALT: () => [this.identifier(this.consume(0, Name))] },
      { ALT: () => this.subrule(0, this.names) },
    ]),
  );

  /** `names = "(" name { "," name } [ "," ] ")" ;` */
  protected readonly names: Rule<Identifier[]> = this.rule('names', () => {
    this.consume(0, ParenOpen);
    const names = [this.identifier(this.consume(0, Name))];
    this.many(0, {
      GATE: () => this.hasMoreItems(),
      DEF: () => {
        this.consume(0, Comma);
        names.push(this.identifier(this.consume(1, Name)));
      },
    });
    this.option(0, () => this.consume(1, Comma));
    this.consume(0, ParenClose);
    return names;
  });

  /** `carried = name "=" expression ;` */
  protected readonly carried: Rule<Scan['carried'][number]> = this.rule('carried', () => {
    const name = this.identifier(this.consume(0, Name));
    this.consume(0, Equal);
    return { name, init: this.subrule(0, this.expression) };
  });
}
