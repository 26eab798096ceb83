/** Programs of a built cpu trainer: LLVM modules one after the other, as text that libLLVM 14 to 19 all read, with gzip. */
import { type BuiltProgram, type OpenBuilt, type Piece, taking } from '../artefact.ts';
import { openCpuSession } from './cpu.ts';
import { inflated } from './gzipped.ts';

export const ending = '.ll.gz';

export interface BuiltCpu extends BuiltProgram {
  readonly pieces: readonly Piece[];
  readonly scratch: number;
}

export const openBuilt: OpenBuilt = async (threads) => {
  const session = await openCpuSession({ threads });
  return taking<BuiltCpu>(session, async ({ file, pieces, ...program }, read) => {
    const text = new TextDecoder().decode(inflated(file, await read(file)));
    return session.load({ ...program, llvm: pieces.map((piece) => text.slice(...piece)) });
  });
};
