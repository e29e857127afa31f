/**
 * One ACPI table, as bytes, to a capture part. Tables that say nothing about IOMMUs only count as
 * present.
 */
import type { HostFacts } from "../../isolation/index.js";
import type { InputPlace } from "../../units/index.js";
import type { CapturePart, Note, PartKind } from "../capture.js";
import { parseDmar } from "./acpi-dmar.js";
import { parseIort } from "./acpi-iort.js";
import { parseIvrs } from "./acpi-ivrs.js";
import { ascii } from "./acpi-reader.js";
import { parseViot } from "./acpi-viot.js";

type Reading = {
  readonly kind: PartKind;
  readonly facts: HostFacts;
  readonly notes: readonly Note[];
};

/** @throws InputError when a DMAR, IVRS, IORT or VIOT table is damaged. */
export function parseAcpiTable(bytes: Uint8Array, place: InputPlace): CapturePart {
  const signature = ascii(bytes, 0, 4);
  const { kind, facts, notes } = read(signature, bytes, place);
  const acpiTables = { present: [signature], complete: false };
  return { kind, place, facts: { ...facts, firmware: "acpi", acpiTables }, notes };
}

function read(signature: string, bytes: Uint8Array, place: InputPlace): Reading {
  switch (signature) {
    case "DMAR": {
      const { table, notes } = parseDmar(bytes, place);
      return { kind: "dmar", facts: { dmar: table, architecture: "x86" }, notes };
    }
    case "IVRS": {
      const { table, notes } = parseIvrs(bytes, place);
      return { kind: "ivrs", facts: { ivrs: table, architecture: "x86" }, notes };
    }
    case "IORT": {
      const { table, notes } = parseIort(bytes, place);
      return { kind: "iort", facts: { iort: table, architecture: "arm64" }, notes };
    }
    case "VIOT": {
      const { table, notes } = parseViot(bytes, place);
      return { kind: "viot", facts: { viot: table }, notes };
    }
    default:
      return { kind: "other", facts: {}, notes: [] };
  }
}
