/**
 * VtdPagingDomain: an address space in a radix table, and the caches that know parts of it.
 *
 * The granule is 4 KiB. What `unmap` removed is gathered; `sync` has every cache forget it (IOTLBs
 * of all units, device TLBs, and the translations of nested domains on top) and only then gives
 * empty table frames back.
 */
import { UapiError } from "../../abi/index.js";
import {
  buildWords,
  VTD_CONTEXT_ENTRY,
  VTD_PASID_ENTRY,
  VtdPasidTranslation,
  VtdStage1Mode,
  VtdTranslationType,
} from "../../formats/index.js";
import type { Span } from "../../units/index.js";
import type { DirtyOps, PagingDomain, Prot } from "../driver-port.js";
import { RadixTable } from "../radix.js";
import { pageSizesOf } from "../radix-format.js";
import type { TableFrames } from "../table-frames.js";
import {
  type DomainTag,
  forgetInDevice,
  forgetPages,
  type PageRange,
  type VtdDomain,
} from "./attachment.js";
import { STAGE2_SNOOP, stage1Format, stage2Format } from "./page-formats.js";
import type { VtdUnit } from "./unit.js";

export interface PagingShape {
  readonly stage: 1 | 2;
  readonly nestParent: boolean;
  readonly dirtyTracking: boolean;
  /** Every access is snooped. */
  readonly snoop: boolean;
}

/** One bit of the address is the sign: stage 1 maps the lower half of the canonical addresses. */
const SIGN_BIT = 1;
/** Frames of 1 GiB. */
const LARGEST_PAGE = 2 ** 18;

/** One address space; see the head of this file. */
export class VtdPagingDomain implements PagingDomain, VtdDomain {
  readonly kind = "paging";
  readonly label: string;
  readonly instance: VtdUnit;
  readonly granuleShift = 12;
  readonly pageSizes: bigint;
  readonly aperture: Span;
  readonly nestParent: boolean;
  readonly enforcesCoherency: boolean;
  readonly dirty: DirtyOps | undefined;
  readonly translation: "stage1" | "stage2";
  readonly levels: number;
  readonly tags = new Map<VtdUnit, DomainTag>();
  /** Nested domains on top; kept by them. */
  readonly children = new Set<VtdDomain>();
  readonly #table: RadixTable;
  readonly #frames: TableFrames;
  readonly #frameLimit: number;
  readonly #low: number;
  #tracking = false;
  /** Gathered: frames first..last; none when last < first. */
  #first = Number.POSITIVE_INFINITY;
  #last = -1;
  #freed = false;

  /** @throws UapiError ENOMEM; EOPNOTSUPP the unit has no such tables. */
  constructor(unit: VtdUnit, frames: TableFrames, label: string, shape: PagingShape) {
    const caps = unit.capabilities;
    const depths = shape.stage === 2 ? caps.stage2Levels : caps.stage1Levels;
    const levels = depths.findLast((n) => 12 + 9 * n >= caps.addressBits) ?? depths[0];
    if (levels === undefined) throw new UapiError("EOPNOTSUPP", "the unit has no such tables");
    this.label = label;
    this.instance = unit;
    this.levels = levels;
    this.translation = shape.stage === 2 ? "stage2" : "stage1";
    this.nestParent = shape.nestParent;
    this.enforcesCoherency = shape.snoop;
    const format =
      shape.stage === 2
        ? stage2Format(levels, caps.stage2Largest)
        : stage1Format(levels, caps.stage1Largest);
    this.pageSizes = pageSizesOf(format);
    const tableBits = 12 + 9 * levels - (shape.stage === 1 ? SIGN_BIT : 0);
    const bits = Math.min(tableBits, caps.addressBits);
    this.aperture = { first: 0n, last: (1n << BigInt(bits)) - 1n };
    this.#frameLimit = 2 ** (bits - 12);
    this.#low = shape.snoop && shape.stage === 2 ? STAGE2_SNOOP : 0;
    this.#frames = frames;
    this.#table = new RadixTable(frames, format, { label });
    this.dirty = shape.dirtyTracking
      ? {
          setTracking: (enabled) => this.#setTracking(enabled),
          scan: (first, count, clear, dirty) => this.#scan(first, count, clear, dirty),
        }
      : undefined;
  }

  /** Frame of the root table. */
  get root(): number {
    return this.#table.root;
  }

  /** Frames that its tables occupy. */
  get tableCount(): number {
    return this.#table.tableCount;
  }

  get isTracking(): boolean {
    return this.#tracking;
  }

  map(iova: number, pa: number, count: number, prot: Prot): void {
    if (iova < 0 || count < 1 || iova + count > this.#frameLimit) {
      throw new UapiError("EINVAL", "the addresses lie outside of what the domain can map", {
        evidence: [{ kind: "outside-aperture", windows: [this.aperture] }],
      });
    }
    if (pa < 0 || pa + count > 2 ** 40) {
      throw new UapiError("EINVAL", "the physical addresses have more than 52 bits");
    }
    if ((prot & 3) === 0) throw new UapiError("EINVAL", "a mapping must be readable or writable");
    this.#table.map(iova, pa, count, prot, this.#low);
    this.#afterMap(iova, count);
  }

  unmap(iova: number, count: number): number {
    if (count < 1) return 0;
    const removed = this.#table.unmap(iova, count);
    if (removed === 0) return 0;
    // Large pages may have reached out of the range.
    const isExact = removed === count;
    const first = isExact ? iova : iova - (iova % LARGEST_PAGE);
    const end = isExact ? iova + count : Math.ceil((iova + count) / LARGEST_PAGE) * LARGEST_PAGE;
    this.#first = Math.min(this.#first, first);
    this.#last = Math.max(this.#last, end - 1);
    return removed;
  }

  /**
   * Replaces a large page that reaches across the boundary below `iova` by smaller ones, so that
   * `unmap` may stop or begin there. @throws UapiError ENOMEM.
   */
  split(iova: number): void {
    if (iova <= 0 || iova >= this.#frameLimit) return;
    const frames = this.#table.pageFrames(iova);
    if (!this.#table.split(iova)) return;
    const first = iova - (iova % frames);
    this.#flush({ first, last: first + frames - 1, leafOnly: false });
  }

  sync(): void {
    const { unlinked } = this.#table;
    if (this.#last >= this.#first) {
      const leafOnly = unlinked.length === 0;
      this.#flush({ first: this.#first, last: this.#last, leafOnly });
    }
    this.#first = Number.POSITIVE_INFINITY;
    this.#last = -1;
    for (const pfn of unlinked.splice(0)) this.#frames.free(pfn);
  }

  translate(iova: number): number | undefined {
    return this.#table.translate(iova);
  }

  /** Every page that is mapped, ascending; `low` is the lower half of its entry. */
  pages(): IterableIterator<{ iova: number; pfn: number; count: number; low: number }> {
    return this.#table.pages();
  }

  /** @throws Error when it is attached or has nested domains: a defect of the caller. */
  free(): void {
    if (this.tags.size > 0 || this.children.size > 0) {
      throw new Error(`domain "${this.label}" is freed while in use`);
    }
    if (this.#freed) return;
    this.#freed = true;
    this.#table.free();
  }

  row(unit: VtdUnit, domainId: number, deviceTlb: boolean): Uint32Array {
    if (!unit.scalable) {
      return buildWords(VTD_CONTEXT_ENTRY, 4, {
        present: true,
        translationType: deviceTlb
          ? VtdTranslationType.withDeviceTlb
          : VtdTranslationType.untranslatedOnly,
        stage2Table: this.root,
        addressWidth: this.levels - 2,
        domainId,
      });
    }
    const snoopWalk = unit.capabilities.pageWalkCoherency;
    if (this.translation === "stage2") {
      return buildWords(VTD_PASID_ENTRY, 16, {
        present: true,
        translationType: VtdPasidTranslation.stage2,
        addressWidth: this.levels - 2,
        stage2AccessedDirty: this.#tracking,
        stage2Table: this.root,
        domainId,
        pageWalkSnoop: snoopWalk,
      });
    }
    return buildWords(VTD_PASID_ENTRY, 16, {
      present: true,
      translationType: VtdPasidTranslation.stage1,
      stage1Table: this.root,
      stage1Mode: this.levels === 5 ? VtdStage1Mode.levels5 : VtdStage1Mode.levels4,
      domainId,
      pageWalkSnoop: snoopWalk,
      pageSnoop: this.enforcesCoherency,
    });
  }

  /** Units that may have cached something of it: its own and those of nested domains. */
  #units(): Set<VtdUnit> {
    const units = new Set(this.tags.keys());
    for (const child of this.children) for (const unit of child.tags.keys()) units.add(unit);
    return units;
  }

  #flush(range: PageRange): void {
    for (const unit of this.#units()) {
      forgetPages(unit, this, range);
      for (const child of this.children) forgetNested(unit, child);
      unit.queue.submit();
    }
  }

  /** Where units cache entries that are not present, a new mapping has to be told too. */
  #afterMap(iova: number, count: number): void {
    if (this.tags.size === 0 && this.children.size === 0) return;
    const range = { first: iova, last: iova + count - 1, leafOnly: false };
    for (const unit of this.#units()) {
      if (!unit.capabilities.cachingMode) continue;
      forgetPages(unit, this, range);
      for (const child of this.children) forgetNested(unit, child);
      unit.queue.submit();
    }
  }

  #setTracking(enabled: boolean): void {
    if (this.#tracking === enabled) return;
    this.#tracking = enabled;
    for (const domain of [this, ...this.children]) {
      for (const [unit, tag] of domain.tags) {
        for (const { requester, pasid } of tag.attachments) {
          const { deviceTlb } = requester.switches;
          requester.refill(pasid, domain.row(unit, tag.domainId, deviceTlb));
          unit.queue.pasidEntry(tag.domainId, pasid);
          if (domain !== this) unit.queue.pasidTranslations(tag.domainId, pasid);
        }
        unit.queue.iotlbDomain(tag.domainId);
        for (const attachment of tag.attachments) forgetInDevice(attachment, undefined);
        unit.queue.submit();
      }
    }
  }

  #scan(
    first: number,
    count: number,
    clear: boolean,
    dirty: (granule: number, count: number) => void,
  ): void {
    const cleared = this.#table.scanDirty(first, count, clear, dirty);
    // A cached translation that is known to be dirty would not be marked again.
    if (cleared) this.#flush({ first, last: first + count - 1, leafOnly: true });
  }
}

/** Nested translations are found by input address of stage 1, so all of them go. */
function forgetNested(unit: VtdUnit, child: VtdDomain): void {
  const tag = child.tags.get(unit);
  if (tag === undefined) return;
  unit.queue.iotlbDomain(tag.domainId);
  for (const attachment of tag.attachments) {
    unit.queue.pasidTranslations(tag.domainId, attachment.pasid);
    forgetInDevice(attachment, undefined);
  }
}
