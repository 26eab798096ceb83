/** Typed pointers for LLVM 14, and bitcode through llvm-bindings where that optional peer is installed. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { compile } from '../../compiler/pipeline.ts';
import { capabilitiesOf } from '../../compiler/targets/llvm/features.ts';
import { emitLlvm } from '../../compiler/targets/llvm/step.ts';
import { withTypedPointers } from '../../compiler/targets/llvm/typed-pointers.ts';
import type { TileProgram } from '../../compiler/tile/tile.ts';
import { findBindings, writeBitcode } from '../../tools/driver/bitcode.ts';
import { eachSample, graphOf } from '../support/samples.ts';
import { together } from '../tile/programs.ts';

const folder = mkdtempSync(join(tmpdir(), 'nacre-bitcode-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('pointers are cast to what they are used for', () => {
  const text = [
    'define void @k(ptr noalias %p0) {',
    '  %v1 = getelementptr inbounds float, ptr %p0, i64 3',
    '  %v2 = load <4 x float>, ptr %v1, align 4',
    '  store <4 x float> %v2, ptr %v1, align 4',
  ].join('\n');
  expect(withTypedPointers(text).split('\n')).toEqual([
    'define void @k(i8* noalias %p0) {',
    '  %c0 = bitcast i8* %p0 to float*',
    '  %c1 = getelementptr inbounds float, float* %c0, i64 3',
    '  %v1 = bitcast float* %c1 to i8*',
    '  %c2 = bitcast i8* %v1 to <4 x float>*',
    '  %v2 = load <4 x float>, <4 x float>* %c2, align 4',
    '  %c3 = bitcast i8* %v1 to <4 x float>*',
    '  store <4 x float> %v2, <4 x float>* %c3, align 4',
  ]);
});

const bindings = findBindings();

test.runIf(bindings === undefined)('without llvm-bindings there is a sentence', () => {
  expect(() => writeBitcode('', join(folder, 'no.bc'))).toThrow(
    'npm install --no-save --save-optional llvm-bindings@0.4.2',
  );
});

describe.skipIf(bindings === undefined)(
  `llvm-bindings${bindings === undefined ? ' (skipped: not installed)' : ''}`,
  () => {
    test('verifies and writes every op', () => {
      const capabilities = capabilitiesOf({ architecture: 'x86_64', features: '+avx512f,+avx512bw,+avx512vl' }, 2);
      const tiles: TileProgram[] = [];
      eachSample((op, sample) => {
        if (sample.inputs.every(({ dtype }) => dtype !== 'f64'))
          tiles.push(compile(graphOf(op, sample), capabilities).tile);
      });
      const path = join(folder, 'all.bc');
      writeBitcode(emitLlvm(together(tiles)).text, path);
      expect([...readFileSync(path).subarray(0, 4)]).toEqual([0x42, 0x43, 0xc0, 0xde]);
    });

    test('does not believe an empty module', () => {
      const path = join(folder, 'broken.bc');
      expect(() => writeBitcode('define void @step(', path)).toThrow('llvm-bindings cannot read the module');
      expect(existsSync(path)).toBe(false);
    });
  },
);
