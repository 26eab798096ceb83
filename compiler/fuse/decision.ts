/** One choice of fusion, for people: what it saved or why it was refused. */
export interface FusionDecision {
  readonly producer: string;
  readonly consumer: string;
  readonly fused: boolean;
  readonly reason: string;
  /** Of memory traffic, per run. */
  readonly bytesSaved: number;
}
