import { expect, test } from 'vitest';
import { drawChart } from '../../runtime/chart.ts';
import { renderReport } from '../../runtime/report.ts';
import type { MetricsLine } from '../../runtime/run-folder.ts';
import { regressionPlan } from './fake.ts';

const lines = (steps: number): MetricsLine[] =>
  Array.from({ length: steps }, (_, i): MetricsLine[] => [
    { event: 'step', step: i + 1, epoch: 1, loss: 2 / (i + 1), lr: 0.1, seconds: i },
    ...(i % 10 === 9 ? [{ event: 'eval', step: i + 1, epoch: 1, data: 'held', accuracy: i / steps }] : []),
  ]).flat();

test('the page holds the curves and the facts and asks for nothing from elsewhere', () => {
  const page = renderReport(
    { plan: regressionPlan(), settings: { epochs: 3 }, source: { path: 'a.model', text: 'x < 1 & "y"' } },
    lines(50),
  );
  expect(page.match(/<svg/g)).toHaveLength(3);
  expect(page).toContain('Training loss');
  expect(page).toContain('accuracy on held');
  expect(page).toContain('x &#60; 1 &#38; &#34;y&#34;');
  expect(page).not.toMatch(/https?:|src=|href=|<script|NaN|undefined/);
});

test('names cannot break out of the page', () => {
  const page = renderReport(
    { plan: regressionPlan({ name: '<script>alert(1)</script>' }), settings: { a: '</pre><img>' } },
    lines(3),
  );
  expect(page).not.toMatch(/<script|<img/);
});

test('a long run makes a short page, an empty one a page all the same', () => {
  expect(renderReport({ plan: regressionPlan(), settings: {} }, lines(100_000)).length).toBeLessThan(400_000);
  expect(renderReport({ plan: regressionPlan(), settings: {} }, [])).toContain('<h1>line</h1>');
});

test('every point lies within the picture, on straight and logarithmic axes', () => {
  for (const ys of [[1, 2, 3], [0, 0, 0], [1e-6, 1, 500], [-5, 3, 1e9], [7]]) {
    const svg = drawChart({
      title: 't',
      xLabel: 'x',
      lines: [{ label: 'l', style: 'main', points: ys.map((y, x) => ({ x, y })) }],
    });
    const places = [...(/points="([^"]*)"/.exec(svg)?.[1] ?? '').split(' ')].map((place) =>
      place.split(',').map(Number),
    );
    expect(places).toHaveLength(ys.length);
    for (const [x, y] of places) {
      expect(x).toBeGreaterThanOrEqual(64);
      expect(x).toBeLessThanOrEqual(744);
      expect(y).toBeGreaterThanOrEqual(12);
      expect(y).toBeLessThanOrEqual(240);
    }
  }
});
