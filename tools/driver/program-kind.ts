/** The programs of a train block, as `nacre ir --program` names them. */
export const programKinds = ['step', 'init', 'prune', 'calibrate', 'quantize', 'eval'] as const;
export type ProgramKind = (typeof programKinds)[number];
