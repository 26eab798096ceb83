/** Amounts for people: 1.2 MiB, 3.4 GFLOP, 56 µs. */

const scaled = (value: number, step: number, units: readonly string[]): string => {
  let size = value;
  let unit = 0;
  while (size >= step * 0.9995 && unit < units.length - 1) {
    size /= step;
    unit++;
  }
  const digits = unit === 0 && Number.isInteger(size) ? 0 : size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return `${size.toFixed(digits)} ${units[unit]}`.trimEnd();
};

export const showBytes = (bytes: number): string => scaled(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
export const showFlops = (flops: number): string => scaled(flops, 1000, ['FLOP', 'kFLOP', 'MFLOP', 'GFLOP', 'TFLOP']);
export const showSeconds = (seconds: number): string => scaled(seconds * 1e9, 1000, ['ns', 'µs', 'ms', 's']);
export const showRate = (perSecond: number, unit: string): string =>
  scaled(perSecond, 1000, [`${unit}/s`, `k${unit}/s`, `M${unit}/s`, `G${unit}/s`, `T${unit}/s`]);
export const showCount = (count: number): string => count.toLocaleString('en');
