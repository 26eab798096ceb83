/** What a pass changed, as people see it. */
import { describe, expect, it } from 'vitest';
import { compareGraphs, foldDiff } from '../../compiler/graph/compare.ts';
import { parseGraph } from '../../compiler/graph/parse-text.ts';
import { optimize, passes } from '../../compiler/optimize/index.ts';

const before = parseGraph(`graph g {
  %0: f32[8] = batch x
  %1: f32[8] = constant(0)
  %2: f32[8] = add(%0, %1)
  %3: f32[8] = exp(%2)
  %4: f32[8] = exp(%2)
  %5: f32[8] = mul(%3, %4)
  %6: f32[8] = sin(%5)
  %7: f32[8] = cos(%6)
  %8: f32[8] = tanh(%7)
  %9: f32[8] = sqrt(%8)
  result y = %9
}
`);

describe('the difference of two graphs', () => {
  it('is nothing between a graph and itself under other numbers', () => {
    const diff = compareGraphs(before, optimize(before, { only: [] }));
    expect(diff).toMatchObject({ gone: 0, added: 0, changed: 0 });
    const shifted = parseGraph('graph g {\n  %10: f32[8] = batch x\n  %11: f32[8] = exp(%10)\n  result y = %11\n}\n');
    const plain = parseGraph('graph g {\n  %0: f32[8] = batch x\n  %1: f32[8] = exp(%0)\n  result y = %1\n}\n');
    expect(compareGraphs(plain, shifted).lines.every(({ mark }) => mark === ' ')).toBe(true);
  });

  it('names what went, what came and what reads something else now', () => {
    const diff = compareGraphs(before, optimize(before, { only: ['merge-common'] }));
    expect(diff).toMatchObject({ before: 9, after: 8, gone: 1, added: 0, changed: 1 });
    expect(foldDiff(diff)).toEqual([
      '    ⋮ 3 the same',
      '    %2: f32[8] = add(%0, %1)',
      '    %3: f32[8] = exp(%2)',
      '-   %4: f32[8] = exp(%2)',
      '-   %5: f32[8] = mul(%3, %4)',
      '+   %5: f32[8] = mul(%3, %3)',
      '    %6: f32[8] = sin(%5)',
      '    %7: f32[8] = cos(%6)',
      '    ⋮ 4 the same',
    ]);
  });

  it('keeps every line of both graphs', () => {
    for (const { name } of passes) {
      const after = optimize(before, { after: name });
      const { lines } = compareGraphs(before, after);
      expect([name, lines.filter(({ mark }) => mark !== '+').length]).toEqual([name, 13]);
      expect([name, lines.filter(({ mark }) => mark !== '-').length]).toEqual([name, after.nodes.length + 4]);
    }
  });
});

describe('passes', () => {
  it('run alone, are left out, and are watched', () => {
    const seen: string[] = [];
    optimize(before, { without: ['simplify'], observe: ({ name }) => seen.push(name) });
    expect(seen).toEqual(passes.map(({ name }) => name).filter((name) => name !== 'simplify'));
    expect(optimize(before, { only: [] }).nodes).toHaveLength(before.nodes.length);
    expect(() => optimize(before, { only: ['nothing'] })).toThrow('no pass is called nothing');
  });
});
