import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { position } from '../../compiler/base/source.ts';
import { parse } from '../../grammar/index.ts';
import { show } from './show.ts';

/** `line:column code message | hint` for each error. */
function errorsOf(text: string): string[] {
  const source = { name: 'test.model', text };
  return parse(source).errors.map((error) => {
    const { line, column } = position(source, error.span.start);
    return `${line}:${column} ${error.code}: ${error.message}${error.hint === undefined ? '' : ` | ${error.hint}`}`;
  });
}

const cases: readonly (readonly [string, readonly string[]])[] = [
  [
    'fn f(x) {\n  let y[i] = x[i / 2] for i in 0..8\n  y\n}',
    [
      '2:23 unexpected-token: While reading a statement, I expected `let …`, `expect …`, `gradcheck …`, `train …`, `yield …`, `name = …` or a value, but found `for`. | An index has its range where it is named: `let y[i in 0..8] = …`. A list is made in brackets: `[… for i in 0..8]`.',
    ],
  ],
  [
    'lyaer L {\n  param w: f32 = 0\n}',
    ["1:1 unknown-declaration: I don't know the declaration `lyaer`. | Did you mean `layer`?"],
  ],
  [
    'layer L {\n  parm w: f32 = 0\n  fc = Linear{1, 2}\n}',
    [
      '2:8 unexpected-token: While reading a member of a layer, I expected `=`, but found the name `w`. | Did you mean `param`?',
    ],
  ],
  [
    'layer A {\n  fc = Linear{1, 2}\n  (x) -> f32 {\n    fc(x)\n\nlayer B {}',
    [
      '6:1 unclosed-bracket: I expected a closing `}` for the layer that starts at line 1, but found `layer`. | Add a `}` before it.',
    ],
  ],
  [
    'layer A {\n  fc = Linear{1, 2}\n',
    [
      '2:20 unclosed-bracket: I expected a closing `}` for the layer that starts at line 1, but the file ends. | Add a `}`.',
    ],
  ],
  [
    'fn f(x) {\n  let y = g(x, 3\n  y\n}',
    [
      '4:1 unclosed-bracket: I expected a closing `)` for the `(` at line 2, column 12, but found `}`. | Add a `)` before it.',
    ],
  ],
  ['fn f(x) = x)', ['1:12 stray-bracket: There is no open bracket for this `)`. | Remove it, or open one before.']],
  [
    'fn f(x) {\n  let a = * 2\n  let b = 3 +\n  let c = )\n  c\n}',
    [
      '2:11 unexpected-token: While reading an expression, I expected an expression, but found `*`.',
      '4:3 unexpected-token: While reading an expression, I expected an expression, but found `let`.',
      '4:11 stray-bracket: There is no open bracket for this `)`. | Remove it, or open one before.',
    ],
  ],
  [
    'train t {\n  sav last\n  save bst loss\n  clip nrom 1\n}',
    [
      '2:3 unexpected-token: While reading an entry of a `train` block, I expected an entry such as `model = …`, `loss(…) = …`, `save best …` or `freeze …`, but found the name `sav`. | Did you mean `save`?',
      '3:8 unexpected-token: While reading a `save`, I expected `best`, `every` or `last`, but found the name `bst`. | Did you mean `best`?',
      '4:8 unexpected-token: While reading a `clip`, I expected `norm` or `value`, but found the name `nrom`. | Did you mean `norm`?',
    ],
  ],
  [
    'fn let(x) = x',
    [
      '1:4 unexpected-token: While reading a function, I expected a name, but found `let`. | `let` is a word of the language and cannot be a name.',
    ],
  ],
  [
    'fn f(x) = x.0',
    [
      '1:13 unexpected-token: While reading an expression, I expected a name, but found the number `0`. | The parts of a tuple are taken by name: `let (a, b) = …`.',
    ],
  ],
  [
    'fn f(x) = a < b < c',
    [
      '1:17 comparison-chain: Comparisons cannot be chained. | Write `a < b and b < c`, or put brackets around one comparison.',
    ],
  ],
  [
    'fn f(x) {\n  x + 1\n  x[0] <- 1\n  yeild\n  x\n}',
    [
      '2:3 unused-value: Nothing is done with this value: only the last line of a block may be a value. | Give it a name with `let`, or remove it.',
      '3:3 assignment-target: Only a name, or a member of an instance, can be given a next value with `<-`. | For "less than minus" write `a < -b`, with a space.',
      '4:3 unused-value: Nothing is done with this value: only the last line of a block may be a value. | Did you mean `yield`?',
    ],
  ],
  [
    'fn f(x) = x && 1\nfn g(x) = "a\nfn h(x) = "\\q{}"',
    [
      "1:13 unknown-character: I don't know what to do with `&&` here. | Write `and`.",
      '2:11 unterminated-string: This string is not closed: I expected a `"` before the end of the line.',
      '3:12 bad-escape: `\\q` is not an escape I know. | Escapes are \\" \\\\ \\{ \\} \\n \\t and \\u{1F600}.',
      '3:14 bad-hole: There is nothing between these braces. | Braces in a string hold an expression, as in "{split}.csv"; for a brace itself write `\\{`.',
    ],
  ],
  [
    'fn f(x) = größe\n/* never',
    [
      "1:13 unknown-character: I don't know what to do with `öß`. Names use the letters a to z, digits and `_`.",
      '2:1 unterminated-comment: This comment never ends: I expected a closing `*/`.',
    ],
  ],
  [
    '// a \u202e b\nfn f(x) = "\0"\n// \ud800',
    [
      '1:6 forbidden-character: There is an invisible character that changes the direction of the text here (U+202E), which is not allowed anywhere in a file. | Remove it.',
      '2:12 forbidden-character: There is a NUL character here (U+0000), which is not allowed anywhere in a file. | Remove it.',
      '3:4 forbidden-character: There is half of a surrogate pair here (U+D800), which is not allowed anywhere in a file. | Remove it.',
    ],
  ],
  [
    'let n = 99999999999999999999',
    [
      '1:9 number-too-large: The whole number 99999999999999999999 is too large to be exact (the largest is 9007199254740991).',
    ],
  ],
  [
    'layer L {\n  (x) = x\n  (y) = y\n}',
    ['3:3 duplicate-application: A layer is applied in one way, and this one already says how.'],
  ],
];

describe('syntax errors', () => {
  it.each(cases)('%j', (text, errors) => expect(errorsOf(text)).toEqual(errors));

  it('one mistake costs one item, not its neighbours', () => {
    const text =
      'fn f(x) {\n  let a = 1\n  let b = = 2\n  a\n}\nlayer L {\n  fc Linear\n  g = 1\n}\nfn (x) = 1\nfn h(x) = 3\n';
    const { module, errors } = parse({ name: 'test.model', text });
    expect(errors).toHaveLength(3);
    expect(module.declarations.map(show)).toEqual([
      '<function role="fn" name=f hyper=[] signature=[x] body=<block statements=[<let names=[a] value=1>] result=a>>',
      '<layer role="layer" name=L hyper=[] members=[<bind name=g value=1>]>',
      '<function role="fn" name=h hyper=[] signature=[x] body=3>',
    ]);
  });

  it('reads what a person could write and refuses what nests deeper', () => {
    const deep = (open: string, close: string, times: number): string =>
      `fn f(x) = ${open.repeat(times)}x${close.repeat(times)}`;
    const long = (operator: string): string => `fn f(x) = ${Array.from({ length: 5000 }, () => 'x').join(operator)}`;
    for (const [open, close] of [
      ['(', ')'],
      ['[', ']'],
      ['f(', ')'],
      ['F{a: ', '}'],
      ['{ let x = ', '}'],
      ['x[', ']'],
      ['if ', ' then x else x'],
      ['{ a: ', '}'],
    ] as const) {
      expect(errorsOf(deep(open, close, 128))).toEqual([]);
      expect(parse({ name: '', text: deep(open, close, 129) }).errors.map((error) => error.code)).toEqual([
        'nesting-too-deep',
      ]);
    }
    for (const operator of [' + ', ' ^ ', ' |> ', ' * ', ' per ', ' and '])
      expect(errorsOf(long(operator))).toEqual([]);
    expect(errorsOf(`fn f(x) = ${'- '.repeat(5000)}x`)).toEqual([]);
    expect(errorsOf(`fn f(x) = ${'sum[i] '.repeat(5000)}x`)).toEqual([]);
    expect(errorsOf(`fn f(x) = ${'if a then b else '.repeat(5000)}x`)).toEqual([]);
    expect(parse({ name: '', text: '('.repeat(100_000) }).errors.map((error) => error.code)).toEqual([
      'nesting-too-deep',
    ]);
    expect(parse({ name: '', text: ' '.repeat(9 * 1024 * 1024) }).errors.map((error) => error.code)).toEqual([
      'file-too-large',
    ]);
  });
});

describe('any input', () => {
  const words = [
    'fn',
    'layer',
    'model',
    'loss',
    'train',
    'test',
    'use',
    'let',
    'data',
    'optimizer',
    'param',
    'state',
    'if',
    'then',
    'else',
    'for',
    'in',
    'scan',
    'over',
    'with',
    'yield',
    'expect',
    'gradcheck',
    'at',
    'on',
    'within',
    'save',
    'best',
    'load',
    'freeze',
    'all',
    'role',
    'sum',
    'not',
    'per',
    'x',
    'F',
    'f32',
    '1',
    '2.5e3',
    '"a"',
    '"{x}b"',
    '"',
    '(',
    ')',
    '[',
    ']',
    '{',
    '}',
    '{',
    '}',
    ',',
    ';',
    ':',
    '=',
    '<-',
    '->',
    '|>',
    '|',
    '.',
    '..',
    '...',
    '+',
    '-',
    '*',
    '^',
    '<',
    '==',
    '≈',
    '//',
    '/*',
    '*/',
    '///',
    '\n',
    '\n',
    '\n',
    ' ',
    ' ',
    '\\',
    '$',
    '\ud800',
    '\0',
    'é',
  ];
  const program =
    'use std.a { B }\n/// Doc\nlayer L{in: int} {\n  param w: f32[in] = 0 as t\n  (x: f32[B]) -> f32 {\n    let y = sum[i] x[i] * w[i]\n    y |> f(2)\n  }\n}\n' +
    'train t {\n  model = L{in: 3}\n  loss(a) = model(a) per 1\n  load "x" { "a" -> b.*; skip "c" }\n  save best min loss\n}\n' +
    'test "t" for n in 1..3 {\n  expect f(n) ≈ 3 within 0.1\n}\nfn g(x) = scan x over T with h = 0 { h <- if x then 1 else 2  yield h }\n';

  const check = (text: string): void => {
    const { module, errors } = parse({ name: 'any.model', text });
    for (const { span, message } of errors) {
      expect(message).not.toBe('');
      expect(span.start).toBeGreaterThanOrEqual(0);
      expect(span.end).toBeGreaterThanOrEqual(span.start);
      expect(span.end).toBeLessThanOrEqual(text.length);
    }
    expect(module.kind).toBe('module');
  };

  it('never throws on strings of tokens', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words), { maxLength: 60 }), fc.boolean(), (list, isSpaced) =>
        check(list.join(isSpaced ? ' ' : '')),
      ),
      { numRuns: 3000 },
    );
  });

  it('never throws on mutated programs', () => {
    const edit = fc.record({
      at: fc.nat(program.length),
      remove: fc.nat(12),
      insert: fc.oneof(fc.constantFrom('', ...words), fc.string({ maxLength: 3, unit: 'binary' })),
    });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        check(
          edits.reduce((text, { at, remove, insert }) => text.slice(0, at) + insert + text.slice(at + remove), program),
        );
      }),
      { numRuns: 3000 },
    );
  });
});
