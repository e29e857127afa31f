/** Evidence as the JSON contracts carry it: devices `dddd:bb:dd.f`, addresses `0x…`. */
import type { Evidence } from "../isolation/index.js";
import { formatBdf, formatRid, type Span } from "../units/index.js";

export interface SpanJson {
  readonly first: string;
  readonly last: string;
}

export interface EvidenceJson {
  readonly kind: string;
  readonly at: string;
  readonly bits?: readonly string[];
  readonly quirk?: string;
  readonly with?: string;
  readonly requesterId?: string;
  readonly capability?: string;
  readonly windows?: readonly SpanJson[];
  readonly detail?: string;
  readonly cite: string;
}

/**
 * Evidence as the published schemas have it: devices as `dddd:bb:dd.f`, absent fields left out.
 */
export function evidenceJson(evidence: Evidence): EvidenceJson {
  const { bits, quirk, rid, capability, windows, detail } = evidence;
  return {
    kind: evidence.kind,
    at: formatBdf(evidence.at),
    ...(bits === undefined ? {} : { bits: [...bits] }),
    ...(quirk === undefined ? {} : { quirk }),
    ...(evidence.with === undefined ? {} : { with: formatBdf(evidence.with) }),
    ...(rid === undefined ? {} : { requesterId: formatRid(rid) }),
    ...(capability === undefined ? {} : { capability }),
    ...(windows === undefined ? {} : { windows: windows.map(spanJson) }),
    ...(detail === undefined ? {} : { detail }),
    cite: evidence.cite,
  };
}

/** Both ends in hex with `0x`, since JSON numbers hold 53 bits only. */
export function spanJson(span: Span): SpanJson {
  return { first: `0x${span.first.toString(16)}`, last: `0x${span.last.toString(16)}` };
}
