/** Branches that constants decide: what only the other branch reads is no part of the run, and that is said. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Diagnostics } from '../../compiler/base/diagnostics.ts';
import { buildInit, buildStep } from '../../compiler/elaborate/step.ts';
import { parseSettings } from '../../tools/cli/settings.ts';
import { describeCutOff } from '../../tools/driver/notices.ts';
import { openProject, type Project } from '../../tools/driver/project.ts';

const folder = mkdtempSync(join(tmpdir(), 'nacre-cut-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

function open(branch: string, settings: readonly string[] = [], evaluation = 'model(x)'): Promise<Project> {
  const path = join(folder, `case${++files}.model`);
  writeFileSync(
    path,
    `use std.layers { Linear }
use std.optim { SGD }
data points() = generate(64) |> map(x: f32(index) / 64)
model Net{wide: bool = false} {
  up = Linear{1, 8}
  sides = [Linear{8, 8} for _i in 0..2]
  down = Linear{8, 1}
  (x: f32[B]) -> f32[B] {
    let h = reshape(x, [B, 1]) |> up |> relu
    let k = ${branch}
    down(k) |> reshape([B])
  }
}
train t {
  model = Net{}
  data = points() |> batch(16)
  loss(x) = mean_squared_error(model(x), x)
  optimizer = SGD{lr: 0.1, momentum: 0.9}
  epochs = 1
  eval(x) over points() = { mse: mean_squared_error(${evaluation}, x) }
}
`,
  );
  return openProject(path, { overrides: parseSettings(settings) });
}

const decided = 'if wide then sides(h) else h';

describe('what a constant cuts off', () => {
  it.each([decided, 'where(wide,  sides(h), h)'])(
    'is no part of the run, and is named with the branch: %s',
    async (branch) => {
      const project = await open(branch);
      expect(project.check()).toEqual([]);
      const { block, plan, data } = await project.train();
      const names = ['model.up.weight', 'model.up.bias', 'model.down.weight', 'model.down.bias'];
      expect(plan.parameters.map(({ name }) => name)).toEqual(names);
      expect(plan.states.map(({ name }) => name)).toEqual(names.map((name) => `optimizer.velocity.${name}`));
      for (const graph of [
        buildInit(block, new Diagnostics()),
        buildStep(block, data.train, plan.batch, 'only', new Diagnostics()),
      ])
        expect([...graph.inputs, ...graph.outputs].filter(({ name }) => name.includes('sides'))).toEqual([]);
      expect(describeCutOff(block)).toBe(
        `left out: model.sides.0.weight, model.sides.0.bias, model.sides.1.weight, model.sides.1.bias (144 numbers); the branch that reads them is not taken (${project.path}:10:26)`,
      );
    },
  );

  it('is there when the constant says so', async () => {
    const { block, plan } = await (await open(decided, ['model.wide=true'])).train();
    expect(plan.parameters).toHaveLength(8);
    expect(describeCutOff(block)).toBeUndefined();
  });

  it.each([
    ['an evaluation reads it', 'if training and not wide then h else sides(h)'],
    ['it is read elsewhere', 'if wide then sides(h) else sides(h)'],
  ])('stays where %s', async (_, branch) => {
    const project = await open(branch);
    const codes = project.check().map(({ code }) => code);
    // What training never reaches cannot be trained.
    expect(codes).toEqual(branch.includes('training') ? expect.arrayContaining(['unreached-parameter']) : []);
  });
});
