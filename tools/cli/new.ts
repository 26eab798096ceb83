/** `nacre new`: a small project in a new folder that trains at once, with nothing to download. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { UserError } from '../../runtime/errors.ts';
import { exit, type Terminal } from './terminal.ts';

const model = `// Which of two rings a point lies on: data that the language makes itself, and a network that learns them.
use std.layers { Linear }
use std.optim { Adam }
use std.random { noise }

/// The ring of point number \`key\`: 0, the inner one, or 1.
fn ring(key: u32[B]) -> i32[B] = i32(2 * noise{0}(key))

/// Its place: at a random angle, about as far out as its ring.
fn place(key: u32[B]) -> f32[B, 2] {
  let angle = 2 * pi * noise{1}(key)
  let radius = 0.5 + 0.5 * f32(ring(key)) + 0.3 * (noise{2}(key) - 0.5)
  let p[b, c in 0..2] = where(c == 0, cos(angle[b]), sin(angle[b])) * radius[b]
  p
}

data points(split: "train" | "test") =
  generate(if split == "train" then 4_000 else 1_000)
  |> map(key: u32(index) + (if split == "train" then 0 else 1_000_000))
  |> map(point: place(key), label: ring(key))

model Rings{hidden: int = 32} {
  fc1 = Linear{2, hidden}
  fc2 = Linear{hidden, 2}
  (x: f32[B, 2]) -> f32[B, 2] = x |> fc1 |> relu |> fc2
}

train rings {
  model = Rings{}
  data = points("train") |> shuffle(seed: 0) |> batch(64)
  loss(point, label) = cross_entropy(model(point), label)
  optimizer = Adam{lr: 1e-2}
  epochs = 5
  eval(point, label) over points("test") = { accuracy: accuracy(model(point), label) }
  save best accuracy
}

test "an untrained network guesses" {
  expect cross_entropy(Rings{}(normal[64, 2]), randint[64](2)) ≈ ln(2) within 0.7
}
test "its gradient is right" { gradcheck Rings{hidden: 4} at f32[3, 2] }
`;

export async function createProject(folder: string, terminal: Terminal): Promise<number> {
  const name = basename(folder);
  if (!/^[A-Za-z][\w-]*$/.test(name)) {
    throw new UserError('bad-name', `A project cannot be called "${name}".`, 'A name begins with a letter and has letters, digits, `-` and `_`.');
  }
  if (existsSync(folder)) throw new UserError('exists', `${folder} is there already; a new project gets a new folder.`);
  const file = `${name}.model`;
  const files = {
    [file]: model,
    '.gitignore': 'runs/\n',
    'README.md': `# ${name}\n\n    nacre train ${file}\n    nacre test ${file}\n`,
  };
  try {
    mkdirSync(folder, { recursive: true });
    for (const [path, text] of Object.entries(files)) writeFileSync(join(folder, path), text, { flag: 'wx' });
  } catch (error) {
    throw new UserError('write', `${folder} could not be written: ${error instanceof Error ? error.message : String(error)}.`);
  }
  terminal.out(`${folder} is there. To train it:\n  cd ${folder}\n  npx nacre train ${file}\n`);
  return exit.ok;
}
