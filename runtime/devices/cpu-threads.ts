/**
 * A team of threads that runs one function together, from an OpenMP runtime's pool, else from pthreads made for the
 * step. The compiled text gets `@wait` and an `@enter(ptr team)` that finds out its thread number and calls `@step`. The number of
 * threads granted is asked inside the team, so that a smaller team than wished for computes the same.
 */
import { barrier, noBarrier } from './cpu-barrier.ts';
import { findOpenMp, loadForGood } from './cpu-library.ts';
import type { Koffi } from './cpu-library.ts';
import { apart } from './cpu-places.ts';

/** The words of the memory `@enter` reads. */
export const teamWords = { threads: 0, buffers: 1, scratch: 2, sync: 3, go: 4, count: 5, taken: 6 } as const;

export interface Threads {
  readonly kind: 'one' | 'openmp' | 'pthreads';
  readonly count: number;
  /** LLVM text to append to a module that defines `@step`. */
  readonly text: string;
  /** Calls `@enter` at the address on every thread; returns when all are done. */
  run(enter: bigint, team: bigint): void;
}

const word = (name: string, place: number, type: string): string =>
  `  %${name}.at = getelementptr i64, ptr %team, i64 ${place}\n  %${name} = load ${type}, ptr %${name}.at, align 8\n`;

const loads =
  word('buffers', teamWords.buffers, 'ptr') +
  word('scratch', teamWords.scratch, 'ptr') +
  word('sync', teamWords.sync, 'ptr');

const oneThread = `
define void @enter(ptr %team) nounwind {
${loads}  call void @step(i64 0, i64 1, ptr %buffers, ptr %scratch, ptr %sync)
  ret void
}
`;

const openMp = (linux: boolean): string => `
declare i32 @omp_get_thread_num()
declare i32 @omp_get_num_threads()
${linux ? apart : ''}
define void @enter(ptr %team) nounwind {
${loads}${linux ? `  %taken = getelementptr i64, ptr %team, i64 ${teamWords.taken}\n  call void @apart(ptr %taken)\n` : ''}  %number = call i32 @omp_get_thread_num()
  %granted = call i32 @omp_get_num_threads()
  %thread = zext i32 %number to i64
  %threads = zext i32 %granted to i64
  call void @step(i64 %thread, i64 %threads, ptr %buffers, ptr %scratch, ptr %sync)
  ret void
}
`;

/**
 * The workers spin until the first thread has made all it can get and says how many there are; a worker takes its
 * number from a counter, because which thread has which number changes nothing.
 */
const pthreads = (most: number): string => `
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)

define internal ptr @work(ptr %team) nounwind {
entry:
${loads}  %go = getelementptr i64, ptr %team, i64 ${teamWords.go}
  %count = getelementptr i64, ptr %team, i64 ${teamWords.count}
  br label %spin
spin:
  %threads = load atomic i64, ptr %go acquire, align 8
  %ready = icmp ne i64 %threads, 0
  br i1 %ready, label %start, label %yield
yield:
  %ignored = call i32 @sched_yield()
  br label %spin
start:
  %thread = atomicrmw add ptr %count, i64 1 acq_rel
  call void @step(i64 %thread, i64 %threads, ptr %buffers, ptr %scratch, ptr %sync)
  ret ptr null
}

define void @enter(ptr %team) nounwind {
entry:
${loads}  %handles = alloca [${most} x i64], align 16
${word('wished', teamWords.threads, 'i64')}  %go = getelementptr i64, ptr %team, i64 ${teamWords.go}
  %count = getelementptr i64, ptr %team, i64 ${teamWords.count}
  store atomic i64 0, ptr %go monotonic, align 8
  store atomic i64 1, ptr %count monotonic, align 8
  br label %create
create:
  %made = phi i64 [ 1, %entry ], [ %next, %created ]
  %enough = icmp uge i64 %made, %wished
  br i1 %enough, label %run, label %one
one:
  %handle = getelementptr i64, ptr %handles, i64 %made
  %failed = call i32 @pthread_create(ptr %handle, ptr null, ptr @work, ptr %team)
  %refused = icmp ne i32 %failed, 0
  br i1 %refused, label %run, label %created
created:
  %next = add i64 %made, 1
  br label %create
run:
  %threads = phi i64 [ %made, %create ], [ %made, %one ]
  store atomic i64 %threads, ptr %go release, align 8
  call void @step(i64 0, i64 %threads, ptr %buffers, ptr %scratch, ptr %sync)
  br label %join
join:
  %place = phi i64 [ 1, %run ], [ %after, %joined ]
  %done = icmp uge i64 %place, %threads
  br i1 %done, label %end, label %joined
joined:
  %finished.at = getelementptr i64, ptr %handles, i64 %place
  %finished = load i64, ptr %finished.at, align 8
  %status = call i32 @pthread_join(i64 %finished, ptr null)
  %after = add i64 %place, 1
  br label %join
end:
  ret void
}
`;

const yields = '\ndeclare i32 @sched_yield()\n';

/** `kind` forces one way, for tests; otherwise the best there is. */
export function openThreads(
  koffi: Koffi,
  architecture: 'x86_64' | 'aarch64',
  count: number,
  kind?: Threads['kind'],
): Threads {
  const type = koffi.proto('void', ['void *']);
  const direct = (enter: bigint, team: bigint): void => void koffi.call(enter, type, team);
  if (count === 1 || kind === 'one') return { kind: 'one', count: 1, text: noBarrier + oneThread, run: direct };
  const linux = process.platform === 'linux';
  const wait = barrier(architecture, linux);
  const found = kind === 'pthreads' ? undefined : findOpenMp();
  if (found !== undefined) {
    // Between steps the pool spins about a third of a millisecond for the next, then sleeps; its own default is ten times that.
    if (process.env['OMP_WAIT_POLICY'] === undefined) process.env['GOMP_SPINCOUNT'] ??= '20000';
    try {
      // Global, so that the compiled text finds omp_get_thread_num in this process.
      const library = loadForGood(koffi, found.path, { global: true });
      const parallel: (...values: readonly unknown[]) => unknown = library.func(
        'void GOMP_parallel(void *enter, void *team, uint32_t count, uint32_t flags)',
      );
      return {
        kind: 'openmp',
        count,
        text: wait + yields + openMp(linux),
        run: (enter, team) => void parallel(enter, team, count, 0),
      };
    } catch (error) {
      if (kind === 'openmp') throw error;
      // An OpenMP runtime without GNU's entry point (macOS): threads of our own.
    }
  }
  return { kind: 'pthreads', count, text: wait + yields + pthreads(count), run: direct };
}
