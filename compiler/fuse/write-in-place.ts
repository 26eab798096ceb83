/**
 * A temporary is written where another one was read for the last time, if nobody but who writes an element reads what lay there:
 *
 *   before   %b[i, j] = max(%a[i, j], 0)        nobody reads %a after it
 *   after    %a[i, j] = max(%a[i, j], 0)        and %a in all that read %b
 *
 * They are one buffer then, with the life of both, updated in place as a parameter is: nothing below has to know. The memory plan
 * could not do it, to which all that a launch touches lives at the same time.
 *
 * It needs two temporaries of one dtype and size, and a region or a product that reads the old one where it stores the new one, at the
 * index of the store: not in another stage, which may run before, after, or on other threads; not in what a product multiplies; not
 * turned, shifted, repeated or gathered.
 */
import { elementCount } from '../../common/elements.ts';
import { readsOf, writesOf } from '../loop/accesses.ts';
import { linksOf, rowMajorStrides } from '../loop/build.ts';
import type { Access, Axis, Buffer, Link, LoopProgram, Segment, Step, Store } from '../loop/loop.ts';
import { createRewriter, type Rewriter } from './rewrite-expression.ts';

export function writeInPlace(program: LoopProgram): LoopProgram {
  const places = new Map<Buffer, Buffer>();
  findPlaces(program.steps, false, usesOf(program.steps), places);
  const placeOf = (buffer: Buffer): Buffer => {
    const before = places.get(buffer);
    return before === undefined ? buffer : placeOf(before);
  };
  return places.size === 0
    ? program
    : {
        ...program,
        buffers: program.buffers.filter((buffer) => !places.has(buffer)),
        steps: program.steps.map((step) => moveStep(step, placeOf)),
      };
}

/** Notes for every buffer that is written in place of another which one. `all`: the uses in the whole program. */
function findPlaces(steps: readonly Step[], isRepeated: boolean, all: Uses, places: Map<Buffer, Buffer>): void {
  const uses = usesOf(steps);
  /** Where a temporary is used that is used nowhere but in these steps. */
  const lifeOf = (buffer: Buffer): Use | undefined => {
    const use = uses.get(buffer);
    return buffer.role === 'temporary' && use?.kernels === all.get(buffer)?.kernels ? use : undefined;
  };
  /** Does every trip begin with writing all of it? Otherwise it may read what an earlier one left. */
  const isFresh = (step: Step, buffer: Buffer): boolean =>
    step.kind === 'kernel' &&
    step.segments.every(
      (segment) =>
        !linksOf(segment)
          .flatMap(readsOf)
          .some((read) => read.buffer === buffer),
    ) &&
    step.segments.some((segment) => isLink(segment) && storeOf(segment, buffer) !== undefined);
  steps.forEach((step, at) => {
    if (step.kind === 'repeat') return findPlaces(step.body, true, all, places);
    const touched = step.segments.map((segment) => buffersIn(segment));
    step.segments.forEach((segment, which) => {
      if (!isLink(segment)) return;
      const own = [...touched[which]].filter((buffer) =>
        touched.every((buffers, other) => other === which || !buffers.has(buffer)),
      );
      const dying = own.filter((buffer) => {
        const life = lifeOf(buffer);
        if (life === undefined || life.last !== at || life.first === at) return false;
        return !isRepeated || isFresh(steps[life.first], buffer);
      });
      for (const born of own) {
        const life = lifeOf(born);
        if (life === undefined || life.first !== at || life.last === at) continue;
        const old = dying.find((buffer) => isSafe(segment, buffer, born));
        if (old === undefined) continue;
        dying.splice(dying.indexOf(old), 1);
        places.set(born, old);
      }
    });
  });
}

const isLink = (segment: Segment): segment is Link => segment.kind === 'region' || segment.kind === 'contraction';

interface Use {
  /** Places in a list of steps. */
  readonly first: number;
  last: number;
  /** How many kernels use it, those in repeats included. */
  kernels: number;
}

type Uses = ReadonlyMap<Buffer, Use>;

function usesOf(steps: readonly Step[]): Uses {
  const uses = new Map<Buffer, Use>();
  const visit = (step: Step, at: number): void => {
    if (step.kind === 'repeat') return step.body.forEach((inner) => visit(inner, at));
    for (const buffer of new Set(step.segments.flatMap((segment) => [...buffersIn(segment)]))) {
      const known = uses.get(buffer);
      if (known === undefined) uses.set(buffer, { first: at, last: at, kernels: 1 });
      else {
        known.last = at;
        known.kernels++;
      }
    }
  };
  steps.forEach(visit);
  return uses;
}

const buffersOf = new WeakMap<Segment, ReadonlySet<Buffer>>();

function buffersIn(segment: Segment): ReadonlySet<Buffer> {
  const before = buffersOf.get(segment);
  if (before !== undefined) return before;
  const accesses = linksOf(segment).flatMap((link) => [...readsOf(link), ...writesOf(link)]);
  const found = new Set(accesses.map(({ buffer }) => buffer));
  buffersOf.set(segment, found);
  return found;
}

/** Does nobody but who writes an element of `born` read that element of `old`, and none that was written before? */
function isSafe(link: Link, old: Buffer, born: Buffer): boolean {
  if (old.dtype !== born.dtype || elementCount(old.shape) !== elementCount(born.shape)) return false;
  const store = storeOf(link, born);
  if (store === undefined || readsOf(link).some(({ buffer }) => buffer === born)) return false;
  if (writesOf(link).some(({ buffer }) => buffer === old) || buffersIn(store.rest).has(old)) return false;
  return readsOf(link).every((access) => access.buffer !== old || isAlike(scalesOf(access), store.scales));
}

/** The only store of a buffer, if it writes each element once; `rest`: the link without all that is done where it is. */
function storeOf(link: Link, buffer: Buffer): { readonly scales: Scales; readonly rest: Link } | undefined {
  if (writesOf(link).filter((access) => access.buffer === buffer).length !== 1) return undefined;
  const isOf = ({ access }: Store): boolean => access.buffer === buffer;
  const stage =
    link.kind === 'region' ? link.stages.find((one) => one.kind === 'store' && one.stores.some(isOf)) : undefined;
  const stores = link.kind === 'contraction' ? link.stores : stage?.kind === 'store' ? stage.stores : [];
  const store = stores.find(isOf);
  const scales = store && scalesOf(store.access);
  const axes = stage?.kind === 'store' ? [...link.axes, ...stage.axes] : link.axes;
  if (scales === undefined || !isOneToOne(scales, axes, buffer)) return undefined;
  const rest: Link =
    link.kind === 'region'
      ? { ...link, stages: link.stages.filter((one) => one !== stage) }
      : { ...link, stores: link.stores.filter((one) => !stores.includes(one)) };
  return { scales, rest };
}

/** An element of a buffer as Σ scale·axis, counted through all of its dimensions. */
type Scales = ReadonlyMap<Axis, number>;

/** Undefined where the element is no such sum. */
function scalesOf({ shape, index }: Access): Scales | undefined {
  const strides = rowMajorStrides(shape);
  const scales = new Map<Axis, number>();
  let offset = 0;
  for (const [dimension, at] of index.entries()) {
    if (at.kind !== 'affine' || at.divisor !== 1) return undefined;
    offset += at.offset * strides[dimension];
    for (const { axis, scale } of at.terms)
      if (axis.size !== 1) scales.set(axis, (scales.get(axis) ?? 0) + scale * strides[dimension]);
  }
  return offset === 0 ? scales : undefined;
}

const isAlike = (a: Scales | undefined, b: Scales): boolean =>
  a !== undefined && a.size === b.size && [...a].every(([axis, scale]) => b.get(axis) === scale);

/** Does each point of the axes have an element of its own, and each element a point? */
function isOneToOne(scales: Scales, axes: readonly Axis[], { shape }: Buffer): boolean {
  const moving = axes.filter(({ size }) => size !== 1);
  if (moving.length !== scales.size) return false;
  let reached = 1;
  for (const [axis, scale] of [...scales].sort(([, a], [, b]) => a - b)) {
    if (scale !== reached || !axes.includes(axis)) return false;
    reached *= axis.size;
  }
  return reached === elementCount(shape);
}

/** The step with other buffers. */
function moveStep(step: Step, placeOf: (buffer: Buffer) => Buffer): Step {
  if (step.kind === 'repeat') return { ...step, body: step.body.map((inner) => moveStep(inner, placeOf)) };
  const to: Rewriter = createRewriter({
    coordinate: (at) => (at.kind === 'computed' ? { ...at, value: to.expression(at.value) } : at),
    access: (access) => ({ ...access, buffer: placeOf(access.buffer) }),
  });
  const segments = step.segments.map((segment): Segment => {
    if ([...buffersIn(segment)].every((buffer) => placeOf(buffer) === buffer)) return segment;
    if (isLink(segment)) return moveLink(segment, to);
    if (segment.kind === 'scatter') {
      const { id, value, target } = segment;
      return { ...segment, id: to.expression(id), value: to.expression(value), target: placeOf(target) };
    }
    const links = (of: readonly Link[]): readonly Link[] => of.map((link) => moveLink(link, to));
    const { spans, last, end } = segment;
    return {
      ...segment,
      spans: spans.map((span) => ({ ...span, parts: links(span.parts) })),
      last: links(last),
      end: links(end),
    };
  });
  return { ...step, segments };
}

const moveLink = (link: Link, to: Rewriter): Link =>
  link.kind === 'region'
    ? { ...link, stages: link.stages.map(to.stage) }
    : { ...link, left: to.expression(link.left), right: to.expression(link.right), stores: to.stores(link.stores) };
