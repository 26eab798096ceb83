/** The grammar of types and signatures. Each rule's EBNF stands above it; `model.ebnf` is made of these comments. */
import type {
  Block,
  DimExpression,
  Expression,
  Parameter,
  RecordTypeExpression,
  Signature,
  TypeExpression,
} from './ast.ts';
import { ParserBase } from './parser-base.ts';
import type { Rule } from './parser-base.ts';
import {
  Arrow,
  Bar,
  BraceClose,
  BraceOpen,
  Colon,
  Equal,
  MakeOpen,
  Name,
  ParenClose,
  ParenOpen,
  Rest,
  SquareClose,
  SquareOpen,
} from './tokens.ts';

export abstract class TypeParser extends ParserBase {
  protected abstract readonly expression: Rule<Expression>;
  protected abstract readonly block: Rule<Block>;
  /** A string in which braces are only braces: a name, a path, a choice. */
  protected abstract readonly plainText: Rule<string>;

  // ---------------------------------------------------------------------------------------------- types

  /** `type = choiceType | tupleType | recordType | namedType ;` */
  protected readonly type: Rule<TypeExpression> = this.rule('type', () =>
    this.choose(0, [
      { ALT: () => this.subrule(0, this.choiceType) },
      { ALT: () => this.subrule(0, this.tupleType) },
      { ALT: () => this.subrule(0, this.recordType) },
      { ALT: () => this.subrule(0, this.namedType) },
    ]),
  );

  /** `choiceType = plainText { "|" plainText } ;` */
  private readonly choiceType: Rule<TypeExpression> = this.rule('choiceType', () => {
    const start = this.start();
    const choices = [this.subrule(0, this.plainText)];
    this.many(0, () => {
      this.consume(0, Bar);
      choices.push(this.subrule(1, this.plainText));
    });
    return { kind: 'choice-type', choices, span: this.spanFrom(start) };
  });

  /** `tupleType = "(" [ type { "," type } [ "," ] ] ")" ;` */
  private readonly tupleType: Rule<TypeExpression> = this.rule('tupleType', () => {
    const start = this.start();
    this.consume(0, ParenOpen);
    const elements = this.list(this.type);
    this.consume(0, ParenClose);
    return { kind: 'tuple-type', elements, span: this.spanFrom(start) };
  });

  /** `recordType = "{" [ fieldType { "," fieldType } [ "," ] ] "}" ;` */
  private readonly recordType: Rule<TypeExpression> = this.rule('recordType', () => {
    const start = this.start();
    this.consume(0, BraceOpen);
    const fields = this.list(this.fieldType);
    this.consume(0, BraceClose);
    return { kind: 'record-type', fields, span: this.spanFrom(start) };
  });

  /** `fieldType = name ":" type ;` */
  private readonly fieldType: Rule<RecordTypeExpression['fields'][number]> = this.rule('fieldType', () => {
    const name = this.identifier(this.consume(0, Name));
    this.consume(0, Colon);
    return { name, type: this.subrule(0, this.type) };
  });

  /** `namedType = name [ "[" [ dim { "," dim } [ "," ] ] "]" ] ;` */
  private readonly namedType: Rule<TypeExpression> = this.rule('namedType', () => {
    const start = this.start();
    const name = this.identifier(this.consume(0, Name));
    const dims = this.option(0, {
      GATE: () => this.isSameLine(),
      DEF: () => {
        this.consume(0, SquareOpen);
        const dims = this.list(this.dim);
        this.consume(0, SquareClose);
        return dims;
      },
    });
    return this.ACTION((): TypeExpression => {
      const span = this.spanFrom(start);
      if (dims !== undefined) return { kind: 'tensor-type', dtype: name, dims, span };
      // A dtype alone is a scalar tensor; `bool` alone is left to the checker, since it is also a compile-time type.
      return /^(?:f|bf|i|u)\d+$/.test(name.name)
        ? { kind: 'tensor-type', dtype: name, span }
        : { kind: 'named-type', name, span };
    });
  });

  /** `dim = "..." | expression ;` (the name `_` alone asks for inference) */
  private readonly dim: Rule<DimExpression> = this.rule('dim', () => {
    const start = this.start();
    return this.choose(0, [
      {
        ALT: (): DimExpression => {
          this.consume(0, Rest);
          return { kind: 'rest', span: this.spanFrom(start) };
        },
      },
      {
        ALT: (): DimExpression => {
          const value = this.subrule(0, this.expression);
          return this.ACTION((): DimExpression => {
            const span = this.spanFrom(start);
            return value.kind === 'identifier' && value.name === '_'
              ? { kind: 'any', span }
              : { kind: 'dim', value, span };
          });
        },
      },
    ]);
  });

  // ---------------------------------------------------------------------------------------------- signatures

  /** `hyperparameters = "{" [ parameter { "," parameter } [ "," ] ] "}" ;` (the brace touches the name before it) */
  protected readonly hyperparameters: Rule<Parameter[]> = this.rule('hyperparameters', () => {
    this.consume(0, MakeOpen);
    const parameters = this.list(this.parameter);
    this.consume(0, BraceClose);
    return parameters;
  });

  /** `parameters = "(" [ parameter { "," parameter } [ "," ] ] ")" ;` */
  protected readonly parameters: Rule<Parameter[]> = this.rule('parameters', () => {
    this.consume(0, ParenOpen);
    const parameters = this.list(this.parameter);
    this.consume(0, ParenClose);
    return parameters;
  });

  /** `parameter = name [ ":" type ] [ "=" expression ] ;` */
  private readonly parameter: Rule<Parameter> = this.rule('parameter', () => {
    const start = this.start();
    const name = this.identifier(this.consume(0, Name));
    const type = this.option(0, () => {
      this.consume(0, Colon);
      return this.subrule(0, this.type);
    });
    const value = this.option(1, () => {
      this.consume(0, Equal);
      return this.subrule(0, this.expression);
    });
    return { name, ...(type && { type }), ...(value && { default: value }), span: this.spanFrom(start) };
  });

  /** `signature = [ parameters ] [ "->" type ] ;` */
  protected readonly signature: Rule<Signature> = this.rule('signature', () => {
    const start = this.start();
    const parameters = this.option(0, () => this.subrule(0, this.parameters)) ?? [];
    const result = this.option(1, () => {
      this.consume(0, Arrow);
      return this.subrule(0, this.type);
    });
    return { parameters, ...(result && { result }), span: this.spanFrom(start) };
  });

  /** `body = "=" expression | block ;` */
  protected readonly body: Rule<Expression> = this.rule('body', () =>
    this.choose(0, [
      {
        ALT: (): Expression => {
          this.consume(0, Equal);
          return this.subrule(0, this.expression);
        },
      },
      { ALT: (): Expression => this.subrule(0, this.block) },
    ]),
  );
}
