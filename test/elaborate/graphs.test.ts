import { join } from 'node:path';
import { describe } from 'vitest';
import { slotPath } from '../../compiler/elaborate/value.ts';
import { printGraph } from '../../compiler/graph/text.ts';
import { runCases } from '../support/cases.ts';
import { run, shown } from './support.ts';

describe('definitions on concrete sizes, as the Tensor IR they become', () => {
  runCases(join(import.meta.dirname, 'graphs.case'), (text) => {
    const { value, context, diagnostics } = run(text, { training: true });
    if (!diagnostics.isEmpty) return shown(diagnostics);
    const build = context.root;
    if (value.kind === 'tensor') build.output('y', 'result', value.value);
    if (value.kind === 'loss') {
      build.output('sum', 'result', value.sum);
      build.output('count', 'result', value.count);
    }
    for (const [slot, next] of context.updates) build.output(slotPath(slot), 'update', next);
    return printGraph(build.finish(), { origins: false });
  });
});
