/** What a trainer can run on, by name. */
export const targets = ['auto', 'cpu', 'cuda', 'webgpu', 'wasm', 'reference'] as const;
export type TargetName = (typeof targets)[number];
