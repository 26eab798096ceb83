/**
 * How long work will take on a machine, before it runs: a roofline. A segment takes as long as the slower of its
 * arithmetic and its memory traffic, plus its launches.
 *
 *   arithmetic   contractions at the rate a large matrix product reaches, everything else at the rate of elementwise work;
 *                where a grid has fewer items than the machine has threads, the rest of the threads stand idle
 *   traffic      each buffer at the bandwidth of the cache that can still hold it: as far away as bytes were touched since
 *                it was touched last, in the run before if need be
 *
 * What it leaves out: products of unfavourable shapes, strided reads, two kernels' fight for one cache.
 */
import type { Buffer } from '../loop/loop.ts';
import type { Cost } from './cost.ts';

/** What a machine reaches; all rates with all threads. */
export interface Machine {
  readonly threads: number;
  /** Floating-point operations a second of a large matrix product. */
  readonly contraction: number;
  /** Elementwise cycles (see `Cost.cycles`) a second, counted in single elements. */
  readonly elementwise: number;
  /** Bytes a second where `within` bytes are touched again and again; ascending, the last one is main memory. */
  readonly bandwidth: readonly { readonly within: number; readonly rate: number }[];
  /** Seconds from one launch to the next. */
  readonly launch: number;
  /** Seconds it takes to start a program. */
  readonly call: number;
}

/** A part of a kernel as it will be launched. */
export interface Work {
  readonly cost: Cost;
  readonly launches: number;
  /** Independent items of its largest launch. */
  readonly grid: number;
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

  predict({ cost, launches, grid }: Work): Prediction {
    const { threads, contraction, elementwise, launch } = this.machine;
    const idle = (Math.ceil(grid / threads) * threads) / grid;
    const arithmetic = idle * (cost.contractionFlops / contraction + cost.cycles / elementwise);
    let traffic = 0;
    for (const uses of [cost.reads, cost.writes])
      for (const [buffer, bytes] of uses)
        traffic += bytes / this.rateAt(this.clock - (this.touched.get(buffer) ?? -Infinity) + bytes);
    for (const uses of [cost.reads, cost.writes])
      for (const [buffer, bytes] of uses) {
        this.clock += bytes;
        this.touched.set(buffer, this.clock);
      }
    return { seconds: Math.max(arithmetic, traffic) + launches * launch, arithmetic, traffic };
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
