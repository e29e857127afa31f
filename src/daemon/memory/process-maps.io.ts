/** What a process has mapped, as /proc says; read at most once per call. */
import { readFileSync } from "node:fs";
import { UapiError } from "../../abi/index.js";

const PAGE = 4096;

interface MappedRun {
  readonly first: number;
  /** Exclusive. */
  readonly end: number;
  readonly isReadable: boolean;
  readonly isWritable: boolean;
}

/** Kernel pages that cannot be pinned. */
const UNPINNABLE = /\[(vvar|vvar_vclock|vsyscall)\]$/;
const LINE = /^([0-9a-f]+)-([0-9a-f]+) (....)/;

/** Runs of pages in the text of /proc/PID/maps, by address. */
export function readMaps(text: string): MappedRun[] {
  const runs: MappedRun[] = [];
  for (const line of text.split("\n")) {
    const [, first, end, rights] = LINE.exec(line) ?? [];
    if (first === undefined || end === undefined || rights === undefined) continue;
    const isPinnable = !UNPINNABLE.test(line);
    runs.push({
      first: Number.parseInt(first, 16) / PAGE,
      end: Number.parseInt(end, 16) / PAGE,
      isReadable: isPinnable && rights[0] === "r",
      isWritable: isPinnable && rights[1] === "w",
    });
  }
  return runs;
}

export class ProcessMaps {
  readonly #pid: number;
  #runs: MappedRun[] | undefined;

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** The process may have changed its mappings. */
  forget(): void {
    this.#runs = undefined;
  }

  /** @throws UapiError EFAULT when a page is not mapped, or not with these rights. */
  check(page: number, count: number, writable: boolean): void {
    this.#runs ??= this.#read();
    let at = page;
    for (const run of this.#runs) {
      if (run.end <= at) continue;
      if (run.first > at) break;
      if (!run.isReadable || (writable && !run.isWritable)) {
        throw new UapiError("EFAULT", "the mapping does not permit this access", {
          cite: "Linux check_vma_flags()",
        });
      }
      at = run.end;
      if (at >= page + count) return;
    }
    throw new UapiError("EFAULT", "nothing is mapped at this address of the process", {
      cite: "Linux __get_user_pages()",
    });
  }

  #read(): MappedRun[] {
    try {
      return readMaps(readFileSync(`/proc/${this.#pid}/maps`, "latin1"));
    } catch {
      return [];
    }
  }
}
