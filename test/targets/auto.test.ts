/** What `auto` says where it takes the processor. */
import { expect, test } from 'vitest';
import { onCpu } from '../../tools/driver/target.ts';

test.each([
  [1, undefined, 'Target cpu: machine code, one thread.'],
  [
    8,
    { name: 'NVIDIA H100', webgpu: false },
    'Target cpu: machine code, 8 threads. The NVIDIA H100 here is usually faster: --target cuda.',
  ],
  [
    8,
    { webgpu: true },
    'Target cpu: machine code, 8 threads. The GPU here may be faster for large models: --target webgpu.',
  ],
  [
    8,
    { webgpu: false },
    'Target cpu: machine code, 8 threads. The GPU here may be faster for large models: `npm install webgpu`, then --target webgpu.',
  ],
] as const)('%s threads, %o', (threads, gpu, said) => expect(onCpu(threads, gpu)).toBe(said));
