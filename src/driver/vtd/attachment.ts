/**
 * How a domain and the rows that use it know each other.
 *
 * A domain has one *tag* (domain id) in each unit where it is used; an *attachment* is one row: a
 * requester and a PASID (0: requests without one). Caches are tagged with domain id and, for stage
 * 1 and nested translations, the PASID; device TLBs with requester and PASID.
 */
import { ALL_PAGES, type DeviceTlbTarget } from "./invalidation-queue.js";
import type { Requester } from "./requester.js";
import type { VtdUnit } from "./unit.js";

export type Translation = "stage1" | "stage2" | "nested" | "pass-through";

/** What the driver attaches; the port's domains and the kernel's own are of this kind. */
export interface VtdDomain {
  readonly label: string;
  readonly translation: Translation;
  readonly tags: Map<VtdUnit, DomainTag>;
  /** Words of a row that uses it: a PASID entry, or in legacy mode a context entry. */
  row(unit: VtdUnit, domainId: number, deviceTlb: boolean): Uint32Array;
}

export interface DomainTag {
  readonly domainId: number;
  readonly attachments: Set<Attachment>;
}

export interface Attachment {
  readonly unit: VtdUnit;
  readonly requester: Requester;
  /** 0: requests without PASID. */
  readonly pasid: number;
  readonly domain: VtdDomain;
  readonly tag: DomainTag;
  readonly target: DeviceTlbTarget;
}

/** Pages whose translations must go. */
export interface PageRange {
  readonly first: number;
  readonly last: number;
  /** Only entries of pages changed, no table above them. */
  readonly leafOnly: boolean;
}

/** Smallest order of an aligned block of pages that holds the range. */
export function coveringOrder(first: number, last: number): number {
  let order = 0;
  let size = 1;
  while (Math.floor(first / size) !== Math.floor(last / size)) {
    order++;
    size *= 2;
  }
  return order;
}

/** Queues what makes every cache forget all translations of one row. */
export function forgetRow(attachment: Attachment): void {
  const { unit, pasid, tag, domain, requester } = attachment;
  if (unit.scalable) unit.queue.pasidEntry(tag.domainId, pasid);
  else unit.queue.contextDevice(requester.rid, tag.domainId);
  if (domain.translation === "stage1" || domain.translation === "nested") {
    unit.queue.pasidTranslations(tag.domainId, pasid);
  } else unit.queue.iotlbDomain(tag.domainId);
  forgetInDevice(attachment, undefined);
}

/** Queues the invalidation of the device's own TLB; everything when no range is given. */
export function forgetInDevice(attachment: Attachment, range: PageRange | undefined): void {
  const { unit, requester, pasid, target } = attachment;
  if (!requester.switches.deviceTlb) return;
  const order = range === undefined ? ALL_PAGES : coveringOrder(range.first, range.last);
  const frame = range === undefined ? 0 : alignDown(range.first, order);
  if (pasid === 0) unit.queue.deviceTlb(target, frame, order);
  else unit.queue.pasidDeviceTlb(target, pasid, frame, order);
}

/** Queues what makes caches forget translations of pages in a domain, where one tag is used. */
export function forgetPages(unit: VtdUnit, domain: VtdDomain, range: PageRange): void {
  const tag = domain.tags.get(unit);
  if (tag === undefined) return;
  const { pageSelective, maximumMask } = unit.capabilities;
  const order = coveringOrder(range.first, range.last);
  const frame = alignDown(range.first, order);
  const byPage = pageSelective && order <= maximumMask;
  if (domain.translation === "stage2") {
    if (byPage) unit.queue.iotlbPages(tag.domainId, frame, order, range.leafOnly);
    else unit.queue.iotlbDomain(tag.domainId);
  }
  for (const attachment of tag.attachments) {
    const { pasid } = attachment;
    if (domain.translation !== "stage2") {
      if (byPage) unit.queue.pasidPages(tag.domainId, pasid, frame, order, range.leafOnly);
      else unit.queue.pasidTranslations(tag.domainId, pasid);
    }
    forgetInDevice(attachment, range);
  }
}

function alignDown(frame: number, order: number): number {
  const size = 2 ** order;
  return frame - (frame % size);
}
