/** The calls on an IOAS other than mapping: ranges, allowed list, unmap, process, options. */
import { UapiError } from "../abi/index.js";
import type { Span } from "../units/index.js";
import type { ContextState } from "./context-state.js";
import { type Ioas, unmapAll } from "./ioas.js";
import { PAGE_SIZE, U64_MAX } from "./limits.js";
import type { Origin } from "./origin.js";
import type { UserProcess } from "./ports.js";
import { isSmall, lastOf, offsetOf, PAGE_LIMIT, pageOf } from "./position.js";
import { Unmapped, unmapRange } from "./space-unmap.js";

export interface IovaRanges {
  /** As many as fit. */
  readonly ranges: readonly Span[];
  readonly total: number;
  readonly alignment: number;
}

/**
 * Addresses that are not reserved. `capacity` ranges at most.
 * @throws UapiError ENOENT; EMSGSIZE is the wire's to say when `total` is above the capacity.
 */
export function iovaRanges(ctx: ContextState, ioasId: number, capacity: number): IovaRanges {
  const { space } = ctx.objects.get(ioasId, "ioas") as Ioas;
  const all = space.reserved.usable();
  return { ranges: all.slice(0, capacity), total: all.length, alignment: space.alignment };
}

const CITE_ALLOW = "Linux iommufd_ioas_allow_iovas()";

/** @throws UapiError ENOENT, EINVAL (start >= last, overlap), EADDRINUSE: the old list stays. */
export function allowIovas(ctx: ContextState, ioasId: number, spans: readonly Span[]): void {
  const { space } = ctx.objects.get(ioasId, "ioas") as Ioas;
  const sorted = checkAllowed(spans);
  for (const span of sorted) {
    const reserved = space.reserved.reservedIn(span);
    if (reserved === undefined) continue;
    throw new UapiError("EADDRINUSE", "an allowed range touches reserved addresses", {
      evidence: [{ kind: "reserved-range", windows: [reserved.span] }],
      cite: "Linux iopt_set_allow_iova()",
    });
  }
  space.reserved.setAllowed(sorted);
  space.search.forget();
}

/** The ranges in order. @throws UapiError EINVAL (start >= last, overlap). */
export function checkAllowed(spans: readonly Span[]): readonly Span[] {
  const sorted = [...spans].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  for (const { first, last } of spans) {
    if (first >= last)
      throw new UapiError("EINVAL", "start is not below last", { cite: CITE_ALLOW });
  }
  for (let i = 1; i < sorted.length; i++) {
    if ((sorted[i] as Span).first <= (sorted[i - 1] as Span).last) {
      throw new UapiError("EINVAL", "allowed ranges overlap", {
        evidence: [{ kind: "allowed-range", windows: [sorted[i - 1], sorted[i]] }],
        cite: CITE_ALLOW,
      });
    }
  }
  return sorted;
}

/**
 * Removes mappings; address 0 with length 2^64 - 1 means all.
 * @returns bytes removed.
 * @throws UapiError ENOENT, EOVERFLOW, EINVAL, EBUSY, EDEADLK; mappings before the one that was
 * refused are gone.
 */
export function ioasUnmap(ctx: ContextState, ioasId: number, iova: bigint, length: bigint): bigint {
  const { space } = ctx.objects.get(ioasId, "ioas") as Ioas;
  const cite = "Linux iommufd_ioas_unmap()";
  if (!isSmall(length) || !isSmall(iova)) {
    if (iova === 0n && length === U64_MAX) return unmapAll(space);
    if (length >= U64_MAX || iova >= U64_MAX || length < 0n || iova < 0n) {
      throw new UapiError("EOVERFLOW", "iova or length is 2^64 - 1", { cite });
    }
  }
  if (length === 0n) throw new UapiError("EINVAL", "length is 0", { cite });
  const page = pageOf(iova);
  const offset = offsetOf(iova);
  // Length - 1 added as bytes: they may borrow or carry one page.
  const lastBytes = offset + offsetOf(length) - 1;
  const lastPage = page + pageOf(length) + (lastBytes >> 12);
  if (lastPage >= PAGE_LIMIT) lastOf(iova, length);
  const removed = new Unmapped();
  unmapRange(space, page, offset, lastPage, lastBytes & 0xfff, removed);
  const total = removed.total;
  if (removed.isNothing) throw new UapiError("ENOENT", "nothing is mapped in the range", { cite });
  return total;
}

const CITE_PROCESS = "Linux iommufd_ioas_change_process()";

/**
 * Charges all mapped memory to another process.
 * @throws UapiError EINVAL (memory that is not a file's), ENOMEM (its limit): nothing changed.
 */
export function changeProcess(ctx: ContextState, caller: UserProcess): void {
  const origins = [...ctx.tables.origins.all()];
  if (origins.some((o) => o.source.kind !== "file")) {
    throw new UapiError("EINVAL", "memory is mapped that belongs to a process or device", {
      cite: CITE_PROCESS,
    });
  }
  const moving = origins.filter((o) => o.caller !== caller && o.pinned > 0);
  const charged: Origin[] = [];
  for (const origin of moving) {
    if (origin.charge(caller, origin.pinned)) {
      charged.push(origin);
      continue;
    }
    for (const done of charged) done.locked(caller)?.uncharge(done.pinned);
    throw new UapiError("ENOMEM", "locked memory would exceed the limit of the process", {
      evidence: [{ kind: "memory-limit", process: caller.label, pages: origin.pinned }],
      cite: CITE_PROCESS,
    });
  }
  for (const origin of moving) {
    origin.locked(origin.caller)?.uncharge(origin.pinned);
    origin.caller.countPinned(-origin.pinned);
    caller.countPinned(origin.pinned);
  }
  for (const origin of origins) origin.caller = caller;
}

const CITE_OPTION = "Linux iommufd_option()";

/** IOMMU_OPTION_RLIMIT_MODE. @throws UapiError EPERM, EBUSY, EINVAL. */
export function setRlimitMode(ctx: ContextState, caller: UserProcess, value: bigint): void {
  if (!caller.mayRaiseLimits) {
    throw new UapiError("EPERM", "CAP_SYS_RESOURCE is needed", { cite: CITE_OPTION });
  }
  if (ctx.objects.size > 0) {
    throw new UapiError("EBUSY", "the context has objects already", { cite: CITE_OPTION });
  }
  if (value !== 0n && value !== 1n) {
    throw new UapiError("EINVAL", "the value is not 0 or 1", { cite: CITE_OPTION });
  }
  ctx.mmMode = value === 1n;
}

/**
 * IOMMU_OPTION_HUGE_PAGES. Off: every mapping goes to the page table in pieces of 4096 bytes.
 * @throws UapiError ENOENT, EINVAL (value; domains and mappings exist), EADDRINUSE.
 */
export function setHugePages(ctx: ContextState, ioasId: number, value: bigint): void {
  const { space } = ctx.objects.get(ioasId, "ioas") as Ioas;
  if (value !== 0n && value !== 1n) {
    throw new UapiError("EINVAL", "the value is not 0 or 1", { cite: CITE_OPTION });
  }
  if (value === 0n && space.largePages) {
    if (space.domains.length > 0 && space.areas.size > 0) {
      throw new UapiError("EINVAL", "page tables show mappings of this space", {
        cite: "Linux iopt_disable_large_pages()",
      });
    }
    space.checkAlignment(PAGE_SIZE);
  }
  space.largePages = value === 1n;
  space.updateAlignment();
}
