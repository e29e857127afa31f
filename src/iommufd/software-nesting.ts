/**
 * Nesting in software: a child space whose addresses mean addresses of a parent space, merged by
 * copying: the child's page tables show the parent's memory directly.
 *
 * Memory is pinned and charged once, since a copy shares the parent's pages. A mapping of the child
 * names what the parent maps at that time. When the parent removes a mapping, the child's mappings
 * of it go first (policy `follow`), or the parent's unmap is refused (`refuse`, EBUSY).
 */
import { UapiError } from "../abi/index.js";
import { AreaFlag } from "./area-rows.js";
import type { ContextState } from "./context-state.js";
import type { ChildSpace } from "./io-pagetable.js";
import { Ioas } from "./ioas.js";
import { copyPieces, piecesOf } from "./ioas-map.js";
import { U64_MAX } from "./limits.js";
import { offsetOf, pageOf } from "./position.js";
import type { SharedPages } from "./shared-pages.js";
import { Unmapped, unmapRange } from "./space-unmap.js";

export type ParentUnmapPolicy = "follow" | "refuse";

export interface NestedMapArgs {
  readonly childId: number;
  /** As for a map: fixed or not, permissions. */
  readonly flags: number;
  readonly iova?: bigint | undefined;
  /** Address in the parent. */
  readonly parentIova: bigint;
  readonly length: bigint;
}

/** A mapping of the child. */
interface Shadow {
  readonly first: bigint;
  readonly last: bigint;
  /** What the child showed there then: its user may have removed and mapped anew since. */
  readonly pages: SharedPages;
}

const shadows = new WeakMap<Ioas, SoftwareNesting>();

class SoftwareNesting implements ChildSpace {
  readonly child: Ioas;
  readonly parent: Ioas;
  readonly #policy: ParentUnmapPolicy;
  /** By the first address of the parent's area; an area is removed whole. */
  readonly #shadows = new Map<bigint, Shadow[]>();

  constructor(parent: Ioas, child: Ioas, policy: ParentUnmapPolicy) {
    this.parent = parent;
    this.child = child;
    this.#policy = policy;
    parent.users++;
    parent.space.children.add(this);
    child.onDestroy = () => {
      parent.space.children.delete(this);
      parent.users--;
    };
  }

  add(areaFirst: bigint, shadow: Shadow): void {
    const list = this.#shadows.get(areaFirst);
    if (list === undefined) this.#shadows.set(areaFirst, [shadow]);
    else list.push(shadow);
  }

  /** {@link ChildSpace}. Whoever pins the child's mappings is asked to let go first. */
  parentUnmaps(first: bigint): void {
    const all = this.#shadows.get(first) ?? [];
    const hit = all.filter((shadow) => this.#isMapped(shadow));
    if (hit.length > 0 && this.#policy === "refuse") {
      throw new UapiError("EBUSY", "a nested address space shows this mapping", {
        evidence: hit.map((s) => ({ kind: "shadow", ioas: this.child.id, iova: s.first })),
      });
    }
    const { space } = this.child;
    const removed = new Unmapped();
    for (const { first: at, last } of hit) {
      unmapRange(space, pageOf(at), offsetOf(at), pageOf(last), offsetOf(last), removed);
    }
    this.#shadows.delete(first);
  }

  /** The child's user has not removed it. */
  #isMapped(shadow: Shadow): boolean {
    const { areas } = this.child.space;
    areas.seek(pageOf(shadow.first), offsetOf(shadow.first));
    if (!areas.found || areas.firstPage !== pageOf(shadow.first)) return false;
    const { row, rows } = areas;
    if (rows.firstOffset(row) !== offsetOf(shadow.first)) return false;
    const isShared = (rows.flags(row) & AreaFlag.shared) !== 0;
    return isShared && rows.source(row) === shadow.pages.id;
  }
}

/** A space whose mappings name addresses of `parentId`. @throws UapiError ENOENT, ENOMEM. */
export function nestedIoasAlloc(
  ctx: ContextState,
  parentId: number,
  policy: ParentUnmapPolicy = "follow",
): Ioas {
  const parent = ctx.objects.get(parentId, "ioas") as Ioas;
  return ctx.objects.create((id) => {
    const child = new Ioas(id, ctx.tables);
    shadows.set(child, new SoftwareNesting(parent, child, policy));
    return child;
  });
}

/**
 * Maps addresses of the parent into the child.
 * @returns the child's address.
 * @throws UapiError EINVAL (no nested space), else as a copy.
 */
export function nestedIoasMap(ctx: ContextState, args: NestedMapArgs): bigint {
  const child = ctx.objects.get(args.childId, "ioas") as Ioas;
  const nesting = shadows.get(child);
  if (nesting === undefined) {
    throw new UapiError("EINVAL", "the address space is not nested on another one");
  }
  if (args.length === U64_MAX || args.parentIova === U64_MAX) {
    throw new UapiError("EOVERFLOW", "an address or length is 2^64 - 1");
  }
  const pieces = piecesOf(nesting.parent.space, args.parentIova, args.length);
  const place = { flags: args.flags, iova: args.iova ?? 0n, length: args.length };
  const iova = copyPieces(child.space, pieces, place);
  let first = iova;
  for (const { source, length, pages } of pieces) {
    nesting.add(source.areaFirst, { first, last: first + length - 1n, pages });
    first += length;
  }
  return iova;
}
