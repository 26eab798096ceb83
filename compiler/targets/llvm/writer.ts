/**
 * Writing LLVM text: a module that collects declarations and helper functions once each, and a function body with
 * fresh names. LLVM 14 to 19 read the same text: opaque pointers, no `splat` constants, no attributes newer than 14.
 */
import type { TileDtype } from '../../tile/build.ts';

/** How registers of a dtype are held. f16 and bf16 compute as float and are rounded after every operation. */
const elementTypes: Record<TileDtype, string> = {
  f32: 'float',
  f16: 'float',
  bf16: 'float',
  f64: 'double',
  i32: 'i32',
  u32: 'i32',
  i8: 'i8',
  u8: 'i8',
  bool: 'i1',
  index: 'i64',
};

/** How elements of a dtype lie in memory. */
export const storageTypes: Record<Exclude<TileDtype, 'index'>, string> = {
  f32: 'float',
  f16: 'i16',
  bf16: 'i16',
  f64: 'double',
  i32: 'i32',
  u32: 'i32',
  i8: 'i8',
  u8: 'i8',
  bool: 'i8',
};

export const vectorOf = (element: string, lanes: number): string => (lanes === 1 ? element : `<${lanes} x ${element}>`);
export const llvmType = (dtype: TileDtype, lanes: number): string => vectorOf(elementTypes[dtype], lanes);

/** The suffix of an intrinsic's name for a type: f32, v16f32, v8p0. */
export function mangled(element: string, lanes: number): string {
  const short = element === 'float' ? 'f32' : element === 'double' ? 'f64' : element === 'ptr' ? 'p0' : element;
  return lanes === 1 ? short : `v${lanes}${short}`;
}

const bits = new DataView(new ArrayBuffer(8));

/** A constant of an LLVM element type, the same in every lane. */
export function literal(element: string, lanes: number, value: number): string {
  const one = scalarLiteral(element, value);
  if (lanes === 1) return one;
  if (one === '0' || one === 'false') return 'zeroinitializer';
  return `<${new Array<string>(lanes).fill(`${element} ${one}`).join(', ')}>`;
}

function scalarLiteral(element: string, value: number): string {
  switch (element) {
    case 'float':
    case 'double':
      bits.setFloat64(0, element === 'float' ? Math.fround(value) : value);
      return `0x${bits.getBigUint64(0).toString(16).toUpperCase().padStart(16, '0')}`;
    case 'i1':
      return value !== 0 ? 'true' : 'false';
    default:
      return BigInt(Math.trunc(value)).toString();
  }
}

export interface ModuleWriter {
  /** Does the machine have instructions between f16 and f32? */
  readonly convertsHalves: boolean;
  /** … and those that sum four products of bytes (AVX-512 VNNI)? */
  readonly dotsBytes: boolean;
  /** A `declare` or attribute line, once. */
  declare(line: string): void;
  /** A helper function, written by `make` at its first use. */
  helper(name: string, make: () => string): void;
  /** Everything another module has declared and used. */
  include(other: ModuleWriter): void;
  readonly declarations: ReadonlySet<string>;
  readonly helpers: ReadonlyMap<string, string>;
  text(): string;
}

/** Instructions that not every machine has; without them others do the same, bit for bit. */
export type Instructions = Pick<ModuleWriter, 'convertsHalves' | 'dotsBytes'>;

/** What is in every machine that is common today; `instructionsOf` says what is in this one. */
export const common: Instructions = { convertsHalves: true, dotsBytes: false };

export function moduleWriter({ convertsHalves, dotsBytes }: Instructions = common): ModuleWriter {
  const declarations = new Set<string>();
  const helpers = new Map<string, string>();
  return {
    convertsHalves,
    dotsBytes,
    declarations,
    helpers,
    include(other) {
      for (const line of other.declarations) declarations.add(line);
      for (const [name, text] of other.helpers) helpers.set(name, text);
    },
    declare: (line) => void declarations.add(line),
    helper(name, make) {
      if (helpers.has(name)) return;
      helpers.set(name, '');
      helpers.set(name, make());
    },
    text: () => [...helpers.values(), [...declarations].join('\n')].join('\n'),
  };
}

export interface FunctionWriter {
  readonly module: ModuleWriter;
  line(text: string): void;
  /** Appends `%name = instruction` and gives the name. */
  define(instruction: string): string;
  /** A call of an intrinsic, declared on the way. `parameters` are types, `values` their operands. */
  intrinsic(name: string, result: string, parameters: readonly string[], values: readonly string[]): string;
  /** A stack slot in the entry block; promoted to a register by the passes. */
  slot(type: string): string;
  /** A name no other label has. */
  label(hint: string): string;
  /** Starts a block. */
  begin(label: string): void;
  /** The label of the block being written. */
  current(): string;
  body(): string;
}

export function functionWriter(module: ModuleWriter): FunctionWriter {
  const slots: string[] = [];
  const lines: string[] = [];
  let count = 0;
  let block = 'entry';
  const writer: FunctionWriter = {
    module,
    line: (text) => void lines.push(`  ${text}`),
    define(instruction) {
      const name = `%v${count++}`;
      lines.push(`  ${name} = ${instruction}`);
      return name;
    },
    intrinsic(name, result, parameters, values) {
      module.declare(`declare ${result} @${name}(${parameters.join(', ')})`);
      const call = `call ${result} @${name}(${values.map((value, place) => `${parameters[place]?.replace(/ immarg$/, '')} ${value}`).join(', ')})`;
      if (result !== 'void') return writer.define(call);
      writer.line(call);
      return '';
    },
    slot(type) {
      const name = `%s${count++}`;
      slots.push(`  ${name} = alloca ${type}`);
      return name;
    },
    label: (hint) => `${hint}${count++}`,
    begin(label) {
      lines.push(`${label}:`);
      block = label;
    },
    current: () => block,
    body: () => ['entry:', ...slots, ...lines].join('\n'),
  };
  return writer;
}
