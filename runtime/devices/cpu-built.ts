/** Programs of a built cpu trainer: LLVM modules one after the other, as text that libLLVM 14 to 19 all read. */
import { type BuiltProgram, type OpenBuilt, type Piece, taking } from '../artefact.ts';
import { DeviceError } from '../program.ts';
import { describeCpu, openCpuSession } from './cpu.ts';

export const ending = '.ll';

export interface BuiltCpu extends BuiltProgram {
  readonly pieces: readonly Piece[];
  readonly scratch: number;
  /** What the processor has to have, in LLVM's words. */
  readonly needs: readonly string[];
}

export const openBuilt: OpenBuilt = async (threads) => {
  const session = await openCpuSession({ threads });
  const { features = '' } = await describeCpu();
  const has = new Set(features.split(','));
  return taking<BuiltCpu>(session, async ({ file, pieces, needs, ...program }, read) => {
    const missing = needs.filter((feature) => !has.has(`+${feature}`));
    if (missing.length > 0)
      throw new DeviceError(
        `This trainer was built on a processor that has ${missing.join(' and ')}, which this one does not: build it here, or for another target.`,
      );
    const text = new TextDecoder().decode(await read(file));
    return session.load({ ...program, llvm: pieces.map((piece) => text.slice(...piece)) });
  });
};
