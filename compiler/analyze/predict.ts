/**
 * How long work will take on a machine, before it runs: a roofline. A segment takes as long as the slower of its
 * arithmetic and its memory traffic (a contraction as long as both), plus its launches; before a kernel that they share, threads meet.
 *
 *   arithmetic   the cycles of its kernels (cycles.ts), each kind at the rate the machine reaches in it; where a grid has fewer
 *                items than the machine has threads, the rest stand idle
 *   traffic      each buffer at the bandwidth of the cache that can still hold it: as far away as bytes were touched since
 *                it was touched last, in the run before if need be
 *
 * What it leaves out: two kernels' fight for one cache, and what is waited for within one.
 */
import type { Buffer } from '../loop/loop.ts';
import type { Cost } from './cost.ts';
import type { Cycles } from './cycles.ts';

/** What a machine reaches; all rates with all threads. */
export interface Machine {
  readonly threads: number;
  /** Floating-point operations a second of a large matrix product. */
  readonly contraction: number;
  /**
   * Cycles (see cycles.ts) a second: of functions, and of the rest; in products of multiply-adds, and of what goes on beside
   * them, much of which a wide processor hides.
   */
  readonly cycles: {
    readonly functions: number;
    readonly rest: number;
    readonly multiply: number;
    readonly beside: number;
  };
  /** Bytes a second where `within` bytes are touched again and again; ascending, the last one is main memory. */
  readonly bandwidth: readonly { readonly within: number; readonly rate: number }[];
  /** Seconds a launch takes beside its work, and seconds until all threads have met. */
  readonly launch: number;
  readonly meeting: number;
  /** Seconds it takes to start a program. */
  readonly call: number;
  /** Seconds a training run takes between two steps: choosing the next batch, reading and logging what the last one reports. */
  readonly between: number;
  /** Bytes a second at which a batch is put together. */
  readonly gather: number;
}

/** A part of a kernel as it will be launched. */
export interface Work {
  readonly cost: Cost;
  readonly kind: 'product' | 'elementwise';
  readonly launches: readonly { readonly cycles: Cycles; readonly grid: number }[];
}

export interface Prediction {
  readonly seconds: number;
  readonly arithmetic: number;
  readonly traffic: number;
}

/** Watches which buffers were touched when; asked in the order in which work runs. */
export class Predictor {
  private readonly machine: Machine;
  private readonly touched = new Map<Buffer, number>();
  private clock = 0;

  constructor(machine: Machine) {
    this.machine = machine;
  }

  predict({ cost, kind, launches }: Work): Prediction {
    const { threads, launch } = this.machine;
    const idle = (grid: number): number => (Math.ceil(grid / threads) * threads) / grid;
    const arithmetic = launches.reduce((sum, { cycles, grid }) => sum + idle(grid) * this.seconds(cycles, kind), 0);
    let traffic = 0;
    for (const uses of [cost.reads, cost.writes])
      for (const [buffer, bytes] of uses)
        traffic += bytes / this.rateAt(this.clock - (this.touched.get(buffer) ?? -Infinity) + bytes);
    for (const uses of [cost.reads, cost.writes])
      for (const [buffer, bytes] of uses) {
        this.clock += bytes;
        this.touched.set(buffer, this.clock);
      }
    // A product reads and writes by tiles, which nothing fetches ahead.
    const busy = kind === 'product' ? arithmetic + traffic : Math.max(arithmetic, traffic);
    return { seconds: busy + launches.length * launch, arithmetic, traffic };
  }

  private seconds({ multiply, functions, rest }: Cycles, kind: Work['kind']): number {
    const { cycles } = this.machine;
    const inFunctions = functions / cycles.functions;
    return kind === 'product'
      ? inFunctions + multiply / cycles.multiply + rest / cycles.beside
      : inFunctions + (multiply + rest) / cycles.rest;
  }

  /** Bandwidth at a distance, between the measured ones by their logarithms. */
  private rateAt(distance: number): number {
    const { bandwidth } = this.machine;
    const above = bandwidth.findIndex(({ within }) => within >= distance);
    if (above === 0) return bandwidth[0].rate;
    const far = above < 0 ? bandwidth[bandwidth.length - 1] : bandwidth[above];
    if (above < 0) return far.rate;
    const near = bandwidth[above - 1];
    const share = Math.log(distance / near.within) / Math.log(far.within / near.within);
    return near.rate * (far.rate / near.rate) ** share;
  }
}
