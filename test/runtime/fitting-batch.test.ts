/** Which batch would have room: found by few looks at what a program takes. */
import { expect, test } from 'vitest';
import type { Room } from '../../runtime/devices/room.ts';
import { fittingBatch } from '../../tools/driver/fitting-batch.ts';

const rooms =
  (all: number, wanted: (batch: number) => number) =>
  (batch: number): readonly Room[] => [
    { all, taken: 100, wanted: wanted(batch), limit: 'there are', buffers: [], bytesOf: () => 0 },
  ];

test.each<[string, number, (batch: number) => number, number]>([
  ['all of it grows', 1100, (batch) => 10 * batch, 100],
  ['weights do not', 1100, (batch) => 500 + 10 * batch, 50],
  ['nothing is left for the weights', 1100, (batch) => 1001 + batch, 0],
  ['one sample is too large', 1100, (batch) => 2000 * batch, 0],
  ['one sample just fits', 1100, (batch) => 990 * batch, 1],
  ['it grows by steps', 1100, (batch) => 64 * Math.ceil(batch / 8), 118],
  ['it grows faster at first', 1100, (batch) => Math.min(200, 100 * batch) + batch, 736],
])('%s', (_, all, wanted, fitting) => {
  const looks: number[] = [];
  const found = fittingBatch(1000, (batch) => {
    looks.push(batch);
    return rooms(all, wanted)(batch);
  });
  expect(found).toBe(fitting);
  if (found > 0) expect(100 + wanted(found)).toBeLessThanOrEqual(all);
  expect(looks.length).toBeLessThanOrEqual(6);
});

test('two memories: the one that is full decides', () => {
  const both = (batch: number): readonly Room[] => [
    ...rooms(1100, (size) => size)(batch),
    ...rooms(1100, (size) => 100 * size)(batch),
  ];
  expect(fittingBatch(1000, both)).toBe(10);
});
