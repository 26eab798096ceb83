/** The grammar of what stands in a `train` block. Each rule's EBNF stands above it; `model.ebnf` is made of these comments. */
import type {
  Argument,
  LoadRule,
  ParameterGroup,
  Selector,
  TrainAccumulate,
  TrainCheckpoint,
  TrainClip,
  TrainEntry,
  TrainEval,
  TrainFreeze,
  TrainFunction,
  TrainLoad,
  TrainPrecision,
  TrainPrune,
  TrainQuantize,
  TrainSave,
  TrainSetting,
} from './ast.ts';
import type { Rule } from './parser-base.ts';
import { StatementParser } from './statement-parser.ts';
import {
  Accumulate,
  All,
  Arrow,
  Best,
  BraceClose,
  BraceOpen,
  Calibrate,
  Checkpoint,
  Clip,
  Colon,
  Comma,
  Dot,
  Equal,
  Eval,
  Every,
  Except,
  Freeze,
  Fresh,
  Globally,
  Group,
  Last,
  Load,
  Max,
  Min,
  Mixed,
  Name,
  Norm,
  NumberToken,
  Over,
  ParenClose,
  ParenOpen,
  Precision,
  Prune,
  Quantize,
  Rewind,
  Role,
  Save,
  Skip,
  Star,
  Storing,
  To,
  Value,
  Weights,
  With,
} from './tokens.ts';

export abstract class TrainParser extends StatementParser {
  /** `trainEntry = precision | setting | eval | trainFunction | save | load | freeze | clip | accumulate | checkpoint | prune | quantize ;` */
  protected readonly trainEntry: Rule<TrainEntry> = this.rule('trainEntry', () =>
    this.choose(0, [
      {
        GATE: () => this.isNext(2, Equal),
        IGNORE_AMBIGUITIES: true,
        ALT: (): TrainEntry => this.subrule(0, this.precision),
      },
      {
        GATE: () => this.isNext(2, Equal),
        IGNORE_AMBIGUITIES: true,
        ALT: (): TrainEntry => this.subrule(0, this.setting),
      },
      {
        GATE: () => this.isNext(2, ParenOpen),
        IGNORE_AMBIGUITIES: true,
        ALT: (): TrainEntry => this.subrule(0, this.eval),
      },
      {
        GATE: () => this.isNext(2, ParenOpen),
        IGNORE_AMBIGUITIES: true,
        ALT: (): TrainEntry => this.subrule(0, this.trainFunction),
      },
      { ALT: (): TrainEntry => this.subrule(0, this.save) },
      { ALT: (): TrainEntry => this.subrule(0, this.load) },
      { ALT: (): TrainEntry => this.subrule(0, this.freeze) },
      { ALT: (): TrainEntry => this.subrule(0, this.clip) },
      { ALT: (): TrainEntry => this.subrule(0, this.accumulate) },
      { ALT: (): TrainEntry => this.subrule(0, this.checkpoint) },
      { ALT: (): TrainEntry => this.subrule(0, this.prune) },
      { ALT: (): TrainEntry => this.subrule(0, this.quantize) },
    ]),
  );

  /** `precision = "precision" "=" ( "mixed" "(" name ")" | name [ "storing" name ] ) [ "except" selectors ] ;` */
  private readonly precision: Rule<TrainPrecision> = this.rule('precision', () => {
    const start = this.start();
    this.consume(0, Precision);
    this.consume(0, Equal);
    const types = this.choose(0, [
      {
        GATE: () => this.isNext(2, ParenOpen),
        IGNORE_AMBIGUITIES: true,
        ALT: (): Pick<TrainPrecision, 'mixed' | 'dtype' | 'storing'> => {
          this.consume(0, Mixed);
          this.consume(0, ParenOpen);
          const dtype = this.identifier(this.consume(0, Name));
          this.consume(0, ParenClose);
          return { mixed: true, dtype, storing: undefined };
        },
      },
      {
        ALT: (): Pick<TrainPrecision, 'mixed' | 'dtype' | 'storing'> => {
          const dtype = this.identifier(this.consume(1, Name));
          const storing = this.option(0, () => {
            this.consume(0, Storing);
            return this.identifier(this.consume(2, Name));
          });
          return { mixed: false, dtype, storing };
        },
      },
    ]);
    const except = this.option(1, () => {
      this.consume(0, Except);
      return this.subrule(0, this.selectors);
    });
    return { kind: 'precision', ...types, except: except ?? [], span: this.spanFrom(start) };
  });

  /** `setting = name "=" expression [ "{" { group [ ";" ] } "}" ] ;` */
  private readonly setting: Rule<TrainSetting> = this.rule('setting', () => {
    const start = this.start();
    const name = this.identifier(this.consume(0, Name));
    this.consume(0, Equal);
    const value = this.subrule(0, this.expression);
    const groups = this.option(0, () => {
      this.consume(0, BraceOpen);
      const groups = this.items(this.group);
      this.consume(0, BraceClose);
      return groups;
    });
    return { kind: 'setting', name, value, groups: groups ?? [], span: this.spanFrom(start) };
  });

  /** `group = selectors ":" change { "," change } ;` */
  private readonly group: Rule<ParameterGroup> = this.rule('group', () => {
    const start = this.start();
    const selectors = this.subrule(0, this.selectors);
    this.consume(0, Colon);
    const settings = [this.subrule(0, this.change)];
    this.many(0, () => {
      this.consume(0, Comma);
      settings.push(this.subrule(1, this.change));
    });
    return { selectors, settings, span: this.spanFrom(start) };
  });

  /** `change = name "=" expression ;` */
  private readonly change: Rule<Argument> = this.rule('change', () => {
    const start = this.start();
    const name = this.identifier(this.consume(0, Name));
    this.consume(0, Equal);
    const value = this.subrule(0, this.expression);
    return { name, value, span: this.spanFrom(start) };
  });

  /** `selectors = selector { "," selector } ;` */
  private readonly selectors: Rule<Selector[]> = this.rule('selectors', () => {
    const selectors = [this.subrule(0, this.selector)];
    this.many(0, () => {
      this.consume(0, Comma);
      selectors.push(this.subrule(1, this.selector));
    });
    return selectors;
  });

  /** `selector = "role" "(" name ")" | pathPart { "." pathPart } ;` */
  private readonly selector: Rule<Selector> = this.rule('selector', () => {
    const start = this.start();
    return this.choose(0, [
      {
        GATE: () => this.isNext(2, ParenOpen),
        IGNORE_AMBIGUITIES: true,
        ALT: (): Selector => {
          this.consume(0, Role);
          this.consume(0, ParenOpen);
          const text = this.consume(0, Name).image;
          this.consume(0, ParenClose);
          return { kind: 'role', text, span: this.spanFrom(start) };
        },
      },
      {
        ALT: (): Selector => {
          const parts = [this.subrule(0, this.pathPart)];
          this.many(0, () => {
            this.consume(0, Dot);
            parts.push(this.subrule(1, this.pathPart));
          });
          return { kind: 'path', text: parts.join('.'), span: this.spanFrom(start) };
        },
      },
    ]);
  });

  /** `pathPart = name | number | "*" | "{" name { "," name } "}" ;` */
  private readonly pathPart: Rule<string> = this.rule('pathPart', () =>
    this.choose(0, [
      { ALT: () => this.consume(0, Name).image },
      { ALT: () => this.consume(0, NumberToken).image },
      { ALT: () => this.consume(0, Star).image },
      {
        ALT: () => {
          this.consume(0, BraceOpen);
          const names = [this.consume(1, Name).image];
          this.many(0, () => {
            this.consume(0, Comma);
            names.push(this.consume(2, Name).image);
          });
          this.consume(0, BraceClose);
          return `{${names.join(',')}}`;
        },
      },
    ]),
  );

  /** `eval = "eval" parameters "over" expression "=" expression ;` */
  private readonly eval: Rule<TrainEval> = this.rule('eval', () => {
    const start = this.start();
    this.consume(0, Eval);
    const parameters = this.subrule(0, this.parameters);
    this.consume(0, Over);
    const over = this.subrule(0, this.expression);
    this.consume(0, Equal);
    const body = this.subrule(1, this.expression);
    return { kind: 'eval', parameters, over, body, span: this.spanFrom(start) };
  });

  /** `trainFunction = name parameters "=" expression ;` */
  private readonly trainFunction: Rule<TrainFunction> = this.rule('trainFunction', () => {
    const start = this.start();
    const name = this.identifier(this.consume(0, Name));
    const parameters = this.subrule(0, this.parameters);
    this.consume(0, Equal);
    const body = this.subrule(0, this.expression);
    return { kind: 'train-function', name, parameters, body, span: this.spanFrom(start) };
  });

  /** `save = "save" ( "best" [ "min" | "max" ] name | "every" expression | "last" ) ;` */
  private readonly save: Rule<TrainSave> = this.rule('save', () => {
    const start = this.start();
    this.consume(0, Save);
    const when = this.choose(0, [
      {
        ALT: (): TrainSave['when'] => {
          this.consume(0, Best);
          let order: 'min' | 'max' = 'max';
          this.option(0, {
            GATE: () => this.isNext(2, Name) && this.isSameLine(2),
            DEF: () =>
              this.choose(1, [
                {
                  ALT: () => {
                    this.consume(0, Min);
                    order = 'min';
                  },
                },
                {
                  ALT: () => {
                    this.consume(0, Max);
                  },
                },
              ]),
          });
          return { kind: 'best', metric: this.identifier(this.consume(0, Name)), order };
        },
      },
      {
        ALT: (): TrainSave['when'] => {
          this.consume(0, Every);
          return { kind: 'every', steps: this.subrule(0, this.expression) };
        },
      },
      {
        ALT: (): TrainSave['when'] => {
          this.consume(0, Last);
          return { kind: 'last' };
        },
      },
    ]);
    return { kind: 'save', when, span: this.spanFrom(start) };
  });

  /** `load = "load" expression [ "{" { loadRule [ ";" ] } "}" ] ;` */
  private readonly load: Rule<TrainLoad> = this.rule('load', () => {
    const start = this.start();
    this.consume(0, Load);
    const path = this.subrule(0, this.expression);
    const rules = this.option(0, () => {
      this.consume(0, BraceOpen);
      const rules = this.items(this.loadRule);
      this.consume(0, BraceClose);
      return rules;
    });
    return { kind: 'load', path, rules: rules ?? [], span: this.spanFrom(start) };
  });

  /** `loadRule = plainText "->" selector | "skip" plainText | "fresh" selector ;` */
  private readonly loadRule: Rule<LoadRule> = this.rule('loadRule', () => {
    const start = this.start();
    return this.choose(0, [
      {
        ALT: (): LoadRule => {
          const from = this.subrule(0, this.plainText);
          this.consume(0, Arrow);
          const to = this.subrule(0, this.selector);
          return { kind: 'map', from, to, span: this.spanFrom(start) };
        },
      },
      {
        ALT: (): LoadRule => {
          this.consume(0, Skip);
          const from = this.subrule(1, this.plainText);
          return { kind: 'skip', from, span: this.spanFrom(start) };
        },
      },
      {
        ALT: (): LoadRule => {
          this.consume(0, Fresh);
          const to = this.subrule(1, this.selector);
          return { kind: 'fresh', to, span: this.spanFrom(start) };
        },
      },
    ]);
  });

  /** `freeze = "freeze" ( "all" | selectors ) [ "except" selectors ] ;` */
  private readonly freeze: Rule<TrainFreeze> = this.rule('freeze', () => {
    const start = this.start();
    this.consume(0, Freeze);
    const selectors = this.choose(0, [
      {
        GATE: () => !this.isNext(2, Dot),
        IGNORE_AMBIGUITIES: true,
        ALT: (): Selector[] => {
          this.consume(0, All);
          return [];
        },
      },
      { ALT: (): Selector[] => this.subrule(0, this.selectors) },
    ]);
    const except = this.option(0, () => {
      this.consume(0, Except);
      return this.subrule(1, this.selectors);
    });
    return { kind: 'freeze', selectors, except: except ?? [], span: this.spanFrom(start) };
  });

  /** `clip = "clip" ( "norm" | "value" ) expression ;` */
  private readonly clip: Rule<TrainClip> = this.rule('clip', () => {
    const start = this.start();
    this.consume(0, Clip);
    const by = this.choose(0, [
      {
        ALT: (): TrainClip['by'] => {
          this.consume(0, Norm);
          return 'norm';
        },
      },
      {
        ALT: (): TrainClip['by'] => {
          this.consume(0, Value);
          return 'value';
        },
      },
    ]);
    const limit = this.subrule(0, this.expression);
    return { kind: 'clip', by, limit, span: this.spanFrom(start) };
  });

  /** `accumulate = "accumulate" expression ;` */
  private readonly accumulate: Rule<TrainAccumulate> = this.rule('accumulate', () => {
    const start = this.start();
    this.consume(0, Accumulate);
    const steps = this.subrule(0, this.expression);
    return { kind: 'accumulate', steps, span: this.spanFrom(start) };
  });

  /** `checkpoint = "checkpoint" selectors ;` */
  private readonly checkpoint: Rule<TrainCheckpoint> = this.rule('checkpoint', () => {
    const start = this.start();
    this.consume(0, Checkpoint);
    const selectors = this.subrule(0, this.selectors);
    return { kind: 'checkpoint', selectors, span: this.spanFrom(start) };
  });

  /** `prune = "prune" selectors "with" expression [ "globally" ] [ "every" expression ] [ "rewind" expression ] ;` */
  private readonly prune: Rule<TrainPrune> = this.rule('prune', () => {
    const start = this.start();
    this.consume(0, Prune);
    const selectors = this.subrule(0, this.selectors);
    this.consume(0, With);
    const pruner = this.subrule(0, this.expression);
    const globally = this.option(0, () => this.consume(0, Globally)) !== undefined;
    const every = this.option(1, () => {
      this.consume(0, Every);
      return this.subrule(1, this.expression);
    });
    const rewind = this.option(2, () => {
      this.consume(0, Rewind);
      return this.subrule(2, this.expression);
    });
    return { kind: 'prune', selectors, pruner, globally, every, rewind, span: this.spanFrom(start) };
  });

  /** `quantize = "quantize" selectors "to" name [ "weights" [ "group" expression ] ] [ "calibrate" expression ] ;` */
  private readonly quantize: Rule<TrainQuantize> = this.rule('quantize', () => {
    const start = this.start();
    this.consume(0, Quantize);
    const selectors = this.subrule(0, this.selectors);
    this.consume(0, To);
    const dtype = this.identifier(this.consume(0, Name));
    const weights = this.option(0, () => {
      this.consume(0, Weights);
      const group = this.option(1, () => {
        this.consume(0, Group);
        return this.subrule(0, this.expression);
      });
      return { group };
    });
    const calibrate = this.option(2, () => {
      this.consume(0, Calibrate);
      return this.subrule(1, this.expression);
    });
    return { kind: 'quantize', selectors, dtype, weights, calibrate, span: this.spanFrom(start) };
  });
}
