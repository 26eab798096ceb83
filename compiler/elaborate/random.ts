/**
 * Random tensors. Bits are a pure function of (seed, step, stream, index); the stream is a hash of where in the model the
 * draw stands — the instance's path and the number of the draw there — so that a resumed run draws what an uninterrupted
 * one draws, and one layer's draws do not move when another is edited.
 */
import type { Span } from '../base/source.ts';
import type { Value as GraphValue } from '../graph/graph.ts';
import type { Dim } from '../types/dim.ts';
import { atRoot, emit, type Context, type LoopBody } from './context.ts';

/** u32 bits of this shape. */
function bits(context: Context, shape: readonly Dim[], span: Span): GraphValue {
  const place = context.path ?? '';
  const count = context.draws.get(place) ?? 0;
  context.draws.set(place, count + 1);
  const stream = hash(`${place}#${count}`);
  const { seed, step } = driver(context, span);
  const at = iterationStep(context, context.loop, step, span);
  return emit(context, span, (builder) => builder.random(seed, at, stream, shape));
}

/** The driver's scalars: inputs of the graph from the first draw on. */
function driver(context: Context, span: Span): { seed: GraphValue; step: GraphValue } {
  const [seed, step] = [context.seed, context.step];
  if (seed !== undefined && step !== undefined) return { seed, step };
  return atRoot(context, () => {
    const made = {
      seed: seed ?? emit(context, span, (builder) => builder.input('seed', 'scalar', { dtype: 'u32', shape: [2] })),
      step: step ?? emit(context, span, (builder) => builder.input('step', 'scalar', { dtype: 'u32', shape: [] })),
    };
    Object.assign(context, made);
    return made;
  });
}

/** Inside a scan every iteration draws anew: its number is mixed into the step (an odd constant spreads the bits). */
function iterationStep(context: Context, loop: LoopBody | undefined, driven: GraphValue, span: Span): GraphValue {
  if (loop === undefined) return driven;
  loop.drew = true;
  const step = iterationStep(context, loop.outer, driven, span);
  const { iteration } = loop;
  if (iteration === undefined) return step;
  return emit(context, span, (builder) => {
    const next = builder.binary('add', iteration, builder.constant(1, 'u32'));
    return builder.binary('xor', step, builder.binary('mul', next, builder.constant(0x9e3779b1, 'u32')));
  });
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let state = 0x811c9dc5;
  for (let place = 0; place < text.length; place++) state = Math.imul(state ^ text.charCodeAt(place), 0x01000193) >>> 0;
  return state;
}

/** f32 on [0, 1): the upper 24 bits. */
export function drawUniform(context: Context, shape: readonly Dim[], span: Span): GraphValue {
  const drawn = bits(context, shape, span);
  return emit(context, span, (builder) =>
    builder.binary(
      'mul',
      builder.cast(builder.binary('shr', drawn, builder.constant(8, 'u32', shape)), 'f32'),
      builder.constant(2 ** -24, 'f32', shape),
    ),
  );
}

/** f32 with mean 0 and deviation 1, by Box and Muller's transform. */
export function drawNormal(context: Context, shape: readonly Dim[], span: Span): GraphValue {
  const [radius, angle] = [drawUniform(context, shape, span), drawUniform(context, shape, span)];
  return emit(context, span, (builder) => {
    const filled = (value: number): GraphValue => builder.constant(value, 'f32', shape);
    // 1 − u is never 0, so its logarithm is finite.
    const distance = builder.unary(
      'sqrt',
      builder.binary('mul', filled(-2), builder.unary('log', builder.binary('sub', filled(1), radius))),
    );
    return builder.binary('mul', distance, builder.unary('cos', builder.binary('mul', filled(2 * Math.PI), angle)));
  });
}

/** i32 on 0..limit. */
export function drawInteger(context: Context, shape: readonly Dim[], limit: number, span: Span): GraphValue {
  const drawn = bits(context, shape, span);
  return emit(context, span, (builder) =>
    builder.cast(builder.binary('rem', drawn, builder.constant(limit, 'u32', shape)), 'i32'),
  );
}
