/**
 * An access: how the kernel, or the driver of a device without hardware of its own, reads, writes
 * and pins what a space maps. Linux iommufd_access.
 *
 * Pinned pages stay where they are until they are unpinned; before they are unmapped the holder is
 * asked to let go. Reading and writing pins nothing that lasts.
 */
import { UapiError } from "../abi/index.js";
import { AreaShape, BATCH_PAGES } from "./area-fill.js";
import { AreaFlag } from "./area-rows.js";
import type { ContextState } from "./context-state.js";
import type { IoPagetable, SpaceAccess } from "./io-pagetable.js";
import type { Ioas } from "./ioas.js";
import { PAGE_SIZE } from "./limits.js";
import { noMemory } from "./no-memory.js";
import type { IommufdObject } from "./object-table.js";
import { addressOf, lastOf, offsetOf, pageOf } from "./position.js";

export interface AccessOptions {
  /** It pins pages: addresses must then be whole pages. */
  readonly pinsPages: boolean;
  /** Asked to unpin what lies in these addresses. */
  readonly unmap?: ((access: Access, iova: bigint, length: bigint) => void) | undefined;
  /** The kernel's own: never asked. */
  readonly internal?: boolean | undefined;
}

export interface AccessFlags {
  readonly write?: boolean | undefined;
}

/** Pages of one area that a pin holds. */
interface Part {
  readonly row: number;
  readonly page: number;
  readonly count: number;
}

/** A pin that was taken: give it back with {@link Access.unpin}. */
export interface Pin {
  /** Frame of each page, in order of the addresses. */
  readonly frames: Float64Array;
  readonly iova: bigint;
  readonly length: bigint;
}

const CITE_PIN = "Linux iommufd_access_pin_pages()";
const CITE_RW = "Linux iommufd_access_rw()";

/** See the head of the file. */
export class Access implements IommufdObject, SpaceAccess {
  readonly kind = "access";
  readonly id: number;
  readonly ctx: ContextState;
  readonly internal: boolean;
  readonly alignment: number;
  readonly pinsPages: boolean;
  /** Its driver is a user: it cannot be destroyed by id. */
  users = 1;
  readonly #options: AccessOptions;
  readonly #pins = new Map<Pin, readonly Part[]>();
  readonly #shape = new AreaShape();
  #ioas: Ioas | undefined;

  constructor(id: number, ctx: ContextState, options: AccessOptions) {
    this.id = id;
    this.ctx = ctx;
    this.#options = options;
    this.internal = options.internal === true;
    this.pinsPages = options.pinsPages;
    this.alignment = options.pinsPages ? PAGE_SIZE : 1;
  }

  get ioas(): Ioas | undefined {
    return this.#ioas;
  }

  /** Pins that are held. */
  get pinCount(): number {
    return this.#pins.size;
  }

  /** @throws UapiError EINVAL (attached already), EADDRINUSE (alignment). */
  attach(ioas: Ioas): void {
    if (this.#ioas !== undefined) {
      throw new UapiError("EINVAL", "the access has a space already", {
        cite: "Linux iommufd_access_attach()",
      });
    }
    this.#join(ioas);
  }

  /**
   * Moves to another space; everything pinned in the old one is asked for.
   * @throws UapiError ENOENT without a space; EADDRINUSE: then it stays where it is.
   */
  replace(ioas: Ioas): void {
    if (this.#ioas === undefined) {
      throw new UapiError("ENOENT", "the access has no space", {
        cite: "Linux iommufd_access_replace()",
      });
    }
    if (this.#ioas === ioas) return;
    this.#checkJoin(ioas);
    this.#leave();
    this.#join(ioas);
  }

  detach(): void {
    if (this.#ioas === undefined) return;
    this.#leave();
  }

  /** {@link SpaceAccess}. */
  unmap(iova: bigint, length: bigint): void {
    this.#options.unmap?.(this, iova, length);
  }

  /** Releases every pin inside the addresses given. */
  unpinRange(iova: bigint, length: bigint): void {
    const last = iova + length - 1n;
    for (const pin of [...this.#pins.keys()]) {
      if (pin.iova <= last && pin.iova + pin.length - 1n >= iova) this.unpin(pin);
    }
  }

  /**
   * Pins the pages of a range.
   * @throws UapiError EINVAL (not for pins, length 0, parts of pages, being unmapped), EOVERFLOW,
   * ENOENT (no space, a hole), EPERM, EFAULT, ENOMEM: then nothing more is pinned.
   */
  pin(iova: bigint, length: bigint, flags: AccessFlags = {}): Pin {
    if (!this.pinsPages) throw new UapiError("EINVAL", "the access pins no pages", cite(CITE_PIN));
    if (length === 0n) throw new UapiError("EINVAL", "length is 0", cite(CITE_PIN));
    const last = lastOf(iova, length);
    const space = this.#space(CITE_PIN);
    const parts: Part[] = [];
    const found: Float64Array[] = [];
    try {
      this.#eachArea(space, iova, last, CITE_PIN, (row, from, to, isEnd) => {
        this.#checkPin(space, row, from, to, isEnd, flags);
        this.#pinPart(space, row, from, to, parts, found);
      });
    } catch (error) {
      this.#release(space, parts);
      throw error;
    }
    const pin: Pin = { frames: joined(found), iova, length };
    this.#pins.set(pin, parts);
    return pin;
  }

  unpin(pin: Pin): void {
    const parts = this.#pins.get(pin);
    if (parts === undefined) throw new RangeError("the pin was given back already");
    this.#pins.delete(pin);
    this.#release(this.#space(CITE_PIN), parts);
  }

  /**
   * Copies bytes out of, or (with `write`) into, what is mapped; any alignment.
   * @throws UapiError EINVAL (length 0, memory of a device, being unmapped), EOVERFLOW, ENOENT (a
   * hole: bytes before it were copied), EPERM, EFAULT.
   */
  readWrite(iova: bigint, bytes: Uint8Array, flags: AccessFlags = {}): void {
    if (bytes.length === 0) throw new UapiError("EINVAL", "length is 0", cite(CITE_RW));
    const last = lastOf(iova, BigInt(bytes.length));
    const space = this.#space(CITE_RW);
    this.#eachArea(space, iova, last, CITE_RW, (row, from, to) => {
      this.#checkPermission(space, row, flags, CITE_RW);
      const { origin } = this.#memoryOf(space, row);
      if (origin.source.kind === "device") {
        throw new UapiError(
          "EINVAL",
          "the processor cannot reach memory of a device",
          cite(CITE_RW),
        );
      }
      const shape = this.#shape;
      let at = from;
      while (at <= to) {
        const start = addressOf(shape.startPage, shape.startOffset) + (at - firstOf(shape));
        const offset = offsetOf(start);
        const size = Math.min(PAGE_SIZE - offset, Number(to - at) + 1);
        const part = bytes.subarray(Number(at - iova), Number(at - iova) + size);
        if (flags.write === true) origin.source.write(pageOf(start), offset, part);
        else origin.source.read(pageOf(start), offset, part);
        at += BigInt(size);
      }
    });
  }

  /** The driver is done: pins and space are given back, the object goes. */
  close(): void {
    this.detach();
    this.users = 0;
    this.ctx.objects.remove(this);
  }

  destroy(): void {
    this.detach();
  }

  #join(ioas: Ioas): void {
    this.#checkJoin(ioas);
    const { space } = ioas;
    space.accesses.add(this);
    space.updateAlignment();
    ioas.users++;
    this.#ioas = ioas;
  }

  #checkJoin({ space }: Ioas): void {
    if (this.alignment > space.alignment) space.checkAlignment(this.alignment);
  }

  #leave(): void {
    const ioas = this.#ioas;
    if (ioas === undefined) return;
    if (!this.internal) this.unmap(0n, 2n ** 64n - 1n);
    for (const pin of [...this.#pins.keys()]) this.unpin(pin);
    ioas.space.accesses.delete(this);
    ioas.space.updateAlignment();
    ioas.users--;
    this.#ioas = undefined;
  }

  #space(citation: string): IoPagetable {
    if (this.#ioas !== undefined) return this.#ioas.space;
    throw new UapiError("ENOENT", "the access has no space", cite(citation));
  }

  /** Visits areas that cover iova..last without a hole; `#shape` is the area at hand. */
  #eachArea(
    space: IoPagetable,
    iova: bigint,
    last: bigint,
    citation: string,
    visit: (row: number, from: bigint, to: bigint, isEnd: boolean) => void,
  ): void {
    const { areas } = space;
    const shape = this.#shape;
    let at = iova;
    while (at <= last) {
      areas.seekEnding(pageOf(at), offsetOf(at));
      if (!areas.found) throw notMapped(at, citation);
      const { row, firstPage } = areas;
      shape.load(areas.rows, row, firstPage);
      if (firstOf(shape) > at) throw notMapped(at, citation);
      const end = addressOf(shape.lastPage, shape.lastOffset);
      const to = end < last ? end : last;
      if ((areas.rows.flags(row) & AreaFlag.closed) !== 0) {
        throw new UapiError("EINVAL", "the mapping is being removed", cite(citation));
      }
      visit(row, at, to, to === last);
      at = to + 1n;
    }
  }

  #checkPin(
    space: IoPagetable,
    row: number,
    from: bigint,
    to: bigint,
    isEnd: boolean,
    flags: AccessFlags,
  ): void {
    const shape = this.#shape;
    const start = addressOf(shape.startPage, shape.startOffset) - firstOf(shape);
    if (offsetOf(start + from) !== 0 || (!isEnd && offsetOf(start + to) !== PAGE_SIZE - 1)) {
      throw new UapiError("EINVAL", "areas do not meet at a page of memory", cite(CITE_PIN));
    }
    this.#checkPermission(space, row, flags, CITE_PIN);
    if (this.#memoryOf(space, row).origin.source.kind === "device") {
      throw new UapiError("EINVAL", "memory of a device cannot be pinned", cite(CITE_PIN));
    }
  }

  #checkPermission(space: IoPagetable, row: number, flags: AccessFlags, citation: string): void {
    const { rows } = space.areas;
    const isAllowed =
      flags.write === true
        ? this.#memoryOf(space, row).origin.writable
        : (rows.flags(row) & AreaFlag.read) !== 0;
    if (!isAllowed)
      throw new UapiError("EPERM", "the mapping does not permit this", cite(citation));
  }

  #memoryOf(space: IoPagetable, row: number) {
    const { rows } = space.areas;
    const { origins, sharedPages } = space.tables;
    const source = rows.source(row);
    const isShared = (rows.flags(row) & AreaFlag.shared) !== 0;
    return { origin: isShared ? sharedPages.get(source).origin : origins.get(source) };
  }

  #pinPart(
    space: IoPagetable,
    row: number,
    from: bigint,
    to: bigint,
    parts: Part[],
    found: Float64Array[],
  ): void {
    const shape = this.#shape;
    const start = addressOf(shape.startPage, shape.startOffset) - firstOf(shape);
    const page = pageOf(start + from);
    const end = pageOf(start + to) + 1;
    const pages = space.share(row, shape.firstPage);
    if (!space.tables.allocations.permit("pin")) throw noMemory("pin");
    for (let at = page; at < end; at += BATCH_PAGES) {
      const count = Math.min(BATCH_PAGES, end - at);
      const frames = new Float64Array(count);
      pages.holdForAccess(at, count, frames);
      found.push(frames);
      parts.push({ row, page: at, count });
      space.accessPins.set(row, (space.accessPins.get(row) ?? 0) + 1);
    }
  }

  #release(space: IoPagetable, parts: readonly Part[]): void {
    for (const { row, page, count } of parts) {
      const pins = (space.accessPins.get(row) ?? 1) - 1;
      if (pins === 0) space.accessPins.delete(row);
      else space.accessPins.set(row, pins);
      const pages = space.tables.sharedPages.get(space.areas.rows.source(row));
      pages.dropForAccess(page, count);
    }
  }
}

/** An access object without a space. @throws UapiError ENOMEM. */
export function createAccess(ctx: ContextState, options: AccessOptions): Access {
  return ctx.objects.create((id) => new Access(id, ctx, options));
}

const firstOf = (shape: AreaShape): bigint => addressOf(shape.firstPage, shape.firstOffset);
const cite = (citation: string) => ({ cite: citation });

function notMapped(iova: bigint, citation: string): UapiError {
  return new UapiError("ENOENT", "an address of the range is not mapped", {
    evidence: [{ kind: "iova-not-mapped", iova }],
    cite: citation,
  });
}

function joined(parts: readonly Float64Array[]): Float64Array {
  if (parts.length === 1) return parts[0] as Float64Array;
  const all = new Float64Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
