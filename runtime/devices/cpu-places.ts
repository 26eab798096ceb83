/**
 * Threads of a team that the system runs on one CPU take turns at every wait, and a step takes twice as long, for seconds:
 * some kernels of virtual machines put threads together to save CPUs. So each thread notes, at the start of a run, the CPU it is on;
 * one that finds it taken asks to be elsewhere, and then to be free again. Nothing is bound: another process that
 * wants the CPU gets it.
 */

/** LLVM text of `@apart(ptr taken)`, where `taken` is a word that holds a bit for each of the first 64 CPUs; zero before a run. */
export const apart = `
declare i32 @sched_getcpu()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)

define internal void @apart(ptr %taken) noinline nounwind {
entry:
  %cpu = call i32 @sched_getcpu()
  %known = icmp ult i32 %cpu, 64
  br i1 %known, label %take, label %done
take:
  %place = zext i32 %cpu to i64
  %bit = shl i64 1, %place
  %before = atomicrmw or ptr %taken, i64 %bit acq_rel
  %here = and i64 %before, %bit
  %alone = icmp eq i64 %here, 0
  br i1 %alone, label %done, label %ask
ask:
  %all = alloca [16 x i64], align 8
  %other = alloca [16 x i64], align 8
  %failed = call i32 @sched_getaffinity(i32 0, i64 128, ptr %all)
  %asked = icmp eq i32 %failed, 0
  br i1 %asked, label %move, label %done
move:
  %allowed = load [16 x i64], ptr %all, align 8
  store [16 x i64] %allowed, ptr %other, align 8
  %first = load i64, ptr %all, align 8
  %free = xor i64 %before, -1
  %left = and i64 %first, %free
  store i64 %left, ptr %other, align 8
  %moved = call i32 @sched_setaffinity(i32 0, i64 128, ptr %other)
  %released = call i32 @sched_setaffinity(i32 0, i64 128, ptr %all)
  br label %done
done:
  ret void
}
`;
