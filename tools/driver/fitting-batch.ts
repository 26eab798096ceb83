/** Where a program has no room: which batch would. */
import { fits, type Room } from '../../runtime/devices/room.ts';

/** Tries at most, each of which compiles a program. */
const tries = 4;

/**
 * The largest batch below this one whose program has room, or one that is nearly as large; 0 where there is none. What a program takes
 * grows with its batch, but not all of it and not always in a straight line: two sizes say where to look, and what is found there is
 * tried.
 */
export function fittingBatch(batch: number, roomsAt: (batch: number) => readonly Room[]): number {
  const hasRoom = (rooms: readonly Room[]): boolean => rooms.every(fits);
  const least = roomsAt(1);
  if (batch <= 1 || !hasRoom(least)) return 0;
  const most = roomsAt(batch);
  const found = least.map(({ all, taken, wanted }, at) => {
    const slope = (most[at].wanted - wanted) / (batch - 1);
    return slope > 0 ? Math.floor(1 + (all - taken - wanted) / slope) : batch - 1;
  });
  let fitting = Math.min(batch - 1, ...found);
  for (let left = tries; left > 0 && fitting > 1; left--, fitting = Math.floor(0.9 * fitting))
    if (hasRoom(roomsAt(fitting))) return fitting;
  return 1;
}
