/** The grammar of files and declarations. Each rule's EBNF stands above it; `model.ebnf` is made of these comments. */
import type { IToken } from 'chevrotain';
import type { Source } from '../compiler/base/source.ts';
import type {
  Application,
  Comment,
  ConstantDeclaration,
  DataDeclaration,
  Declaration,
  FunctionDeclaration,
  LayerDeclaration,
  LayerMember,
  Module,
  OptimizerDeclaration,
  TestDeclaration,
  TrainDeclaration,
  Use,
} from './ast.ts';
import { explainException } from './explain.ts';
import type { Rule } from './parser-base.ts';
import { syntaxError } from './syntax-error.ts';
import type { SyntaxError } from './syntax-error.ts';
import {
  Arrow,
  As,
  BraceClose,
  BraceOpen,
  Buffer,
  Colon,
  Comma,
  declarationWords as Declare,
  Dot,
  Equal,
  For,
  In,
  Let,
  Name,
  Param,
  Rejects,
  Semicolon,
  State,
} from './tokens.ts';
import { TrainParser } from './train-parser.ts';

export class ModelParser extends TrainParser {
  /** Checking the grammar itself takes time and is a test's business; a program skips it. */
  constructor(skipValidations = true) {
    super(skipValidations);
    this.performSelfAnalysis();
  }

  /** Reads tokens whose brackets balance. */
  read(source: Source, tokens: IToken[], comments: readonly Comment[]): { module: Module; errors: SyntaxError[] } {
    this.open(source, tokens, comments);
    const module = this.module();
    return { module, errors: [...this.errors.map((error) => explainException(error, source)), ...this.problems] };
  }

  /** `module = { declaration [ ";" ] } ;` */
  readonly module: Rule<Module> = this.rule('module', () => {
    const items = this.items(this.declaration);
    return this.ACTION((): Module => ({
      kind: 'module',
      uses: items.filter((item) => item.kind === 'use'),
      declarations: items.filter((item) => item.kind !== 'use'),
      comments: this.allComments(),
      span: { source: this.source, start: 0, end: this.source.text.length },
    }));
  });

  /** `declaration = use | constant | function | layer | optimizer | data | train | test ;` */
  private readonly declaration: Rule<Use | Declaration> = this.rule('declaration', () => {
    const start = this.start();
    const item = this.choose(0, [
      { ALT: (): Use | Declaration => this.subrule(0, this.use) },
      { ALT: (): Use | Declaration => this.subrule(0, this.constant) },
      { ALT: (): Use | Declaration => this.subrule(0, this.function) },
      { ALT: (): Use | Declaration => this.subrule(0, this.layer) },
      { ALT: (): Use | Declaration => this.subrule(0, this.optimizer) },
      { ALT: (): Use | Declaration => this.subrule(0, this.data) },
      { ALT: (): Use | Declaration => this.subrule(0, this.train) },
      { ALT: (): Use | Declaration => this.subrule(0, this.test) },
    ]);
    return this.ACTION(() => (item.kind === 'use' ? item : { ...item, ...this.docBefore(start) }));
  });

  /** `use = "use" ( plainText | name { "." name } ) "{" [ usedName { "," usedName } [ "," ] ] "}" ;` */
  private readonly use: Rule<Use> = this.rule('use', () => {
    const start = this.start();
    this.consume(0, Declare.use);
    const begin = this.start();
    const module = this.choose(0, [
      { ALT: () => ({ text: this.subrule(0, this.plainText), isFile: true }) },
      {
        ALT: () => {
          let text = this.consume(0, Name).image;
          this.many(0, () => {
            this.consume(0, Dot);
            text += `.${this.consume(1, Name).image}`;
          });
          return { text, isFile: false };
        },
      },
    ]);
    const span = this.spanFrom(begin);
    this.consume(0, BraceOpen);
    const names = this.list(this.usedName);
    this.consume(0, BraceClose);
    return { kind: 'use', module: { ...module, span }, names, span: this.spanFrom(start) };
  });

  /** `usedName = name [ "as" name ] ;` */
  private readonly usedName: Rule<Use['names'][number]> = this.rule('usedName', () => {
    const name = this.identifier(this.consume(0, Name));
    const alias = this.option(0, () => {
      this.consume(0, As);
      return this.identifier(this.consume(1, Name));
    });
    return { name, ...(alias && { alias }) };
  });

  /** `constant = "let" name "=" expression ;` */
  private readonly constant: Rule<ConstantDeclaration> = this.rule('constant', () => {
    const start = this.start();
    this.consume(0, Let);
    const name = this.identifier(this.consume(0, Name));
    this.consume(0, Equal);
    const value = this.subrule(0, this.expression);
    return { kind: 'constant', name, value, span: this.spanFrom(start) };
  });

  /** `function = ( "fn" | "loss" | "metric" | "schedule" | "init" ) name [ hyperparameters ] signature body ;` */
  private readonly function: Rule<FunctionDeclaration> = this.rule('function', () => {
    const start = this.start();
    const role = this.choose(
      0,
      (['fn', 'loss', 'metric', 'schedule', 'init'] as const).map((role) => ({
        ALT: (): FunctionDeclaration['role'] => {
          this.consume(0, Declare[role]);
          return role;
        },
      })),
    );
    const name = this.identifier(this.consume(0, Name));
    const hyper = this.option(0, () => this.subrule(0, this.hyperparameters)) ?? [];
    const signature = this.subrule(0, this.signature);
    const body = this.subrule(0, this.body);
    return { kind: 'function', role, name, hyper, signature, body, span: this.spanFrom(start) };
  });

  /** `layer = ( "layer" | "model" ) name [ hyperparameters ] "{" { member [ ";" ] } "}" ;` */
  private readonly layer: Rule<LayerDeclaration> = this.rule('layer', () => {
    const start = this.start();
    const role = this.choose(
      0,
      (['layer', 'model'] as const).map((role) => ({
        ALT: (): LayerDeclaration['role'] => {
          this.consume(0, Declare[role]);
          return role;
        },
      })),
    );
    const name = this.identifier(this.consume(0, Name));
    const hyper = this.option(0, () => this.subrule(0, this.hyperparameters)) ?? [];
    this.consume(0, BraceOpen);
    const items = this.items(this.member);
    this.consume(0, BraceClose);
    return this.ACTION((): LayerDeclaration => {
      const members = items.filter((item) => item.kind !== 'application');
      const [apply, second] = items.filter((item) => item.kind === 'application');
      if (second !== undefined) {
        const message = 'A layer is applied in one way, and this one already says how.';
        this.problems.push(
          syntaxError('duplicate-application', message, this.source, second.span.start, second.signature.span.end),
        );
      }
      return { kind: 'layer', role, name, hyper, members, ...(apply && { apply }), span: this.spanFrom(start) };
    });
  });

  /** `member = param | bind | application ;` */
  private readonly member: Rule<LayerMember | Application> = this.rule('member', () => {
    const start = this.start();
    const item = this.choose(0, [
      {
        GATE: () => this.isNext(2, Name),
        IGNORE_AMBIGUITIES: true,
        ALT: (): LayerMember | Application => this.subrule(0, this.param),
      },
      { ALT: (): LayerMember | Application => this.subrule(0, this.bind) },
      { ALT: (): LayerMember | Application => this.subrule(0, this.application) },
    ]);
    return this.ACTION(() => (item.kind === 'application' ? item : { ...item, ...this.docBefore(start) }));
  });

  /** `param = ( "param" | "buffer" ) name ":" type "=" expression [ "as" name ] ;` */
  private readonly param: Rule<LayerMember> = this.rule('param', () => {
    const start = this.start();
    const role = this.choose(0, [
      {
        ALT: (): 'param' | 'buffer' => {
          this.consume(0, Param);
          return 'param';
        },
      },
      {
        ALT: (): 'param' | 'buffer' => {
          this.consume(0, Buffer);
          return 'buffer';
        },
      },
    ]);
    const name = this.identifier(this.consume(0, Name));
    this.consume(0, Colon);
    const type = this.subrule(0, this.type);
    this.consume(0, Equal);
    const init = this.subrule(0, this.expression);
    const tag = this.option(0, () => {
      this.consume(0, As);
      return this.identifier(this.consume(1, Name));
    });
    return { kind: 'param', role, name, type, init, ...(tag && { tag }), span: this.spanFrom(start) };
  });

  /** `bind = name "=" expression ;` */
  private readonly bind: Rule<LayerMember> = this.rule('bind', () => {
    const start = this.start();
    const name = this.identifier(this.consume(0, Name));
    this.consume(0, Equal);
    const value = this.subrule(0, this.expression);
    return { kind: 'bind', name, value, span: this.spanFrom(start) };
  });

  /** `application = parameters [ "->" type ] body ;` */
  private readonly application: Rule<Application> = this.rule('application', () => {
    const start = this.start();
    const parameters = this.subrule(0, this.parameters);
    const result = this.option(0, () => {
      this.consume(0, Arrow);
      return this.subrule(0, this.type);
    });
    const span = this.spanFrom(start);
    const body = this.subrule(0, this.body);
    return {
      kind: 'application',
      signature: { parameters, ...(result && { result }), span },
      body,
      span: this.spanFrom(start),
    };
  });

  /** `optimizer = "optimizer" name [ hyperparameters ] "{" { "state" carried { "," carried } [ ";" ] } parameters block "}" ;` */
  private readonly optimizer: Rule<OptimizerDeclaration> = this.rule('optimizer', () => {
    const start = this.start();
    const states: OptimizerDeclaration['states'][number][] = [];
    this.consume(0, Declare.optimizer);
    const name = this.identifier(this.consume(0, Name));
    const hyper = this.option(0, () => this.subrule(0, this.hyperparameters)) ?? [];
    this.consume(0, BraceOpen);
    this.many(0, () => {
      this.consume(0, State);
      states.push(this.subrule(0, this.carried));
      this.many(1, () => {
        this.consume(0, Comma);
        states.push(this.subrule(1, this.carried));
      });
      this.option(1, () => this.consume(0, Semicolon));
    });
    const parameters = this.subrule(0, this.parameters);
    const body = this.subrule(0, this.block);
    this.consume(0, BraceClose);
    return { kind: 'optimizer', name, hyper, states, parameters, body, span: this.spanFrom(start) };
  });

  /** `data = "data" name [ parameters ] "=" expression ;` */
  private readonly data: Rule<DataDeclaration> = this.rule('data', () => {
    const start = this.start();
    this.consume(0, Declare.data);
    const name = this.identifier(this.consume(0, Name));
    const parameters = this.option(0, () => this.subrule(0, this.parameters)) ?? [];
    this.consume(0, Equal);
    const body = this.subrule(0, this.expression);
    return { kind: 'data', name, parameters, body, span: this.spanFrom(start) };
  });

  /** `train = "train" name "{" { trainEntry [ ";" ] } "}" ;` */
  private readonly train: Rule<TrainDeclaration> = this.rule('train', () => {
    const start = this.start();
    this.consume(0, Declare.train);
    const name = this.identifier(this.consume(0, Name));
    this.consume(0, BraceOpen);
    const entries = this.items(this.trainEntry);
    this.consume(0, BraceClose);
    return { kind: 'train', name, entries, span: this.spanFrom(start) };
  });

  /** `test = "test" [ "rejects" ] plainText [ "for" range { "," range } ] block ;` */
  private readonly test: Rule<TestDeclaration> = this.rule('test', () => {
    const start = this.start();
    const over: TestDeclaration['over'][number][] = [];
    this.consume(0, Declare.test);
    const rejects = this.option(0, () => this.consume(0, Rejects)) !== undefined;
    const name = this.subrule(0, this.plainText);
    this.option(1, () => {
      this.consume(0, For);
      over.push(this.subrule(0, this.range));
      this.many(0, () => {
        this.consume(0, Comma);
        over.push(this.subrule(1, this.range));
      });
    });
    const body = this.subrule(0, this.block);
    return { kind: 'test', name, rejects, over, body, span: this.spanFrom(start) };
  });

  /** `range = name "in" expression ;` */
  private readonly range: Rule<TestDeclaration['over'][number]> = this.rule('range', () => {
    const name = this.identifier(this.consume(0, Name));
    this.consume(0, In);
    return { name, range: this.subrule(0, this.expression) };
  });
}
