import { describe, expect, it } from 'vitest';
import { showExpression } from './show.ts';

const cases: readonly (readonly [string, string])[] = [
  // What binds tighter.
  ['a + b * c', '(+ a (* b c))'],
  ['a - b - c', '(- (- a b) c)'],
  ['a @ b * c / d % e', '(% (/ (* (@ a b) c) d) e)'],
  ['-x ^ 2', '(- (^ x 2))'],
  ['2 ^ -x ^ 2', '(^ 2 (- (^ x 2)))'],
  ['2 ^ 3 ^ 4', '(^ 2 (^ 3 4))'],
  ['2 ^ -1 * 3', '(* (^ 2 (- 1)) 3)'],
  ['(a + b) * c', '(* (+ a b) c)'],
  ['a or b and not c == d', '(or a (and b (not (== c d))))'],
  ['a |> f |> g(2)', '(|> (|> a f) <call callee=g arguments=[2]>)'],
  ['sum(a) + b per count(c)', '(per (+ <call callee=sum arguments=[a]> b) <call callee=count arguments=[c]>)'],
  ['a per b |> f', '(|> (per a b) f)'],
  ['0..n - 1', '(.. 0 (- n 1))'],
  ['a\n  - b', '(- a b)'],
  // Postfix.
  [
    'f(x)(y).z[0, ..., :]',
    '<index target=<member target=<call callee=<call callee=f arguments=[x]> arguments=[y]> name=z> items=[0 <rest> <all>]>',
  ],
  ['Adam{lr: 1e-3}', '<make callee=Adam arguments=[<name=lr value=1e-3>]>'],
  ['where(a < b, x, -inf,)', '<call callee=where arguments=[(< a b) x (- inf)]>'],
  // Reductions and names that look like them.
  [
    'sum[d] a[d] * b[d] / 2 + 1',
    '(+ <reduction monoid="sum" indices=[d] body=(/ (* <index target=a items=[d]> <index target=b items=[d]>) 2)> 1)',
  ],
  [
    '2 * max[u in 0..k, v] x[u]',
    '(* 2 <reduction monoid="max" indices=[<name=u range=(.. 0 k)> v] body=<index target=x items=[u]>>)',
  ],
  ['sum[i] sum[j] x', '<reduction monoid="sum" indices=[i] body=<reduction monoid="sum" indices=[j] body=x>>'],
  ['max[0] + 1', '(+ <index target=max items=[0]> 1)'],
  ['mean[b] - x', '(- <index target=mean items=[b]> x)'],
  ['mean(x)', '<call callee=mean arguments=[x]>'],
  // Brackets of all kinds.
  ['()', '<tuple elements=[]>'],
  ['(a,)', '<tuple elements=[a]>'],
  ['[a, b]', '<list elements=[a b]>'],
  [
    '[Block{d} for i in 0..n if i > 0]',
    '<comprehension element=<make callee=Block arguments=[d]> name=i over=(.. 0 n) condition=(> i 0)>',
  ],
  ['{ accuracy: a, loss }', '<record fields=[<name=accuracy value=a> <name=loss value=loss>]>'],
  ['{ loss }', '<record fields=[<name=loss value=loss>]>'],
  ['{ let a = 1  a }', '<block statements=[<let names=[a] value=1>] result=a>'],
  ['if a then b else if c then d else e', '<if condition=a then=b else=<if condition=c then=d else=e>>'],
  ['"{split}-images.gz"', '<string parts=[split "-images.gz"]>'],
  ['"a\\{b\\}\\"{c + 1}{d}\\u{e9}"', '<string parts=["a{b}\\"" (+ c 1) d "é"]>'],
  ['50_000', '50_000'],
  [
    'scan reverse (x, m) over T with h = zeros[B], c = 0 { yield h }',
    '<scan sequences=[x m] over=T reverse=true carried=[<name=h init=<index target=zeros items=[B]>> <name=c init=0>] body=<block statements=[<yield value=h>]>>',
  ],
  // Keywords of one place are names in others.
  [
    'loss + model(data) * test.train - metric[eval]',
    '(- (+ loss (* <call callee=model arguments=[data]> <member target=test name=train>)) <index target=metric items=[eval]>)',
  ],
  [
    '{ init, state, step, last, best, over, min, max, sum, mean, in }',
    '<record fields=[<name=init value=init> <name=state value=state> <name=step value=step> <name=last value=last> <name=best value=best> <name=over value=over> <name=min value=min> <name=max value=max> <name=sum value=sum> <name=mean value=mean> <name=in value=in>]>',
  ],
];

describe('expressions', () => {
  it.each(cases)('%s', (text, tree) => expect(showExpression(text)).toBe(tree));
});
