/** What a strict context tells: see trap.ts. Nothing of it changes what a call does. */
import { isRefusal } from "../abi/index.js";
import type { Call } from "../files/index.js";
import { U64_MAX } from "./limits.js";
import type { OpenContext } from "./open-context.js";
import type { Trap, TrapKind } from "./trap.js";

/** A map was refused because something is mapped there. */
export function tellMapped(
  context: OpenContext,
  call: Call,
  error: unknown,
  name: string,
  iova: bigint,
  length: bigint,
): void {
  if (!context.strict || !isRefusal(error, "EEXIST")) return;
  tell(context, call, "mapped-already", { call: name, iova, length });
}

/** IOMMU_IOAS_UNMAP. */
export function unmapStrictly(
  context: OpenContext,
  call: Call,
  ioasId: number,
  iova: bigint,
  length: bigint,
): bigint {
  const { iommufd } = context;
  const name = "IOMMU_IOAS_UNMAP";
  const areas = areasOf(context, ioasId);
  try {
    const done = iommufd.ioasUnmap(ioasId, iova, length);
    const isAll = iova === 0n && length === U64_MAX;
    if (!isAll && done < length) {
      tell(context, call, "unmap-shorter", { call: name, iova, length, done });
    }
    return done;
  } catch (error) {
    if (areasOf(context, ioasId) !== areas) {
      tell(context, call, "unmap-in-part", { call: name, iova, length });
    }
    throw error;
  }
}

function areasOf({ iommufd }: OpenContext, ioasId: number): number {
  const object = iommufd.state.objects.find(ioasId);
  return object?.kind === "ioas" ? iommufd.ioas(ioasId).space.areas.size : 0;
}

type Told = Pick<Trap, "call" | "iova" | "length" | "done">;

export function tell(context: OpenContext, call: Call, kind: TrapKind, told: Told): void {
  context.ports.onTrap?.({ kind, pid: call.pid, tid: call.tid, ...told });
}
