/**
 * The emitter's text with typed pointers, for LLVM 14 where it does not take opaque ones: llvm-bindings is built on it and
 * has no way to ask for them. Every pointer becomes `i8*` and is cast where it is used. Knows the instructions this
 * emitter writes and no others; whoever reads the result verifies it.
 *
 *   before   %v2 = load float, ptr %v1, align 4
 *   after    %c0 = bitcast i8* %v1 to float*
 *            %v2 = load float, float* %c0, align 4
 */
export function withTypedPointers(text: string): string {
  const tables = new Map(
    [...text.matchAll(/^(@\S+) = private unnamed_addr constant (\[\d+ x \w+\])/gm)].map(([, name = '', type = '']) => [
      name,
      type,
    ]),
  );
  let count = 0;
  return text
    .split('\n')
    .flatMap((line) => rewrite(line, tables, () => `%c${count++}`))
    .join('\n');
}

/** The same type with plain pointers typed. */
const typed = (text: string): string => text.replace(/\bptr\b/g, 'i8*');

function rewrite(line: string, tables: ReadonlyMap<string, string>, fresh: () => string): string[] {
  const cast = (before: string[], from: string, value: string, to: string): string => {
    const name = fresh();
    before.push(`  ${name} = bitcast ${from} ${value} to ${to}`);
    return name;
  };
  const before: string[] = [];
  const element = /^ {2}(%\S+) = getelementptr (inbounds )?(\S+), ptr (\S+), (i64 \S+|<(\d+) x i64> .*)$/.exec(line);
  if (element !== null) {
    const [, result = '', inbounds = '', type = '', base = '', offset = '', lanes] = element;
    const of = typed(type);
    const start = cast(before, `${tables.get(base) ?? 'i8'}*`, base, `${of}*`);
    const at = fresh();
    before.push(`  ${at} = getelementptr ${inbounds}${of}, ${of}* ${start}, ${offset}`);
    const [from, to] = lanes === undefined ? [`${of}*`, 'i8*'] : [`<${lanes} x ${of}*>`, `<${lanes} x i8*>`];
    return [...before, `  ${result} = bitcast ${from} ${at} to ${to}`];
  }
  const load = /^ {2}(%\S+) = load (atomic )?(<[^>]+>|\S+), ptr (\S+?)(,? .*)?$/.exec(line);
  if (load !== null) {
    const [, result = '', atomic = '', type = '', base = '', rest = ''] = load;
    const of = typed(type);
    const at = cast(before, 'i8*', base, `${of}*`);
    return [...before, `  ${result} = load ${atomic}${of}, ${of}* ${at}${rest}`];
  }
  const store = /^ {2}store (atomic )?(<[^>]+>|\S+) (.*), ptr (%\S+?)((?:,| ).*)?$/.exec(line);
  if (store !== null) {
    const [, atomic = '', type = '', value = '', base = '', rest = ''] = store;
    const at = cast(before, 'i8*', base, `${type}*`);
    return [...before, `  store ${atomic}${type} ${value}, ${type}* ${at}${rest}`];
  }
  const slot = /^ {2}(%\S+) = alloca (.*)$/.exec(line);
  if (slot !== null) {
    const [, result = '', type = ''] = slot;
    const at = fresh();
    return [`  ${at} = alloca ${type}`, `  ${result} = bitcast ${type}* ${at} to i8*`];
  }
  if (/@llvm\.(masked|prefetch)/.test(line)) return [...before, ...intrinsic(line, fresh)];
  return [typed(line)];
}

/** Masked intrinsics say the type pointed to in their names and parameters. */
function intrinsic(line: string, fresh: () => string): string[] {
  if (line.includes('@llvm.prefetch')) return [typed(line.replace('llvm.prefetch.p0', 'llvm.prefetch.p0i8'))];
  const [, kind = '', lanes = '', short = ''] =
    /@llvm\.masked\.(load|store|gather|scatter)\.v(\d+)(\w+?)\./.exec(line) ?? [];
  const element = short === 'f32' ? 'float' : short === 'f64' ? 'double' : short;
  const whole = kind === 'load' || kind === 'store';
  const pointer = whole ? `<${lanes} x ${element}>*` : `<${lanes} x ${element}*>`;
  const plain = whole ? 'ptr' : `<${lanes} x ptr>`;
  const named = line.replace(
    whole ? /\.p0\(/ : /\.v\d+p0\(/,
    whole ? `.p0v${lanes}${short}(` : `.v${lanes}p0${short}(`,
  );
  if (line.startsWith('declare')) return [named.replace(plain, pointer)];
  const value = new RegExp(`${plain} (%\\S+?)(?=[,)])`).exec(named)?.[1] ?? '';
  const name = fresh();
  return [
    `  ${name} = bitcast ${typed(plain)} ${value} to ${pointer}`,
    named.replace(`${plain} ${value}`, `${pointer} ${name}`),
  ];
}
