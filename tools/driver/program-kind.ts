import type { TrainPlan } from '../../runtime/program.ts';

/** The programs of a train block, as `nacre ir --program` names them. */
export const programKinds = ['step', 'init', 'prune', 'calibrate', 'quantize', 'eval'] as const;
export type ProgramKind = (typeof programKinds)[number];

/** What a block runs over and over: its step; of one that only quantizes weights its evaluation, or what makes their codes. */
export const mainKind = ({ epochs, evaluations }: TrainPlan): ProgramKind =>
  epochs !== 0 ? 'step' : evaluations.length > 0 ? 'eval' : 'quantize';
