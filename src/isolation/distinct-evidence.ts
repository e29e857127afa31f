import type { Evidence } from "./evidence.js";

/** Drops repeats, keeping the first: the same fact reached by several joins is said once. */
export function distinctEvidence(list: readonly Evidence[]): Evidence[] {
  const seen = new Set<string>();
  return list.filter((evidence) => {
    const key = JSON.stringify(evidence, (_, v: unknown) => (typeof v === "bigint" ? `${v}n` : v));
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}
