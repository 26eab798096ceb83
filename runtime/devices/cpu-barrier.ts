/**
 * `@wait(ptr sync, i64 threads)` in LLVM text: all threads of a step arrive before one goes on. The compiled step calls
 * it; how waiting is done well is the machine's business, so it is written here.
 *
 * Who waits spins a little (the others are usually a few microseconds behind), then offers its core to others, then
 * sleeps where the system has futexes: with more threads than free cores a spinning thread keeps the late one from
 * arriving.
 */

/** Byte offsets in the memory all threads share; the first cache line is written by all, the second read by all. */
export const syncLayout = { arrived: 0, generation: 64, sleepers: 68, flag: 128, bytes: 192 } as const;

const spins = 256;
const yields = 100;

interface Machine {
  /** A hint to the processor that this is a spinning loop. */
  readonly pause: readonly [declaration: string, call: string];
  /** The number of the futex system call of Linux. */
  readonly futex: number;
}

const machines: Record<'x86_64' | 'aarch64', Machine> = {
  x86_64: { pause: ['declare void @llvm.x86.sse2.pause()', 'call void @llvm.x86.sse2.pause()'], futex: 202 },
  aarch64: { pause: ['declare void @llvm.aarch64.hint(i32)', 'call void @llvm.aarch64.hint(i32 1)'], futex: 98 },
};

/** One thread waits for nobody. */
export const noBarrier = `
define internal void @wait(ptr %sync, i64 %threads) alwaysinline nounwind {
  ret void
}
`;

export function barrier(architecture: 'x86_64' | 'aarch64', linux: boolean): string {
  const { pause, futex } = machines[architecture];
  const call = (word: string, operation: number, value: string): string =>
    `call i64 (i64, ...) @syscall(i64 ${futex}, ptr ${word}, i32 ${operation}, i32 ${value}, ptr null, ptr null, i32 0)`;
  // FUTEX_WAIT and FUTEX_WAKE, private to this process. The kernel compares the word again before it lets a thread sleep.
  const sleep = linux
    ? `
  %more.sleepers = atomicrmw add ptr %sleepers, i32 1 seq_cst
  %slept = ${call('%turn', 128, '%now')}
  %fewer.sleepers = atomicrmw sub ptr %sleepers, i32 1 seq_cst`
    : `
  %slept = call i32 @sched_yield()`;
  const wake = linux
    ? `
  %asleep = load atomic i32, ptr %sleepers seq_cst, align 4
  %any = icmp ne i32 %asleep, 0
  br i1 %any, label %wake, label %done
wake:
  %woken = ${call('%turn', 129, '2147483647')}
  br label %done`
    : `
  br label %done`;
  return `
${pause[0]}
${linux ? 'declare i64 @syscall(i64, ...)' : ''}

define internal void @wait(ptr %sync, i64 %threads) noinline nounwind {
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %done, label %arrive
arrive:
  %turn = getelementptr i8, ptr %sync, i64 ${syncLayout.generation}
  %sleepers = getelementptr i8, ptr %sync, i64 ${syncLayout.sleepers}
  %now = load atomic i32, ptr %turn acquire, align 4
  %before = atomicrmw add ptr %sync, i32 1 acq_rel
  %all = trunc i64 %threads to i32
  %arrived = add i32 %before, 1
  %last = icmp eq i32 %arrived, %all
  br i1 %last, label %open, label %spin
open:
  store atomic i32 0, ptr %sync monotonic, align 4
  %was = atomicrmw add ptr %turn, i32 1 seq_cst${wake}
spin:
  %count = phi i32 [ 0, %arrive ], [ %more, %again ]
  %seen = load atomic i32, ptr %turn acquire, align 4
  %moved = icmp ne i32 %seen, %now
  br i1 %moved, label %done, label %rest
rest:
  ${pause[1]}
  %more = add i32 %count, 1
  %short = icmp ult i32 %count, ${spins}
  br i1 %short, label %again, label %longer
longer:
  %polite = icmp ult i32 %count, ${spins + yields}
  br i1 %polite, label %yield, label %sleep
yield:
  %ignored = call i32 @sched_yield()
  br label %again
sleep:${sleep}
  br label %again
again:
  br label %spin
done:
  ret void
}
`;
}
