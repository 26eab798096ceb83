import { describe, expect, it } from 'vitest';
import { read, show } from './show.ts';

const cases: readonly (readonly [string, string])[] = [
  [
    'fn relu(x) = max(x, 0)',
    '<function role="fn" name=relu hyper=[] signature=[x] body=<call callee=max arguments=[x 0]>>',
  ],
  [
    '/// Smooth.\n/// Two lines.\nschedule s{peak, n: int = 1}(step) { peak }',
    '<function role="schedule" name=s hyper=[peak <name=n type=int default=1>] signature=[step] body=<block statements=[] result=peak> doc="Smooth.\\nTwo lines.">',
  ],
  [
    'fn f(x: f32[..., _, 4*H], y: (f32, i32[B]), z: { a: bool }, m: "a" | "b") -> f32 = x',
    '<function role="fn" name=f hyper=[] signature=<parameters=[<name=x type=<tensor-type dtype=f32 dims=[<rest> <any> (* 4 H)]>> <name=y type=<tuple-type elements=[<tensor-type dtype=f32> <tensor-type dtype=i32 dims=[B]>]>> <name=z type=<record-type fields=[<name=a type=bool>]>> <name=m type=<choice-type choices=["a" "b"]>>] result=<tensor-type dtype=f32>> body=x>',
  ],
  [
    'layer L{in: int} {\n  /// The weight.\n  param w: f32[in] = 0 as norm  buffer r: f32 = 1\n  fc = Linear{1, 2}\n  (x: f32[B]) -> f32[B] = fc(x)\n}',
    '<layer role="layer" name=L hyper=[<name=in type=int>] members=[<param role="param" name=w type=<tensor-type dtype=f32 dims=[in]> init=0 tag=norm doc="The weight."> <param role="buffer" name=r type=<tensor-type dtype=f32> init=1> <bind name=fc value=<make callee=Linear arguments=[1 2]>>] apply=<application signature=<parameters=[<name=x type=<tensor-type dtype=f32 dims=[B]>>] result=<tensor-type dtype=f32 dims=[B]>> body=<call callee=fc arguments=[x]>>>',
  ],
  [
    'optimizer S{lr} { state m = 0, v = 0  (param, grad, step) { m <- 1  param <- m } }',
    '<optimizer name=S hyper=[lr] states=[<name=m init=0> <name=v init=0>] parameters=[param grad step] body=<block statements=[<assign target=m value=1> <assign target=param value=m>]>>',
  ],
  ['data d = csv("a.csv")', '<data name=d parameters=[] body=<call callee=csv arguments=[<string parts=["a.csv"]>]>>'],
  ['model M {}', '<layer role="model" name=M hyper=[] members=[]>'],
  [
    'test "a {b}" for n in 1..8, m in [1] { let s[b, t] = sum[d] x[b, d]  expect a ~= b within 1e-3  gradcheck f at f32[3], i32\n train t on 1 batch for 2 steps { loss < 1; acc > 2 } }',
    '<test name="a {b}" rejects=false over=[<name=n range=(.. 1 8)> <name=m range=<list elements=[1]>>] body=<block statements=[<let names=[s] indices=[b t] value=<reduction monoid="sum" indices=[d] body=<index target=x items=[b d]>>> <expect left=a comparison=<operator="≈" right=b> within=1e-3> <gradcheck target=f at=[<tensor-type dtype=f32 dims=[3]> <tensor-type dtype=i32>]> <train name=t batches=1 steps=2 expects=[<expect left=loss comparison=<operator="<" right=1>> <expect left=acc comparison=<operator=">" right=2>>]>]>>',
  ],
  [
    'test rejects "no" { f(x) }',
    '<test name="no" rejects=true over=[] body=<block statements=[] result=<call callee=f arguments=[x]>>>',
  ],
  [
    'train t {\n  load "a" { "b.{x}" -> model.e.*; skip "c"; fresh model.h.* }\n  freeze all except model.{q, v}.*\n  clip norm 1.0\n  accumulate 4\n  prune *.w, role(r) with m{s: 1} globally every 5 rewind 0\n  prune x with m\n  quantize *.w to int8 calibrate 20\n  quantize x to int4 weights group 32\n  quantize y to int8 weights\n  checkpoint model.b.*\n  save best min loss\n  save every 100\n  save last\n  loss(x, y) = f(x)\n  eval(x) over d("t") = { a: x }\n  optimizer = O{lr: 1} {\n    role(norm), *.bias : decay = 0\n    *.x : lr = 1, decay = 2\n  }\n}',
    '<train name=t entries=[<load path=<string parts=["a"]> rules=[<map from="b.{x}" to=<path text="model.e.*">> <skip from="c"> <fresh to=<path text="model.h.*">>]> <freeze selectors=[] except=[<path text="model.{q,v}.*">]> <clip by="norm" limit=1.0> <accumulate steps=4> <prune selectors=[<path text="*.w"> <role text="r">] pruner=<make callee=m arguments=[<name=s value=1>]> globally=true every=5 rewind=0> <prune selectors=[<path text="x">] pruner=m globally=false> <quantize selectors=[<path text="*.w">] dtype=int8 calibrate=20> <quantize selectors=[<path text="x">] dtype=int4 weights=32> <quantize selectors=[<path text="y">] dtype=int8 weights=<>> <checkpoint selectors=[<path text="model.b.*">]> <save when=<best metric=loss order="min">> <save when=<every steps=100>> <save when=<last>> <train-function name=loss parameters=[x y] body=<call callee=f arguments=[x]>> <eval parameters=[x] over=<call callee=d arguments=[<string parts=["t"]>]> body=<record fields=[<name=a value=x>]>> <setting name=optimizer value=<make callee=O arguments=[<name=lr value=1>]> groups=[<selectors=[<role text="norm"> <path text="*.bias">] settings=[<name=decay value=0>]> <selectors=[<path text="*.x">] settings=[<name=lr value=1> <name=decay value=2>]>]>]>',
  ],
  [
    'train t {\n  precision = mixed(bf16) except role(norm), model.head.*\n  precision = f32 storing f16\n  precision = mixed\n}',
    '<train name=t entries=[<precision mixed=true dtype=bf16 except=[<role text="norm"> <path text="model.head.*">]> <precision mixed=false dtype=f32 storing=f16 except=[]> <precision mixed=false dtype=mixed except=[]>]>',
  ],
];

describe('declarations', () => {
  it.each(cases)('%s', (text, tree) => expect(show(read(text).declarations[0])).toBe(tree));

  it('keeps comments, and gives docs only to what stands directly below them', () => {
    const module = read('\uFEFF/// Not its doc.\r\n\r\n// a\r\nfn f(x) = x /* b */\r\n/// Doc.\r\nfn g(x) = x\r\n');
    expect(module.comments.map((comment) => comment.text)).toEqual(['/// Not its doc.', '// a', '/* b */', '/// Doc.']);
    expect(module.declarations.map((one) => one.doc)).toEqual([undefined, 'Doc.']);
  });

  it('reads uses', () => {
    expect(show(read('use std.layers { Linear, Conv2d as Conv }\nuse "./b.model" { B }').uses)).toBe(
      '[<use module=<text="std.layers" isFile=false> names=[Linear <name=Conv2d alias=Conv>]> <use module=<text="./b.model" isFile=true> names=[B]>]',
    );
  });
});
