/**
 * Reserved regions of groups: lines `0x… 0x… kind` of the kernel's reserved_regions files, in a
 * list with `GROUP n type=DMA` heads or below paths of the files.
 */
import type { CapturePart, RecordedGroup, ReservedRegion } from "../capture.js";
import type { TextLines } from "./text.js";

const HEAD = /^(?:GROUP (\d{1,9}) type=(\S*)|.*iommu_groups\/(\d{1,9})\/reserved_regions:?)/;
const REGION = /^\s*0x([0-9a-f]{1,16}) 0x([0-9a-f]{1,16}) ([a-z][a-z-]{1,30})\s*$/i;

export function looksLikeReserved(head: string): boolean {
  return /^GROUP \d+ type=/m.test(head) || /iommu_groups\/\d+\/reserved_regions/.test(head);
}

export function parseReservedLine(line: string): ReservedRegion | undefined {
  const m = REGION.exec(line);
  if (m === null) return undefined;
  const span = { first: BigInt(`0x${m[1]}`), last: BigInt(`0x${m[2]}`) };
  return span.first <= span.last ? { span, kind: m[3] ?? "" } : undefined;
}

/** Undefined when the text has no group head. */
export function parseReserved(text: TextLines): CapturePart | undefined {
  const groups = new Map<number, { type?: string; reserved: ReservedRegion[] }>();
  let open: { type?: string; reserved: ReservedRegion[] } | undefined;
  for (const line of text.lines) {
    const head = HEAD.exec(line);
    if (head !== null) {
      open = { ...(head[2] && { type: head[2] }), reserved: [] };
      groups.set(Number(head[1] ?? head[3]), open);
      continue;
    }
    const region = parseReservedLine(line);
    if (region !== undefined) open?.reserved.push(region);
  }
  if (groups.size === 0) return undefined;
  const groupDetails: Omit<RecordedGroup, "devices">[] = [...groups].map(([id, g]) => ({
    id,
    ...(g.type !== undefined && { type: g.type }),
    ...(g.reserved.length > 0 && { reserved: g.reserved }),
  }));
  return { kind: "other", place: { file: text.file }, groupDetails };
}
