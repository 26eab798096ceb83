/** A model that says of points whether they are inside a circle. */
export const source = `
use std.layers { Linear }
use std.optim { Adam }

data points = npy(x: "x.npy", y: "y.npy")

model Net{hidden: int = 16} {
  up = Linear{2, hidden}
  down = Linear{hidden, 2}
  (x: f32[B, 2]) -> f32[B, 2] = x |> up |> tanh |> down
}

train inside {
  model = Net{}
  data = points() |> batch(64)
  loss(x, y) = cross_entropy(model(x), y)
  optimizer = Adam{lr: 0.05}
  epochs = 1
  eval(x, y) over points() = { accuracy: accuracy(model(x), y) }
}
`;

/** The block with other lines in it. */
export const block = (lines: string): string => source.replace('  optimizer =', `  ${lines}\n  optimizer =`);

export const data = { x: { dtype: 'f32', shape: [2] }, y: { dtype: 'i32', shape: [] } } as const;

/** Is a point inside the circle of radius 0.7? Its text runs in pages, too: it uses nothing from outside. */
export function points(count: number, seed: number): { x: Float32Array; y: Int32Array } {
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32) * 2 - 1;
  };
  const x = Float32Array.from({ length: 2 * count }, next);
  const y = Int32Array.from({ length: count }, (_, at) => Number(Math.hypot(x[2 * at], x[2 * at + 1]) < 0.7));
  return { x, y };
}
