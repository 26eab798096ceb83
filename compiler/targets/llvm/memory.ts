/** Loads and stores: contiguous, strided, gathered, each with or without a mask; storage types to register types. */
import type { Memory } from '../../tile/tile.ts';
import { dtypeBytes } from '../../types/dtype.ts';
import { fromHalfBits, halfBits } from './cast.ts';
import type { FunctionWriter } from './writer.ts';
import { literal, mangled, storageTypes, vectorOf } from './writer.ts';

/** An access with its operands already written. `offsetLanes` > 1: each lane at its own place. */
export interface Place {
  readonly memory: Memory;
  readonly pointer: string;
  readonly offset: string;
  readonly offsetLanes: number;
  readonly stride: number;
  readonly lanes: number;
  readonly mask?: string;
}

const address = (writer: FunctionWriter, place: Place, offset: string): string =>
  writer.define(`getelementptr inbounds ${storageTypes[place.memory.dtype]}, ptr ${place.pointer}, i64 ${offset}`);

/** One pointer per lane. */
function addresses(writer: FunctionWriter, place: Place): string {
  const element = storageTypes[place.memory.dtype];
  if (place.offsetLanes > 1)
    return writer.define(
      `getelementptr inbounds ${element}, ptr ${place.pointer}, <${place.lanes} x i64> ${place.offset}`,
    );
  const base = address(writer, place, place.offset);
  const steps = Array.from({ length: place.lanes }, (_, lane) => `i64 ${lane * place.stride}`).join(', ');
  return writer.define(`getelementptr ${element}, ptr ${base}, <${place.lanes} x i64> <${steps}>`);
}

const scattered = (place: Place): boolean => place.lanes > 1 && (place.offsetLanes > 1 || place.stride !== 1);

/** Runs `inside` only where the scalar condition holds. */
function guarded(
  writer: FunctionWriter,
  condition: string,
  inside: () => string,
): { value: string; from: string; before: string; after: string } {
  const before = writer.current();
  const yes = writer.label('read');
  const after = writer.label('on');
  writer.line(`br i1 ${condition}, label %${yes}, label %${after}`);
  writer.begin(yes);
  const value = inside();
  const from = writer.current();
  writer.line(`br label %${after}`);
  writer.begin(after);
  return { value, from, before, after };
}

export function emitLoad(writer: FunctionWriter, place: Place): string {
  return fromStorage(writer, place, loadStorage(writer, place));
}

function loadStorage(writer: FunctionWriter, place: Place): string {
  const { memory, lanes, mask } = place;
  const element = storageTypes[memory.dtype];
  const type = vectorOf(element, lanes);
  const align = dtypeBytes[memory.dtype];
  if (scattered(place)) {
    if (place.offsetLanes === 1 && place.stride === 0 && mask === undefined) {
      const one = writer.define(`load ${element}, ptr ${address(writer, place, place.offset)}, align ${align}`);
      return emitSplat(writer, element, lanes, one);
    }
    const name = `llvm.masked.gather.${mangled(element, lanes)}.${mangled('ptr', lanes)}`;
    const values = [addresses(writer, place), String(align), mask ?? literal('i1', lanes, 1), 'zeroinitializer'];
    return writer.intrinsic(name, type, [`<${lanes} x ptr>`, 'i32 immarg', `<${lanes} x i1>`, type], values);
  }
  const load = (): string => writer.define(`load ${type}, ptr ${address(writer, place, place.offset)}, align ${align}`);
  if (mask === undefined) return load();
  if (lanes === 1) {
    const { value, from, before } = guarded(writer, mask, load);
    return writer.define(`phi ${type} [ ${value}, %${from} ], [ ${literal(element, 1, 0)}, %${before} ]`);
  }
  const name = `llvm.masked.load.${mangled(element, lanes)}.p0`;
  return writer.intrinsic(
    name,
    type,
    ['ptr', 'i32 immarg', `<${lanes} x i1>`, type],
    [address(writer, place, place.offset), String(align), mask, 'zeroinitializer'],
  );
}

/** One value in every lane. */
export function emitSplat(writer: FunctionWriter, element: string, lanes: number, value: string): string {
  const type = vectorOf(element, lanes);
  const first = writer.define(`insertelement ${type} poison, ${element} ${value}, i64 0`);
  return writer.define(`shufflevector ${type} ${first}, ${type} poison, <${lanes} x i32> zeroinitializer`);
}

export function emitStore(writer: FunctionWriter, place: Place, value: string): void {
  const { memory, lanes, mask } = place;
  const element = storageTypes[memory.dtype];
  const type = vectorOf(element, lanes);
  const align = dtypeBytes[memory.dtype];
  const stored = toStorage(writer, place, value);
  if (scattered(place)) {
    const name = `llvm.masked.scatter.${mangled(element, lanes)}.${mangled('ptr', lanes)}`;
    writer.intrinsic(
      name,
      'void',
      [type, `<${lanes} x ptr>`, 'i32 immarg', `<${lanes} x i1>`],
      [stored, addresses(writer, place), String(align), mask ?? literal('i1', lanes, 1)],
    );
    return;
  }
  const store = (): string => {
    writer.line(`store ${type} ${stored}, ptr ${address(writer, place, place.offset)}, align ${align}`);
    return '';
  };
  if (mask === undefined) store();
  else if (lanes === 1) guarded(writer, mask, store);
  else {
    const name = `llvm.masked.store.${mangled(element, lanes)}.p0`;
    writer.intrinsic(
      name,
      'void',
      [type, 'ptr', 'i32 immarg', `<${lanes} x i1>`],
      [stored, address(writer, place, place.offset), String(align), mask],
    );
  }
}

export function emitPrefetch(writer: FunctionWriter, place: Place): void {
  const at = writer.define(
    `getelementptr ${storageTypes[place.memory.dtype]}, ptr ${place.pointer}, i64 ${place.offset}`,
  );
  writer.intrinsic('llvm.prefetch.p0', 'void', ['ptr', 'i32 immarg', 'i32 immarg', 'i32 immarg'], [at, '0', '3', '1']);
}

function fromStorage(writer: FunctionWriter, place: Place, value: string): string {
  const { lanes } = place;
  const { dtype } = place.memory;
  if (dtype === 'f16' || dtype === 'bf16') return fromHalfBits(writer, dtype, lanes, value);
  return dtype === 'bool'
    ? writer.define(`icmp ne ${vectorOf('i8', lanes)} ${value}, ${literal('i8', lanes, 0)}`)
    : value;
}

function toStorage(writer: FunctionWriter, place: Place, value: string): string {
  const { lanes } = place;
  const { dtype } = place.memory;
  if (dtype === 'f16' || dtype === 'bf16') return halfBits(writer, dtype, lanes, value);
  return dtype === 'bool' ? writer.define(`zext ${vectorOf('i1', lanes)} ${value} to ${vectorOf('i8', lanes)}`) : value;
}
