/** The wait of all threads for each other, written in the module itself: one atomic counter and a generation to watch. */

/** What the code must know about the machine it will run on; the CPU's features are the JIT's business. */
export interface LlvmHost {
  readonly architecture: 'x86_64' | 'aarch64';
}

/** Byte offsets in the memory all threads wait on. */
export const syncLayout = { arrived: 0, generation: 64, flag: 128, bytes: 192 } as const;

/** All threads arrive before one goes on; spins, then gives the core away so that more threads than cores still move. */
export function barrier(host: LlvmHost): string {
  const pause = host.architecture === 'x86_64' ? 'call void @llvm.x86.sse2.pause()' : 'call void @llvm.aarch64.hint(i32 1)';
  const declaration = host.architecture === 'x86_64' ? 'declare void @llvm.x86.sse2.pause()' : 'declare void @llvm.aarch64.hint(i32)';
  return `${declaration}
declare i32 @sched_yield()

define internal void @wait(ptr %sync, i64 %threads) noinline nounwind {
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %done, label %arrive
arrive:
  %turn = getelementptr i8, ptr %sync, i64 ${syncLayout.generation}
  %now = load atomic i32, ptr %turn acquire, align 4
  %before = atomicrmw add ptr %sync, i32 1 acq_rel
  %all = trunc i64 %threads to i32
  %arrived = add i32 %before, 1
  %last = icmp eq i32 %arrived, %all
  br i1 %last, label %open, label %spin
open:
  store atomic i32 0, ptr %sync monotonic, align 4
  %next = add i32 %now, 1
  store atomic i32 %next, ptr %turn release, align 4
  br label %done
spin:
  %count = phi i32 [ 0, %arrive ], [ %more, %again ]
  %seen = load atomic i32, ptr %turn acquire, align 4
  %moved = icmp ne i32 %seen, %now
  br i1 %moved, label %done, label %rest
rest:
  ${pause}
  %more = add i32 %count, 1
  %long = icmp ugt i32 %count, 256
  br i1 %long, label %yield, label %again
yield:
  %ignored = call i32 @sched_yield()
  br label %again
again:
  br label %spin
done:
  ret void
}`;
}
