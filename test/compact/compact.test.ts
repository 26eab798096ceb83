/**
 * Structured pruning: a network without its removed channels computes what the whole one computes with all removed weights 0, has
 * the parameters that the formula gives, and where a channel cannot go the line that forbids it is named.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { slice } from '../../compiler/compact/compact.ts';
import { Diagnostics, renderDiagnostic, type Diagnostic } from '../../compiler/base/diagnostics.ts';
import { buildColumns, compactBlock, readColumns } from '../../compiler/elaborate/compact.ts';
import { buildEvaluation, buildStep } from '../../compiler/elaborate/step.ts';
import type { Graph } from '../../compiler/graph/graph.ts';
import { interpretGraph } from '../../compiler/graph/interpret.ts';
import type { Tensor } from '../../compiler/graph/op.ts';
import { verifyGraph } from '../../compiler/graph/verify.ts';
import { concrete } from '../../compiler/types/dim.ts';
import { weightsOf } from '../../runtime/weights.ts';
import { asTrained } from '../../tools/driver/compact.ts';
import { Diagnosed } from '../../tools/driver/diagnosed.ts';
import { openProject, type RunnableTrain } from '../../tools/driver/project.ts';
import { nacre } from '../support/nacre.ts';
import { numbers } from '../support/numbers.ts';
import { draw } from '../support/samples.ts';

const folder = mkdtempSync(join(tmpdir(), 'nacre-compact-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

/** A model from what it takes to numbers, in a train block with these lines of pruning. */
function write(uses: string, model: string, input: string, prune: string): string {
  const path = join(folder, `case${++files}.model`);
  writeFileSync(
    path,
    `use std.optim { SGD }
${uses}
data points() = generate(8) |> map(x: ${input})
${model}
train t {
  model = Net{}
  data = points() |> batch(2)
  loss(x) = mean(model(x) ^ 2)
  optimizer = SGD{lr: 0.1}
  epochs = 1
  eval(x) over points() = { sum: sum(model(x)), squares: sum(model(x) ^ 2) }
  ${prune}
}
`,
  );
  return path;
}

const open = async (...parts: Parameters<typeof write>): Promise<RunnableTrain> =>
  (await openProject(write(...parts))).train();

interface Network {
  readonly uses: string;
  readonly model: string;
  readonly input: string;
  readonly prune: string;
  /** The shapes that are left, of what gets smaller. */
  readonly left: Readonly<Record<string, readonly number[]>>;
}

const networks: Readonly<Record<string, Network>> = {
  'neurons of a perceptron': {
    uses: 'use std.layers { Linear }\nuse std.pruning { channels }',
    model: `model Net {
  up = Linear{1, 8}
  mid = Linear{8, 6}
  down = Linear{6, 2}
  (x: f32[B]) -> f32[B, 2] = reshape(x, [B, 1]) |> up |> relu |> mid |> relu |> down
}`,
    input: 'f32(index)',
    prune: 'prune model.{up, mid}.weight with channels{keep: 0.5}',
    left: {
      'model.up.weight': [1, 4],
      'model.up.bias': [4],
      'model.mid.weight': [4, 3],
      'model.mid.bias': [3],
      'model.down.weight': [3, 2],
    },
  },
  'channels through a normalization, pooling and flattening': {
    uses: 'use std.layers { Linear, Conv2d, max_pool }\nuse std.normalization { BatchNorm }\nuse std.pruning { channels }',
    model: `model Net {
  conv = Conv2d{1, 8, kernel: 3, padding: 1}
  norm = BatchNorm{8}
  fc = Linear{8 * 2 * 2, 3}
  (x: f32[B]) -> f32[B, 3] = broadcast(reshape(x, [B, 1, 1, 1]), [B, 4, 4, 1]) |> conv |> norm |> relu |> max_pool |> flatten |> fc
}`,
    input: 'f32(index)',
    prune: 'prune model.conv.weight with channels{keep: 0.25}',
    left: {
      'model.conv.weight': [3, 3, 1, 2],
      'model.conv.bias': [2],
      'model.norm.scale': [2],
      'model.norm.shift': [2],
      'model.norm.running_mean': [2],
      'model.norm.running_variance': [2],
      'model.fc.weight': [8, 3],
    },
  },
  'channels that a residual ties together': {
    uses: 'use std.layers { Linear }\nuse std.pruning { channels }',
    model: `layer Block {
  a = Linear{8, 8}
  b = Linear{8, 8}
  (x: f32[B, 8]) -> f32[B, 8] = x + (x |> a |> relu |> b)
}
model Net {
  first = Linear{1, 8}
  blocks = [Block{} for _i in 0..2]
  last = Linear{8, 2}
  (x: f32[B]) -> f32[B, 2] = reshape(x, [B, 1]) |> first |> blocks |> relu |> last
}`,
    input: 'f32(index)',
    prune: 'prune model.first.weight, model.blocks.*.b.weight with channels{keep: 0.5}',
    left: {
      'model.first.weight': [1, 4],
      'model.first.bias': [4],
      'model.blocks.0.a.weight': [4, 8],
      'model.blocks.0.b.weight': [8, 4],
      'model.blocks.0.b.bias': [4],
      'model.blocks.1.a.weight': [4, 8],
      'model.blocks.1.b.weight': [8, 4],
      'model.blocks.1.b.bias': [4],
      'model.last.weight': [4, 2],
    },
  },
  'branches side by side': {
    uses: 'use std.layers { Linear }\nuse std.pruning { channels }',
    model: `model Net {
  a = Linear{1, 4}
  b = Linear{1, 6}
  out = Linear{10, 2}
  (x: f32[B]) -> f32[B, 2] {
    let h = reshape(x, [B, 1])
    concat([a(h), b(h)], axis: 1) |> relu |> out
  }
}`,
    input: 'f32(index)',
    prune: 'prune model.{a, b}.weight with channels{keep: 0.5}',
    left: {
      'model.a.weight': [1, 2],
      'model.a.bias': [2],
      'model.b.weight': [1, 3],
      'model.b.bias': [3],
      'model.out.weight': [5, 2],
    },
  },
  'heads of attention, and the wide layer behind it': {
    uses: 'use std.attention { TransformerBlock }\nuse std.pruning { channels, heads }',
    model: `model Net {
  block = TransformerBlock{dim: 8, heads: 4, causal: true}
  (x: f32[B, 5, 8]) -> f32[B, 5, 8] = block(x)
}`,
    input: 'reshape(sin(f32(index) + 1), [_, 1, 1]) * sin(f32(reshape(iota(40), [1, 5, 8])))',
    prune:
      'prune model.block.attn.qkv.weight with heads{count: 4, keep: 0.5}\n  prune model.block.up.weight with channels{keep: 0.25}',
    left: {
      'model.block.attn.qkv.weight': [8, 12],
      'model.block.attn.qkv.bias': [12],
      'model.block.attn.proj.weight': [4, 8],
      'model.block.up.weight': [8, 8],
      'model.block.up.bias': [8],
      'model.block.down.weight': [8, 8],
    },
  },
};

/** Columns by the pruner of the file, from these weights. */
function columnsFrom(
  { block }: RunnableTrain,
  weights: ReadonlyMap<string, Tensor>,
): Record<string, readonly number[]> {
  const judge = buildColumns(block, new Diagnostics());
  const results = interpretGraph(judge, weights, { precision: 'f64' });
  return readColumns([...results].map(([name, { data }]) => [name, data]));
}

/** Values for every input of a graph that is not there yet. */
function drawInputs(graph: Graph, known: Map<string, Tensor>, next: () => number): void {
  for (const { name, role, value } of graph.inputs)
    if (!known.has(name))
      known.set(name, draw(value.type, next, role === 'batch' ? { integers: [0, 8] } : { range: [0.1, 1] }));
}

describe('what is left computes what the whole does without the rest', () => {
  it.each(Object.entries(networks))('%s', async (_, { uses, model, input, prune, left }) => {
    const train = await open(uses, model, input, prune);
    const diagnostics = new Diagnostics();
    const whole = buildEvaluation(train.block, 0, train.data.evaluations[0], 2, diagnostics);
    const inputs = new Map<string, Tensor>();
    drawInputs(whole, inputs, numbers(7));
    const small = compactBlock(train.block, columnsFrom(train, inputs), train.data.train, diagnostics);
    const compacted = buildEvaluation(small, 0, train.data.evaluations[0], 2, diagnostics);
    expect(verifyGraph(compacted)).toEqual([]);

    const shapes = new Map(compacted.inputs.map(({ name, value }) => [name, concrete(value.type.shape)]));
    const smaller = whole.inputs.filter(({ name, value }) => shapes.get(name)?.join() !== value.type.shape.join());
    expect(Object.fromEntries(smaller.map(({ name }) => [name, shapes.get(name)]))).toEqual(left);
    // What is guessed before there are weights is as large.
    for (const { name, shape } of weightsOf(asTrained(train).plan))
      if (shapes.has(name)) expect(shape, name).toEqual(shapes.get(name));

    const [masked, sliced] = [new Map(inputs), new Map(inputs)];
    for (const [name, kept] of small.kept) {
      const tensor = inputs.get(name);
      if (tensor === undefined) continue;
      const shape = concrete(tensor.type.shape);
      const places = slice([...tensor.data.keys()], shape, kept);
      const stays = new Set(places);
      masked.set(name, { ...tensor, data: tensor.data.map((value, at) => (stays.has(at) ? value : 0)) });
      sliced.set(name, {
        type: { ...tensor.type, shape: shapes.get(name) ?? [] },
        data: Float64Array.from(places, (at) => tensor.data[at]),
      });
    }
    const expected = interpretGraph(whole, masked, { precision: 'f64' });
    const found = interpretGraph(compacted, sliced, { precision: 'f64' });
    for (const [name, { data }] of expected) expect(found.get(name)?.data[0], name).toBeCloseTo(data[0], 9);

    // It can be trained: gradients, updates and running statistics have the smaller shapes.
    const step = buildStep(small, train.data.train, 2, 'only', diagnostics);
    expect(verifyGraph(step)).toEqual([]);
    for (const { name, role, value } of step.outputs)
      if (role === 'update' && shapes.has(name)) expect(concrete(value.type.shape), name).toEqual(shapes.get(name));
    expect(diagnostics.all).toEqual([]);
  });
});

describe('what cannot go', () => {
  const rendered = (diagnostics: readonly Diagnostic[]): string =>
    diagnostics
      .map((diagnostic) => renderDiagnostic(diagnostic, { color: false }))
      .join('\n')
      .replaceAll(`${folder}/`, '')
      .replace(/case\d+/g, 'case');
  /** What is said before training, and when the file is checked. */
  const complaint = async (...parts: Parameters<typeof write>): Promise<string> => {
    const project = await openProject(write(...parts));
    try {
      await project.train();
    } catch (error) {
      if (!(error instanceof Diagnosed)) throw error;
      const said = rendered(error.diagnostics);
      expect(rendered(project.check())).toBe(said);
      return said;
    }
    throw new Error('nothing was wrong');
  };
  const uses = 'use std.layers { Linear }\nuse std.normalization { LayerNorm }\nuse std.pruning { channels }';
  const normed = `model Net {
  up = Linear{1, 8}
  norm = LayerNorm{8}
  down = Linear{8, 2}
  (x: f32[B]) -> f32[B, 2] = reshape(x, [B, 1]) |> up |> norm |> down
}`;

  const apart = `(x: f32[B]) -> f32[B, 2] {
    let h = reshape(x, [B, 1]) |> up
    down(if training then h + sum(norm.scale) + sum(norm.shift) else norm(h))
  }`;

  it('is said with the line that forbids it: a mean is taken over it', async () => {
    expect(await complaint(uses, normed, 'f32(index)', 'prune model.up.weight with channels{keep: 0.5}'))
      .toMatchInlineSnapshot(`
        "error[cannot-compact]: What this removes runs into an axis that has to stay whole: it is reduced over.
          --> case.model:19:3
        19 |   prune model.up.weight with channels{keep: 0.5}
           |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          --> stdlib/normalization.model:8:17
         8 |     let c = x - mean(x, axis: -1, keep: true)
           |                 ----------------------------- here
           = inside \`model.norm\`
           = \`channels\`: Keeps the part \`keep\` of the outputs of a weight whose last axis counts them, those of the largest norm; the others are removed, with all that goes with them.
           hint: Prune what lies before it by element: \`magnitude\` keeps all shapes. Or leave this weight out of the selector."
      `);
  });

  it('is said with the line of several that it is about, and what its pruner is for', async () => {
    const model = `model Net {
  up = Linear{1, 12}
  q = Linear{12, 12}
  k = Linear{12, 12}
  v = Linear{12, 12}
  wide = Linear{12, 8}
  down = Linear{8, 2}
  (x: f32[B]) -> f32[B, 2] {
    let h = broadcast(reshape(x, [B, 1, 1]), [B, 3, 1]) |> up
    let y = attention{}(reshape(q(h), [B, 3, 2, 6]), reshape(k(h), [B, 3, 2, 6]), reshape(v(h), [B, 3, 2, 6]))
    mean(reshape(y, [B, 3, 12]) |> wide |> relu |> down, axis: 1)
  }
}`;
    const attending = 'use std.layers { Linear }\nuse std.attention { attention }\nuse std.pruning { channels, heads }';
    const lines = 'prune model.wide.weight with channels{keep: 0.5}\n  prune model.q.weight with heads{count: 2}';
    expect(await complaint(attending, model, 'f32(index)', lines)).toMatchInlineSnapshot(`
      "error[cannot-compact]: What this removes runs into an axis that has to stay whole: a reshape cuts across it.
        --> case.model:27:3
      27 |   prune model.q.weight with heads{count: 2}
         |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        --> stdlib/layers.model:8:40
       8 |   (x: f32[..., in]) -> f32[..., out] = x @ weight + bias
         |                                        ----------------- here
         = inside \`model.q\`
         = \`heads\`: Keeps the part \`keep\` of the \`count\` heads of one projection to queries, keys and values together (\`3 * count * D\` columns), those whose three parts have the largest norm together.
         hint: Prune what lies before it by element: \`magnitude\` keeps all shapes. Or leave this weight out of the selector."
    `);
  });

  it.each([
    [
      'keep: 0.05',
      `error[keeps-no-column]: \`channels\` keeps none of the 8 columns of \`model.up.weight\`.
  --> case.model:17:3
17 |   prune model.up.weight with channels{keep: 0.05}
   |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   hint: Columns stay or go as a whole: keep a larger part of them.
`,
    ],
    [
      'keep: 0.95',
      `error[requirement]: \`channels\` expects \`round((1 - keep) * O) >= 1\`, but \`keep\` is 0.95 and \`O\` is 8.
  --> case.model:17:3
17 |   prune model.up.weight with channels{keep: 0.95}
   |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  --> stdlib/pruning.model:52:3
52 |   expect round((1 - keep) * O) >= 1
   |   ---------------------------------
`,
    ],
  ])('is all or nothing of so few columns with %s', async (part, message) => {
    const plain = `model Net {
  up = Linear{1, 8}
  down = Linear{8, 2}
  (x: f32[B]) -> f32[B, 2] = reshape(x, [B, 1]) |> up |> down
}`;
    const path = write(
      'use std.layers { Linear }\nuse std.pruning { channels }',
      plain,
      'f32(index)',
      `prune model.up.weight with channels{${part}}`,
    );
    const { code, err } = await nacre('train', path, '--target', 'reference', '--out', folder);
    expect([
      code,
      err
        .replaceAll(`${folder}/`, '')
        .replace(/case\d+/g, 'case')
        .trimEnd(),
    ]).toEqual([1, message.trimEnd()]);
  });

  it('is said when the file is checked, where data that are not here do not matter', async () => {
    const check = async (data: string, prune: string): Promise<readonly string[]> => {
      const path = write(uses, normed, 'f32(index)', prune);
      const [text, points] = [readFileSync(path, 'utf8'), 'generate(8) |> map(x: f32(index))'];
      expect(text).toContain(points);
      writeFileSync(path, text.replace(points, data));
      return (await openProject(path)).check().map(({ code }) => code);
    };
    const [half, none] = [0.5, 0.05].map((keep) => `prune model.up.weight with channels{keep: ${keep}}`);
    expect(await check('csv("none.csv", x: "x")', half)).toEqual(['cannot-compact']);
    expect(await check('csv("none.csv", x: "x")', none)).toEqual(['keeps-no-column']);
    // Which shape an array has is in its file, so here only the weights speak.
    expect(await check('npy(x: "none.npy")', half)).toEqual([]);
    expect(await check('npy(x: "none.npy")', none)).toEqual(['keeps-no-column']);
  });

  it('is said of what an evaluation alone reads', async () => {
    const path = write(
      uses,
      normed.replace('(x: f32[B]) -> f32[B, 2] = reshape(x, [B, 1]) |> up |> norm |> down', apart),
      'f32(index)',
      'prune model.up.weight with channels{keep: 0.5}',
    );
    expect((await openProject(path)).check()).toMatchObject([
      { code: 'cannot-compact', message: expect.stringContaining('it is reduced over') },
    ]);
  });

  it('takes along what goes together with it, and says so', async () => {
    const gated = `model Net {
  up = Linear{1, 16}
  down = Linear{8, 2}
  (x: f32[B]) -> f32[B, 2] {
    let h = reshape(x, [B, 1]) |> up
    down(h[:, 0..8] * sigmoid(h[:, 8..16]))
  }
}`;
    const path = write(
      'use std.layers { Linear }\nuse std.pruning { channels }',
      gated,
      'f32(index)',
      'prune model.up.weight with channels{keep: 0.75}',
    );
    const { code, err } = await nacre('train', path, '--target', 'reference', '--out', folder);
    expect([code, err]).toEqual([
      0,
      expect.stringMatching(
        /  model\.up\.weight  \[1, 16\] → \[1, \d+\] \(\d more than its pruner removes: they go together with what it does\)\n/,
      ),
    ]);
  });

  it('and a pruner of the file may keep every column of the weights that there are', async () => {
    const path = write(
      `use std.layers { Linear }
fn large(weight: f32[..., O], _step: f32) -> bool[O] = sum(reshape(weight * weight, [_, O]), axis: 0) >= 0`,
      `model Net {
  up = Linear{1, 8}
  (x: f32[B]) -> f32[B, 8] = reshape(x, [B, 1]) |> up
}`,
      'f32(index)',
      'prune model.up.weight with large',
    );
    const { code, err } = await nacre('train', path, '--target', 'reference', '--out', folder);
    expect([code, err]).toEqual([
      1,
      expect.stringContaining('`large` removes no column of `model.up.weight` (it has 8).'),
    ]);
  });

  it('is said of what the loss reads', async () => {
    expect(await complaint(uses, normed, 'f32(index)', 'prune model.down.weight with channels{keep: 0.5}')).toContain(
      'What this removes runs into an axis that has to stay whole: it is reduced over.',
    );
  });

  it.each(['globally', 'every 5', 'every 5 rewind 0'])('is not removed %s', async (words) => {
    expect(
      await complaint(uses, normed, 'f32(index)', `prune model.up.weight with channels{keep: 0.5} ${words}`),
    ).toContain(
      `Whole channels are removed once, before the first step, each weight by itself: \`${words.split(' ')[0]}\` does not go with it.`,
    );
  });
});
