import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { format } from 'prettier';
import { describe, expect, it } from 'vitest';
import { formatSource, UnreadableSource } from '../../grammar/format.ts';
import { parse } from '../../grammar/index.ts';
import { lex } from '../../grammar/lex.ts';
import * as plugin from '../../tools/prettier/plugin.ts';
import { show } from './show.ts';

const root = new URL('../../', import.meta.url);
const files = ['stdlib', 'examples'].flatMap((folder) =>
  readdirSync(new URL(folder, root))
    .filter((name) => name.endsWith('.model'))
    .map((name) => `${folder}/${name}`),
);

const treeOf = (text: string): string => {
  const { module, errors } = parse({ name: 'a.model', text });
  if (errors.length > 0) throw new Error(`${errors.map((error) => error.message).join('\n')}\n${text}`);
  const sorted = [...module.uses, ...module.declarations].sort((a, b) => a.span.start - b.span.start);
  return show(sorted);
};
const commentsOf = (text: string): string[] =>
  parse({ name: 'a.model', text })
    .module.comments.map((comment) => comment.text.trim().replaceAll('\r', ''))
    .sort();

/** The laws of a formatter, for one text. */
async function checkLaws(text: string): Promise<string> {
  const once = await formatSource(text, 'a.model');
  expect(treeOf(once)).toBe(treeOf(text));
  expect(commentsOf(once)).toEqual(commentsOf(text));
  expect(await formatSource(once, 'a.model')).toBe(once);
  return once;
}

/** Without comparing trees, which would itself need a deep stack. */
async function checkLength(text: string): Promise<void> {
  const once = await formatSource(text, 'a.model');
  expect(once.replaceAll(/[\s,]/g, '')).toBe(text.replaceAll(/[\s,]/g, ''));
}

const sample = `// top
use std.layers { Linear, Conv2d as Conv }
use "./b.model" {B}
/// A constant.
let k=3

fn f{a,b:int=2}(x:f32[..., _,4*B],y)->(f32,i32[B]){
let (p,q)=split(x,2)   // two


  let s[i,j]=sum[d in 0..k] (-x[i,d])*y[d,j]/2
  p <- if a<b then 1 else if not (a or b and c) then {let z=1 z} else {v: -1,w}
  scan reverse (x,m) over T with h=zeros[B], c=0 {h<-h+1 yield {h}}
}
layer L{in:int}{ param w:f32[in]=uniform(-1/sqrt(in),1) as norm  buffer r:f32=0
  fc=[Block{d} for i in 0..n if i>0]
  (x:f32[B])->f32[B]=x|>fc|>relu }
optimizer S{lr}{ state m=0,v=0 (param,grad,step){m<-1 param<-param-lr(step)*(a^-b^2)} }
data d(s:"a"|"b")=csv("{s}-x.csv", n: 2)|>map(x: f32(x)/255)
train t { model=L{in:3}
  load "a" {"b.{x}" -> model.e.*;skip "c";fresh model.{q,v}.*}
  freeze all except model.h.*
  optimizer = S{lr:1}{role(norm),*.bias:decay=0
    *.x:lr=1,decay=2}
  loss(x)=sum(x) per count(x)
  eval(x) over d("b")={a:x}
  save best min loss clip norm 1.0 save every 10 save last accumulate 2 precision=mixed( f16 )except role(norm),model.a }
test "p {" for n in 1..8 { expect f(n)≈3 within 0.1 train t on 1 batch for 1 step {loss<1;acc>2;(-acc)<3} gradcheck f at f32[3],i32 }
test rejects "x" {f(1)}
model E {}
`.replace('"p {"', '"p \\{"');

describe('the formatter', () => {
  it('writes every construct in one way', async () => {
    expect(await checkLaws(sample)).toMatchSnapshot();
  });

  it.each(files)('keeps the laws on %s', async (file) => {
    await checkLaws(readFileSync(new URL(file, root), 'utf8'));
  });

  it('breaks long lines where a reader would', async () => {
    const text = `fn f(x) = aaaaaaaaaaaaaaaaaaaaaaaaaaaaa + bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb * ccccccccccccccccccccccccccccccc - ddddddddddddddd
data d = idx(images: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", labels: "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb") |> map(image: f32(image) / 255)
fn g(aaaaaaaaaaaaaaaaaaaaaaaaaaa: f32[B, T, D], bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb: f32[B, T, D]) -> f32[B] {
  let s = softmax(attention(aaaaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, cccccccccccccccccccccccccccccc))
  let y[b, i, j, o] = sum[u, v, c] x[b, i * stride + u, j * stride + v, c] * weight[u, v, c, o] * another[b, u]
  if aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa < bbbbbbbbbbbbbbbbbbbbbbbbb then ccccccccccccccccccccccccccc else ddddddddddddddddddddd
}
`;
    expect(await checkLaws(text)).toMatchSnapshot();
  });

  it('keeps a comment wherever it stands', async () => {
    const { tokens } = lex({ name: '', text: sample });
    const withoutDocs = (tree: string): string => tree.replaceAll(/ doc="[^"]*"/g, '');
    const tree = withoutDocs(treeOf(sample));
    const kinds = ['/* c */', '// c\n', '\n// c\n'];
    const broken: string[] = [];
    // Each place gets one kind of comment (FULL=1: all).
    for (const [at, token] of tokens.entries()) {
      for (const comment of process.env['FULL'] === '1' ? kinds : [kinds[at % 3] ?? '']) {
        const text = sample.slice(0, token.startOffset) + comment + sample.slice(token.startOffset);
        const { errors } = parse({ name: '', text });
        if (errors.length > 0 || withoutDocs(treeOf(text)) !== tree) continue;
        try {
          const once = await formatSource(text, 'a.model');
          const isKept = withoutDocs(treeOf(once)) === tree && String(commentsOf(once)) === String(commentsOf(text));
          if (!isKept || (await formatSource(once, 'a.model')) !== once) throw new Error('changed');
        } catch (error) {
          const place = JSON.stringify(sample.slice(token.startOffset, token.startOffset + 30));
          broken.push(
            `${JSON.stringify(comment)} before ${place}: ${error instanceof Error ? error.message.split('\n')[0] : ''}`,
          );
        }
      }
    }
    expect(broken).toEqual([]);
  });

  it('keeps the tree of any expression', async () => {
    const names = fc.constantFrom('a', 'b', 'sum', 'x');
    const { expression } = fc.letrec<{ expression: string }>((tie) => {
      const e = tie('expression');
      return {
        expression: fc.oneof(
          { depthSize: 'small', withCrossShrink: true },
          fc.oneof(names, fc.constantFrom('1', '2.5', '"s{a}"', 'true', '[]', '{}')),
          fc
            .tuple(e, fc.constantFrom('+', '-', '*', '/', '@', '^', '<', '==', 'and', 'or', '|>', 'per', '..', '%'), e)
            .map(([l, o, r]) => `(${l}) ${o} (${r})`),
          fc.tuple(fc.constantFrom('-', 'not '), e).map(([o, x]) => `${o}(${x})`),
          fc.tuple(fc.constantFrom('sum[i]', 'max[i, j in 0..3]'), e).map(([o, x]) => `${o} (${x})`),
          fc.tuple(e, e, e).map(([a, b, c]) => `if ${a} then ${b} else ${c}`),
          fc.tuple(e, e).map(([f, x]) => `(${f})(${x}, k: ${f})`),
          fc.tuple(e, e).map(([f, x]) => `(${f})[${x}, ..., :]`),
          e.map((x) => `(${x}).m`),
          e.map((x) => `F{${x}}`),
          fc.tuple(e, e).map(([a, b]) => `(${a}, ${b})`),
          fc.tuple(e, e).map(([a, b]) => `{ a: ${a}, b: ${b} }`),
          fc.tuple(e, e).map(([a, b]) => `{ let a = ${a}  (${b}) }`),
          e.map((a) => `{ (${a}) }`),
          e.map((a) => `[${a} for i in ${a} if ${a}]`),
        ),
      };
    });
    await fc.assert(
      fc.asyncProperty(expression, async (text) => {
        await checkLaws(`fn f(x) = ${text}\ntest "t" { expect (${text}) ≈ (${text}) within 1 }\nlet c = ${text}\n`);
      }),
      { numRuns: 300 },
    );
  });

  it('leaves what it is told to leave, and refuses what it cannot read', async () => {
    const text = 'train t {\n  // prettier-ignore\n  data   =  f( 1 )\n  model=M{}\n}\n';
    expect(await checkLaws(text)).toBe('train t {\n  // prettier-ignore\n  data   =  f( 1 )\n  model = M{}\n}\n');
    await expect(formatSource('fn f(x = 1', 'a.model')).rejects.toBeInstanceOf(UnreadableSource);
    expect(await formatSource('', 'a.model')).toBe('');
    expect(await formatSource('\uFEFFfn f(x)=x\r\n\r\n\r\n// e\r\n', 'a.model')).toBe('fn f(x) = x\n\n// e\n');
  });

  it('prints what is as long or as deep as the parser reads', async () => {
    for (const operator of [' + ', ' ^ ', ' |> ', ' per ']) {
      await checkLength(`let c = ${Array.from({ length: 5000 }, () => 'x').join(operator)}\n`);
    }
    await checkLength(`let c = ${'if a then b else '.repeat(2000)}x\n`);
    for (const [open, close] of [
      ['f(', ')'],
      ['[', ']'],
      ['(a, ', ')'],
      ['{ a: ', '}'],
    ] as const) {
      await checkLength(`let c = ${open.repeat(128)}x${close.repeat(128)}\n`);
    }
  });

  it('is the printer of the Prettier plugin', async () => {
    expect(await format(sample, { parser: 'nacre', plugins: [plugin], printWidth: 100 })).toBe(
      await formatSource(sample, 'a.model'),
    );
  });

  it('tells Prettier where a text cannot be read, and gives it a text that stays', async () => {
    const wrong = format('fn f(x) = 1\nfn g(x = 2\n', { parser: 'nacre', plugins: [plugin] });
    await expect(wrong).rejects.toMatchObject({
      name: 'SyntaxError',
      loc: { start: { line: 2 } },
      codeFrame: expect.any(String),
    });
    for (const printWidth of [60, 100]) {
      const options = { parser: 'nacre', plugins: [plugin], printWidth };
      const once = await format(sample, options);
      expect(await format(once, options)).toBe(once);
    }
  });

  it('says of what nests too deep that it does', async () => {
    await expect(formatSource(`fn f(x) = ${'-'.repeat(20_000)}x\n`, 'a.model')).rejects.toMatchObject({
      errors: [expect.objectContaining({ code: 'nesting-too-deep' })],
    });
  });
});
