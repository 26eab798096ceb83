/** What fusion makes of small graphs, and what it says about it, as text: on a processor, and on a GPU with matrix instructions. */
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { fuse, type FuseOptions, type FusionDecision } from '../../compiler/fuse/fuse.ts';
import { parseGraph } from '../../compiler/graph/parse-text.ts';
import { verifyGraph } from '../../compiler/graph/verify.ts';
import { printLoop } from '../../compiler/loop/text.ts';
import { runCases } from '../support/cases.ts';
import { expectSame, inputsFor } from './support.ts';

describe.each<[string, FuseOptions]>([
  ['fuse.case', {}],
  ['fuse-gpu.case', { wholeChains: true, asItLies: true }],
])('%s', (file, options) =>
  runCases(join(import.meta.dirname, file), (text) => {
    const graph = parseGraph(text);
    expect(verifyGraph(graph)).toEqual([]);
    const program = expectSame(graph, inputsFor(graph), 1e-5, options);
    return `${printLoop(program)}${fuse(graph, options).decisions.map(showDecision).join('')}`;
  }),
);

/** In the words of `nacre explain`. */
function showDecision({ producer, consumer, fused, reason, bytesSaved }: FusionDecision): string {
  if (fused) return `made: ${producer} into ${consumer}: ${reason} (${bytesSaved} bytes saved)\n`;
  return consumer === 'its uses'
    ? `kept in memory: ${producer}: ${reason}\n`
    : `refused: ${producer} with ${consumer}: ${reason}\n`;
}
