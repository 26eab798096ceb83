/** What the files hold that the examples read, so that none is needed. */
import type { DataDescription } from '../../compiler/elaborate/describe.ts';
import { sourceOf, type SourcePlan } from '../../runtime/data/load.ts';
import { orderSamples } from '../../runtime/data/order.ts';
import type { DataPlan } from '../../runtime/program.ts';

/** `window`: characters of a text in a sample, where not as many as the plan says. */
export function describeExample(plan: DataPlan, window?: number): DataDescription {
  const { count, fields } = describeSource(sourceOf(plan), window);
  return { count: orderSamples(plan, count).count, fields };
}

function describeSource(plan: SourcePlan, window: number | undefined): DataDescription {
  switch (plan.kind) {
    case 'idx':
      return {
        count: 10_000,
        fields: plan.fields.map(({ name }) => ({ name, dtype: 'u8', shape: name === 'image' ? [28, 28] : [] })),
      };
    case 'text':
      return {
        count: 1000,
        fields: [plan.input, plan.target].map((name) => ({ name, dtype: 'i32', shape: [window ?? plan.length] })),
      };
    case 'generate':
      return { count: plan.count, fields: [{ name: plan.index, dtype: 'i32', shape: [] }] };
    case 'npy':
    case 'csv':
      throw new Error(`no example reads ${plan.kind}`);
  }
}
