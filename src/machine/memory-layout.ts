/** Where memory goes: tables and user pages keep clear of everything that devices claim. */
import type { PhysicalMemoryOptions } from "../memory/index.js";
import { claimedSpans, type Fabric, memoryWindows } from "../pcie/index.js";
import { mergeSpans, type Span } from "../units/index.js";

const GIB = 1n << 30n;
const FIRST = 4n * GIB;
/** Tables take 4 GiB, user memory what follows. */
const WANTED = 256n * GIB;
const LIMIT = 1n << 52n;

/** The lowest free run of 256 GiB above 4 GiB; as much as there is when none is so long. */
export function chooseMemoryLayout(fabric: Fabric): PhysicalMemoryOptions {
  const taken: Span[] = [];
  for (const fn of fabric.functions) taken.push(...claimedSpans(fn), ...memoryWindows(fn));
  let first = FIRST;
  for (const span of mergeSpans(taken)) {
    if (span.last < first) continue;
    if (span.first >= first + WANTED) break;
    first = ((span.last + GIB) / GIB) * GIB;
  }
  if (first + WANTED > LIMIT) first = FIRST;
  const poolFirst = Number(first >> 12n);
  return { poolFirst, userFirst: poolFirst + 2 ** 20 };
}
