/**
 * Facts of the host from several parts. Parts come best first; the first that knows a fact states
 * it.
 */
import type {
  ChildDomain,
  DmarTable,
  HostFacts,
  IvrsTable,
  SeenIommu,
} from "../isolation/index.js";
import { InputError, type InputPlace } from "../units/index.js";
import type { CapturePart, Note } from "./capture.js";

type Draft = { -readonly [K in keyof HostFacts]: HostFacts[K] };

const TABLES = ["dmar", "ivrs", "iort", "viot"] as const;

/** @throws InputError when two parts hold the same firmware table with different contents. */
export function mergeFacts(
  parts: readonly CapturePart[],
  source: InputPlace,
  notes: Note[],
): HostFacts {
  const out: Draft = {};
  const with_ = parts.flatMap((p) =>
    p.facts === undefined ? [] : [{ place: p.place, ...p.facts }],
  );
  refuseTables(parts, source);
  noteCommandLines(parts, notes);
  for (const { place: _, ...facts } of with_) {
    for (const [key, value] of Object.entries(facts)) {
      const name = key as keyof HostFacts;
      if (value !== undefined && out[name] === undefined) Object.assign(out, { [name]: value });
    }
  }
  if (with_.some((f) => f.firmware === "acpi")) out.firmware = "acpi";
  const tables = with_.flatMap((f) => (f.acpiTables === undefined ? [] : [f.acpiTables]));
  if (tables.length > 0) {
    const present = [...new Set(tables.flatMap((t) => t.present))].sort();
    out.acpiTables = { present, complete: tables.some((t) => t.complete) };
  }
  const units = with_.flatMap((f) => f.iommus ?? []);
  if (units.length > 0) out.iommus = mergeUnits(units);
  const domains = new Map<number, ChildDomain>();
  for (const f of with_) {
    for (const d of f.childDomains ?? []) if (!domains.has(d.segment)) domains.set(d.segment, d);
  }
  if (domains.size > 0) out.childDomains = [...domains.values()];
  if (out.dmar !== undefined) out.dmar = withRegisters(out.dmar, out.iommus ?? []);
  if (out.ivrs !== undefined) out.ivrs = withFeatures(out.ivrs, out.iommus ?? []);
  return out;
}

function refuseTables(parts: readonly CapturePart[], source: InputPlace): void {
  for (const name of TABLES) {
    const [first, ...rest] = parts.filter((p) => p.facts?.[name] !== undefined);
    for (const part of rest) {
      if (first === undefined || text(first.facts?.[name]) === text(part.facts?.[name])) continue;
      const files = `${first.place.file} and ${part.place.file}`;
      const problem = `${files} hold different ${name.toUpperCase()} tables`;
      throw new InputError(problem, source, "one host; choose with --from FILE");
    }
  }
}

const text = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? `0x${v.toString(16)}` : v));

function noteCommandLines(parts: readonly CapturePart[], notes: Note[]): void {
  const [first, ...rest] = parts.filter((p) => p.facts?.commandLine !== undefined);
  const words = (p: CapturePart | undefined): string =>
    p?.facts?.commandLine?.trim().replace(/\s+/g, " ") ?? "";
  for (const part of rest) {
    if (words(part) === words(first)) continue;
    const message = `the command line differs from that of ${first?.place.file}, which is used`;
    notes.push({ severity: "conflict", text: message, place: part.place });
  }
}

/** Units are the same when they share a register base, a name or a function. */
function mergeUnits(units: readonly SeenIommu[]): SeenIommu[] {
  const out: SeenIommu[] = [];
  for (const unit of units) {
    const at = out.findIndex((o) => isSameUnit(o, unit));
    const known = out[at];
    if (known === undefined) out.push(unit);
    else out[at] = { ...defined(unit), ...defined(known) } as SeenIommu;
  }
  // Features that a log prints once for all units belong to each of them.
  const shared = out.find((u) => u.kind === "amd-vi" && isAnonymous(u));
  if (shared === undefined || out.length === 1) return out;
  return out
    .filter((u) => u !== shared)
    .map((u) => (u.kind === "amd-vi" ? ({ ...defined(shared), ...defined(u) } as SeenIommu) : u));
}

const isAnonymous = (u: SeenIommu): boolean => u.at === undefined && u.name === undefined;

function isSameUnit(a: SeenIommu, b: SeenIommu): boolean {
  if (a.registerBase !== undefined && a.registerBase === b.registerBase) return true;
  if (a.name !== undefined && a.name === b.name) return true;
  return a.at !== undefined && a.at === b.at && a.kind === b.kind;
}

function defined(unit: SeenIommu): Partial<SeenIommu> {
  return Object.fromEntries(Object.entries(unit).filter(([, v]) => v !== undefined));
}

function withRegisters(table: DmarTable, seen: readonly SeenIommu[]): DmarTable {
  const units = table.units.map((unit) => {
    const found = seen.find((s) => s.registerBase === unit.registerBase);
    if (found?.cap === undefined || found.ecap === undefined) return unit;
    return { ...unit, cap: found.cap, ecap: found.ecap };
  });
  return { ...table, units };
}

function withFeatures(table: IvrsTable, seen: readonly SeenIommu[]): IvrsTable {
  const amd = seen.filter((s) => s.kind === "amd-vi" && s.efr !== undefined);
  const units = table.units.map((unit) => {
    const found = amd.find((s) => s.at === unit.iommu) ?? amd.find(isAnonymous);
    if (found?.efr === undefined || unit.efr !== undefined) return unit;
    return { ...unit, efr: found.efr, ...(found.efr2 !== undefined && { efr2: found.efr2 }) };
  });
  return { ...table, units };
}
