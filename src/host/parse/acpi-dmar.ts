/** DMAR: Intel's DMA Remapping table. VT-d 5.0 § 8. */
import type { AtsrScope, DeviceScope, DmarTable } from "../../isolation/index.js";
import type { InputPlace } from "../../units/index.js";
import type { Note } from "../capture.js";
import { type AcpiReader, openTable, walkStructures } from "./acpi-reader.js";

const STRUCTURES_FROM = 48;

const SCOPE_KINDS: readonly (DeviceScope["kind"] | undefined)[] = [
  undefined,
  "endpoint",
  "sub-hierarchy",
  "ioapic",
  "hpet",
  "namespace",
];

type Draft = { -readonly [K in "units" | "reserved" | "ats"]: DmarTable[K][number][] } & {
  integratedAts: AtsrScope[];
  namespaceDevices: { id: number; name: string }[];
};

/** @throws InputError with the offset when length, checksum or a structure is wrong. */
export function parseDmar(
  bytes: Uint8Array,
  place: InputPlace,
): { readonly table: DmarTable; readonly notes: readonly Note[] } {
  const reader = openTable(bytes, "DMAR", place);
  const flags = reader.u8(37);
  const draft: Draft = {
    units: [],
    reserved: [],
    ats: [],
    integratedAts: [],
    namespaceDevices: [],
  };
  walkStructures(
    reader,
    STRUCTURES_FROM,
    bytes.length,
    (at) => reader.u16(at + 2),
    (at, end) => readStructure(reader, at, end, draft),
  );
  const table: DmarTable = {
    addressWidth: reader.u8(36) + 1,
    interruptRemapping: (flags & 1) !== 0,
    platformOptIn: (flags & 4) !== 0,
    units: draft.units,
    reserved: draft.reserved,
    ats: draft.ats,
    ...(draft.integratedAts.length > 0 && { integratedAts: draft.integratedAts }),
    ...(draft.namespaceDevices.length > 0 && { namespaceDevices: draft.namespaceDevices }),
  };
  return { table, notes: reader.notes };
}

function readStructure(r: AcpiReader, at: number, end: number, out: Draft): void {
  const type = r.u16(at);
  switch (type) {
    case 0: // DRHD
      out.units.push({
        segment: r.u16(at + 6),
        includeAll: (r.u8(at + 4) & 1) !== 0,
        registerBase: r.u64(at + 8),
        scopes: readScopes(r, at + 16, end),
      });
      return;
    case 1: // RMRR
      out.reserved.push({
        segment: r.u16(at + 6),
        span: { first: r.u64(at + 8), last: r.u64(at + 16) },
        scopes: readScopes(r, at + 24, end),
      });
      return;
    case 2: // ATSR
    case 5: // SATC
      (type === 2 ? out.ats : out.integratedAts).push({
        segment: r.u16(at + 6),
        allPorts: type === 2 && (r.u8(at + 4) & 1) !== 0,
        scopes: readScopes(r, at + 8, end),
      });
      return;
    case 3: // RHSA: proximity of a unit; says nothing about devices
    case 6: // SIDP: properties of SoC devices; says nothing about scope
      return;
    case 4: // ANDD
      out.namespaceDevices.push({ id: r.u8(at + 7), name: r.text(at + 8, end) });
      return;
    default:
      r.warn(at, `a remapping structure of unknown type ${type} was skipped`);
  }
}

function readScopes(r: AcpiReader, from: number, to: number): DeviceScope[] {
  const scopes: DeviceScope[] = [];
  walkStructures(
    r,
    from,
    to,
    (at) => r.u8(at + 1),
    (at, end) => {
      const type = r.u8(at);
      const kind = SCOPE_KINDS[type];
      if (kind === undefined) {
        r.warn(at, `a device scope of unknown type ${type} was skipped`);
        return;
      }
      if (end - at < 8 || (end - at) % 2 !== 0)
        throw r.error(
          at,
          `a device scope of ${end - at} bytes`,
          "6 bytes and at least one path pair",
        );
      const path: { device: number; fn: number }[] = [];
      for (let p = at + 6; p < end; p += 2) {
        const hop = { device: r.u8(p), fn: r.u8(p + 1) };
        if (hop.device > 31 || hop.fn > 7)
          throw r.error(
            p,
            `path ${hop.device}.${hop.fn} is no device`,
            "device 0..31, function 0..7",
          );
        path.push(hop);
      }
      scopes.push({ kind, bus: r.u8(at + 5), path });
    },
  );
  return scopes;
}
