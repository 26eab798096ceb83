import { describe, it } from 'vitest';
import { printLoop } from '../../compiler/loop/text.ts';
import { mlp } from './networks.ts';
import { countKernels, expectSame, inputsFor } from './support.ts';

describe('fusion keeps the meaning', () => {
  it('of an MLP trained with Adam', () => {
    const graph = mlp(4, [6, 5, 4, 3]);
    const program = expectSame(graph, inputsFor(graph, 3, { y: 3, step: 3 }));
    if (process.env.SHOW) console.log(printLoop(program), countKernels(program.steps));
  });
});
