/** Traps of the interface in words, for the log of a strict platform. */
import type { Trap } from "../../iommufd/index.js";

const WORDS: Readonly<Record<Trap["kind"], string>> = {
  "unmap-of-nothing": "succeeded, and nothing was mapped there",
  "unmap-shorter": "succeeded, and removed less than the range",
  "unmap-in-part": "was refused, and mappings before the one refused are gone",
  "mapped-already": "was refused because something is mapped there: not the same as success",
  "dirty-hole": "ended early, at an address that is not mapped",
  "dirty-bitmap-lost": "lost dirty bits: their place in the bitmap cannot be written",
};

export function trapText({ kind, pid, call, iova, length, done }: Trap): string {
  const range = `0x${iova.toString(16)}, ${length} bytes`;
  const did = done === undefined ? "" : ` (${done} bytes done)`;
  return `process ${pid}: ${call} of ${range} ${WORDS[kind]}${did}`;
}
