/** VIOT: Virtual I/O Translation table. ACPI 6.5 § 5.2.38. */
import type { ViotTable } from "../../isolation/index.js";
import { type Bdf, bdfFromRid, type InputPlace } from "../../units/index.js";
import type { Note } from "../capture.js";
import { openTable, walkStructures } from "./acpi-reader.js";

/** @throws InputError with the offset when length, checksum or a node is wrong. */
export function parseViot(
  bytes: Uint8Array,
  place: InputPlace,
): { readonly table: ViotTable; readonly notes: readonly Note[] } {
  const r = openTable(bytes, "VIOT", place);
  const count = r.u16(36);
  const from = r.u16(38);
  if (count > 0 && from < 48) throw r.error(38, "the nodes start inside the header");
  const ranges: ViotTable["ranges"][number][] = [];
  const iommus: Bdf[] = [];
  let hasMmioUnit = false;
  let seen = 0;
  walkStructures(
    r,
    count === 0 ? bytes.length : from,
    bytes.length,
    (at) => (seen++ < count ? r.u16(at + 2) : bytes.length - at),
    (at) => {
      if (seen > count) return;
      const type = r.u8(at);
      if (type === 1) {
        ranges.push({
          firstSegment: r.u16(at + 8),
          lastSegment: r.u16(at + 10),
          firstBdf: r.u16(at + 12),
          lastBdf: r.u16(at + 14),
        });
      } else if (type === 3) iommus.push(bdfFromRid(r.u16(at + 4), r.u16(at + 6)));
      else if (type === 4) hasMmioUnit = true;
      else if (type !== 2) r.warn(at, `a node of unknown type ${type} was skipped`);
    },
  );
  if (seen < count) throw r.error(36, `the header counts ${count} nodes, the table has ${seen}`);
  return { table: { ranges, iommus, hasMmioUnit }, notes: r.notes };
}
