/** Sessions that take programs from the files of a built trainer; each device loads when it is opened. */
import type {
  BuiltCpu,
  BuiltCuda,
  BuiltSession,
  BuiltTarget,
  BuiltWasm,
  BuiltWebGpu,
  Piece,
  ReadFile,
  Trainer,
} from './artefact.ts';
import { DeviceError, type Executable, type Session } from './program.ts';

type Open = (threads: number) => Promise<BuiltSession>;

const textOf = (file: Uint8Array, [from, to]: Piece): string => new TextDecoder().decode(file.subarray(from, to));

/** A session whose programs are of one kind; which, the trainer says. */
const taking = <Program>(
  session: Session,
  load: (program: Program, read: ReadFile) => Promise<Executable>,
): BuiltSession => ({ session, load: (program, read) => load(program as Program, read) });

const opening: Record<BuiltTarget, Open> = {
  async cpu(threads) {
    const { openCpuSession } = await import('./devices/cpu.ts');
    const session = await openCpuSession({ threads });
    return taking<BuiltCpu>(session, async ({ file, pieces, ...program }, read) => {
      const text = await read(file);
      return session.load({ ...program, llvm: pieces.map((piece) => textOf(text, piece)) });
    });
  },
  async cuda() {
    const { openCudaSession } = await import('./devices/cuda.ts');
    const session = await openCudaSession();
    return taking<BuiltCuda>(session, async ({ file, ...program }, read) => {
      const text = await read(file);
      // The driver reads PTX up to a zero.
      const image = new Uint8Array(text.length + 1);
      image.set(text);
      return session.load({ ...program, image });
    });
  },
  async webgpu() {
    const { openWebGpuSession } = await import('./devices/webgpu.ts');
    const session = await openWebGpuSession();
    return taking<BuiltWebGpu>(session, async ({ file, kernels, ...program }, read) => {
      const text = await read(file);
      return session.load({
        ...program,
        kernels: kernels.map(({ name, grid, piece }) => ({ name, grid, code: textOf(text, piece) })),
      });
    });
  },
  async wasm(threads) {
    const [{ openWasmSession }, { hasRelaxedSimd }] = await Promise.all([
      import('./devices/wasm.ts'),
      import('./devices/wasm-features.ts'),
    ]);
    const session = await openWasmSession({ threads });
    const isRelaxed = hasRelaxedSimd();
    return taking<BuiltWasm>(session, async ({ file, relaxed, ...program }, read) =>
      session.load({ ...program, code: await read(isRelaxed ? (relaxed ?? file) : file) }).catch((error: unknown) => {
        if (!(error instanceof WebAssembly.CompileError)) throw error;
        throw new DeviceError(`${file} is damaged: build the trainer again.`);
      }),
    );
  },
};

/** Throws DeviceError where the device is not there. */
export const openBuiltSession = ({ target }: Trainer, threads: number): Promise<BuiltSession> =>
  opening[target](threads);
