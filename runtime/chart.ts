/** A line chart as one SVG element, in the colours of the page around it. */

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Line {
  readonly label: string;
  /** A CSS class of the page: `raw`, `main` or `other`. */
  readonly style: string;
  readonly points: readonly Point[];
}

export interface Chart {
  readonly title: string;
  readonly xLabel: string;
  readonly lines: readonly Line[];
}

const width = 760;
const height = 280;
const left = 64;
const right = 16;
const top = 12;
const bottom = 40;

export const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

/** A number as short as its four leading digits allow. */
export const shortNumber = (value: number): string =>
  Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value) : String(Number(value.toPrecision(4)));

/** Draws the lines over common axes; the vertical one logarithmic where the values span more than a factor of 30. */
export function drawChart({ title, xLabel, lines }: Chart): string {
  const points = lines.flatMap((line) => line.points);
  if (points.length === 0) return '';
  const xs = extent(points.map(({ x }) => x));
  const ys = extent(points.map(({ y }) => y));
  const logarithmic = ys.low > 0 && ys.high / ys.low > 30;
  const toY = (y: number): number => (logarithmic ? Math.log10(y) : y);
  const yTicks = logarithmic ? powerTicks(ys.low, ys.high) : niceTicks(ys.low, ys.high, 5);
  const yLow = Math.min(toY(ys.low), ...yTicks.map(toY));
  const yHigh = Math.max(toY(ys.high), ...yTicks.map(toY));
  const placeX = (x: number): number => left + ((x - xs.low) / (xs.high - xs.low || 1)) * (width - left - right);
  const placeY = (y: number): number =>
    height - bottom - ((toY(y) - yLow) / (yHigh - yLow || 1)) * (height - top - bottom);
  const grid = yTicks.map(
    (y) =>
      `<line class="grid" x1="${left}" x2="${width - right}" y1="${round(placeY(y))}" y2="${round(placeY(y))}"/>` +
      `<text x="${left - 8}" y="${round(placeY(y) + 4)}" text-anchor="end">${shortNumber(y)}</text>`,
  );
  const feet = niceTicks(xs.low, xs.high, 8)
    .filter((x) => x >= xs.low && x <= xs.high)
    .map(
      (x) => `<text x="${round(placeX(x))}" y="${height - bottom + 18}" text-anchor="middle">${shortNumber(x)}</text>`,
    );
  const drawn = lines.map((line) => drawLine(line, placeX, placeY));
  const legend =
    lines.length < 2
      ? ''
      : `<p class="legend">${lines.map((line) => `<span class="${line.style}">${escapeHtml(line.label)}</span>`).join(' ')}</p>`;
  return (
    `<figure><figcaption>${escapeHtml(title)}${logarithmic ? ' <small>(logarithmic)</small>' : ''}</figcaption>` +
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">${grid.join('')}${feet.join('')}` +
    `<text x="${(left + width - right) / 2}" y="${height - 6}" text-anchor="middle">${escapeHtml(xLabel)}</text>${drawn.join('')}</svg>${legend}</figure>`
  );
}

function drawLine(line: Line, placeX: (x: number) => number, placeY: (y: number) => number): string {
  const places = line.points.map(({ x, y }) => `${round(placeX(x))},${round(placeY(y))}`);
  const dots =
    line.points.length > 60 || line.style === 'raw'
      ? ''
      : line.points
          .map((point, i) => {
            const [x, y] = places[i].split(',');
            return `<circle class="${line.style}" cx="${x}" cy="${y}" r="3"><title>${shortNumber(point.x)}: ${shortNumber(point.y)}</title></circle>`;
          })
          .join('');
  return `<polyline class="${line.style}" points="${places.join(' ')}"/>${dots}`;
}

const round = (value: number): number => Math.round(value * 10) / 10;

const extent = (values: readonly number[]): { readonly low: number; readonly high: number } => ({
  low: values.reduce((a, b) => Math.min(a, b)),
  high: values.reduce((a, b) => Math.max(a, b)),
});

/** About this many round numbers that span the range. */
function niceTicks(low: number, high: number, wanted: number): number[] {
  if (low === high) return [low];
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.floor(low / step);
  const last = Math.ceil(high / step);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Powers of ten around the range, with 2 and 5 between where there are few. */
function powerTicks(low: number, high: number): number[] {
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const factors = last - first > 3 ? [1] : [1, 2, 5];
  const all = Array.from({ length: last - first + 1 }, (_, i) => first + i).flatMap((power) =>
    factors.map((factor) => Number((factor * 10 ** power).toPrecision(1))),
  );
  // The tick just below the range and the one just above, and no further ones.
  const below = all.filter((tick) => tick <= low).at(-1) ?? low;
  const above = all.find((tick) => tick >= high) ?? high;
  return all.filter((tick) => tick >= below && tick <= above);
}
