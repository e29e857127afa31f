/** Several descriptions of one function to one. */
import { ConfigSpace } from "../pcie/index.js";
import type { CapturedFunction } from "./capture.js";

const IDS_RANK = ["numeric", "hex", "name", "ambiguous-name", "none"] as const;

/** The list is not empty and ordered best source first. */
export function mergeFunction(list: readonly CapturedFunction[]): CapturedFunction {
  const [first, ...rest] = list;
  if (first === undefined) throw new Error("nothing to merge");
  if (rest.length === 0) return first;
  const richest = list.reduce((best, f) => (isRicher(f.config, best.config) ? f : best));
  const named = [...list].sort((a, b) => IDS_RANK.indexOf(a.idsFrom) - IDS_RANK.indexOf(b.idsFrom));
  const idsFrom = named[0]?.idsFrom ?? "none";
  const merged: Filling = {};
  for (const f of list) fill(merged, f);
  const ids: Record<string, number> = {};
  for (const f of named) fill(ids, f.ids ?? {});
  if (idsFrom !== "ambiguous-name") delete merged.candidates;
  delete merged.decided;
  const shown: Record<string, string> = {};
  for (const f of list) fill(shown, f.shown ?? {});
  return {
    ...(merged as unknown as CapturedFunction),
    config: overlay(list.map((f) => f.config)),
    place: richest.place,
    idsFrom,
    ...(Object.keys(ids).length > 0 && { ids }),
    ...(Object.keys(shown).length > 0 && { shown }),
  };
}

type Filling = { candidates?: unknown; decided?: unknown };

/** Sets what is not set yet. */
function fill(target: object, source: object): void {
  const into = target as Record<string, unknown>;
  for (const [key, value] of Object.entries(source)) {
    if (value !== undefined && into[key] === undefined) into[key] = value;
  }
}

function isRicher(a: ConfigSpace, b: ConfigSpace): boolean {
  return a.extent !== b.extent ? a.extent > b.extent : isWhole(a) && !isWhole(b);
}

/** Every byte of the extent is known: bytes, not decoded text. */
function isWhole(config: ConfigSpace): boolean {
  return config.extent > 0 && config.isKnown(0, config.extent);
}

/** Bytes, not decoded text, which never gives the whole header. They may end before the extent. */
function isDump(config: ConfigSpace): boolean {
  return config.extent > 0 && config.isKnown(0, 64);
}

/**
 * Bytes win over text; among equals the larger extent wins; unknown bytes are filled from the
 * others.
 */
export function overlay(spaces: readonly ConfigSpace[]): ConfigSpace {
  const useful = spaces.filter((s) => s.bytes.length > 0 || s.extent > 0);
  const [only] = useful;
  if (only === undefined) return spaces[0] ?? new ConfigSpace(new Uint8Array(0), 0);
  if (useful.length === 1) return only;
  const ordered = [...useful].sort(
    (a, b) => Number(isDump(b)) - Number(isDump(a)) || b.extent - a.extent,
  );
  const extent = useful.reduce((top, s) => (s.extent > top ? s.extent : top), only.extent);
  const best = ordered[0];
  if (best !== undefined && best.extent === extent && isWhole(best)) return best;
  const bytes = new Uint8Array(4096);
  const known = new Uint8Array(512);
  for (const space of ordered) copyKnown(space, bytes, known);
  let used = 4096;
  while (used > 0 && bytes[used - 1] === 0) used--;
  return new ConfigSpace(bytes.slice(0, used), extent, known);
}

function copyKnown(space: ConfigSpace, bytes: Uint8Array, known: Uint8Array): void {
  const end = Math.max(space.extent, space.bytes.length);
  for (let at = 0; at < end; at++) {
    const bit = 1 << (at & 7);
    const mask = known[at >>> 3] ?? 0;
    if ((mask & bit) !== 0 || !space.isKnown(at, 1)) continue;
    known[at >>> 3] = mask | bit;
    bytes[at] = space.u8(at);
  }
}
