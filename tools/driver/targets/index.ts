/**
 * The one list of targets. A target is a folder in `compiler/targets/` (how its code is printed), a device in `runtime/devices/`
 * (what runs it, and `NAME-built.ts` for programs from files), a file beside this one (how the two meet), and a line here.
 */
import type { Backend, CodeBackend } from './backend.ts';

interface Interpreted {
  readonly backend: () => Promise<Backend>;
}

interface Compiled {
  /** What its code is in, as `nacre ir --stage` has it. */
  readonly language: string;
  /** The package of native code that it has to have in Node. */
  readonly needs?: string;
  /** Where a page that trains says it computes; only for targets that a page has. */
  readonly inPage?: string;
  readonly backend: () => Promise<CodeBackend>;
}

const list = {
  cpu: { language: 'llvm', needs: 'koffi', backend: async () => (await import('./cpu.ts')).cpu },
  cuda: { language: 'cuda', needs: 'koffi', backend: async () => (await import('./cuda.ts')).cuda },
  webgpu: {
    language: 'wgsl',
    needs: 'webgpu',
    inPage: 'the GPU',
    backend: async () => (await import('./webgpu.ts')).webgpu,
  },
  wasm: { language: 'wasm', inPage: 'the processor', backend: async () => (await import('./wasm.ts')).wasm },
  reference: { backend: async () => (await import('./reference.ts')).reference },
} as const satisfies Record<string, Interpreted | Compiled>;

type List = typeof list;

/** A target by its own name. */
export type OwnName = keyof List;

/** What a trainer can be told to run on. */
export type TargetName = 'auto' | OwnName;

/** Targets that have code: it can be printed, and kept in files. */
export type CodeTarget = { [Name in OwnName]: List[Name] extends Compiled ? Name : never }[OwnName];

/** What their code is in. */
export type Language = List[CodeTarget]['language'];

export const targets: Readonly<Record<CodeTarget, Compiled> & Record<Exclude<OwnName, CodeTarget>, Interpreted>> = list;

const namesOf = (record: object): readonly string[] => Object.keys(record);

export const targetNames = ['auto', ...namesOf(list)] as readonly TargetName[];

export const codeTargets = namesOf(list).filter((name) => 'language' in list[name as OwnName]) as readonly CodeTarget[];

/** The target whose code is in a language; none is in what is no language. */
export function targetOf(language: Language): CodeTarget;
export function targetOf(language: string): CodeTarget | undefined;
export function targetOf(language: string): CodeTarget | undefined {
  return codeTargets.find((name) => list[name].language === language);
}
