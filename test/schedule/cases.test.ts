/**
 * What scheduling makes of small kernels, as text: for a processor with AVX2, for any WebGPU adapter, for an NVIDIA GPU, and for one on
 * which 128 threads multiply together.
 */
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import { parseLoop } from '../../compiler/loop/parse.ts';
import { verifyLoop } from '../../compiler/loop/verify.ts';
import { forCuda } from '../../compiler/targets/cuda/compiler.ts';
import { forCpu } from '../../compiler/targets/llvm/compiler.ts';
import type { Compiler } from '../../compiler/targets/target.ts';
import { forWebGpu } from '../../compiler/targets/wgsl/compiler.ts';
import { parseTile } from '../../compiler/tile/parse.ts';
import { printTile } from '../../compiler/tile/text.ts';
import { runCases } from '../support/cases.ts';
import { sameAs, scheduledFor } from './support.ts';

describe.each<[string, Compiler<unknown>]>([
  ['cpu', forCpu({ architecture: 'x86_64', features: '+avx2,+fma' }, 4)],
  ['webgpu', forWebGpu()],
  ['cuda', forCuda()],
  ['cuda-wide', forCuda(2, true)],
])('%s.case', (name, { capabilities }) =>
  runCases(join(import.meta.dirname, `${name}.case`), (before) => {
    const program = parseLoop(before);
    expect(verifyLoop(program)).toEqual([]);
    const tile = scheduledFor(program, capabilities);
    const text = printTile(tile);
    const expectSame = sameAs(program);
    const again = parseTile(text);
    expect(printTile(again)).toBe(text);
    for (const one of [tile, again]) expectSame(one, name);
    return text;
  }),
);
