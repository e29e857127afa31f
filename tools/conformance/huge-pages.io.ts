/** The machine's pool of 2 MiB pages, enlarged for a run where that is allowed. */
import { readFileSync, writeFileSync } from "node:fs";

const POOL = "/proc/sys/vm/nr_hugepages";

/** Enough for the largest test, 128 MiB, and something beside it. */
const WANTED = 80;

export interface HugePagePool {
  readonly pages: number;
  /** As it was. */
  readonly restore: () => void;
}

export function enlargePool(): HugePagePool {
  const before = size();
  if (before >= WANTED) return { pages: before, restore: () => {} };
  if (!resize(WANTED)) return { pages: before, restore: () => {} };
  const pages = size();
  return { pages, restore: () => void resize(before) };
}

function size(): number {
  try {
    return Number(readFileSync(POOL, "utf8"));
  } catch {
    return 0;
  }
}

function resize(pages: number): boolean {
  try {
    writeFileSync(POOL, `${pages}`);
    return true;
  } catch {
    return false;
  }
}
