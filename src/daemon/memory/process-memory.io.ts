/**
 * The address space of a program: shared mappings that its side told of, and everything else.
 *
 * Pages of shared mappings belong to files and have the frames that the file's pages have. Pages of
 * device memory are not memory that can be pinned. All other pages are private to the process.
 * The program's side tells of each shared mapping before the program can use it, so for those
 * nothing is asked of the kernel.
 */
import { UapiError } from "../../abi/index.js";
import type { DevicePlace, PageSource } from "../../files/index.js";
import type { PhysicalMemory } from "../../memory/index.js";
import { AddressRanges, type Run } from "./address-ranges.js";
import { DeviceRegion } from "./device-region.js";
import { type LostAccesses, PrivateMemory } from "./private-memory.io.js";
import { ProcessMaps } from "./process-maps.io.js";
import type { SharedFile } from "./shared-file.io.js";

type Target = SharedFile | DeviceRegion;

/** Whose call is served: that one is there. */
let calling: ProcessMemory | undefined;

export class ProcessMemory implements PageSource {
  readonly kind = "process";
  readonly label: string;
  readonly maps: ProcessMaps;
  readonly #pid: number;
  readonly #private: PrivateMemory;
  readonly #ranges = new AddressRanges<Target>(
    (target) => target.keep(),
    (target) => target.drop(),
  );

  constructor(pid: number, memory: PhysicalMemory, lost: LostAccesses) {
    this.#pid = pid;
    this.label = `process ${pid}`;
    this.maps = new ProcessMaps(pid);
    this.#private = new PrivateMemory(pid, memory, this.maps, lost);
  }

  /** The process calls: what is known of its private mappings may have changed. */
  beginCall(): void {
    calling = this;
    this.maps.forget();
  }

  /** A shared mapping began. */
  mapped(first: number, count: number, target: Target, targetPage: number): void {
    this.#ranges.add(first, first + count, target, targetPage);
  }

  /** Mappings of these pages are gone. */
  unmapped(first: number, count: number): void {
    this.#ranges.remove(first, first + count);
  }

  pin(page: number, count: number, writable: boolean, frames: Float64Array): void {
    // The end of another process may not have been noticed yet.
    if (calling !== this && !isRunning(this.#pid)) this.end();
    let done = 0;
    try {
      while (done < count) {
        const at = page + done;
        const run = this.#ranges.at(at);
        const end = run?.end ?? this.#ranges.nextAbove(at);
        const length = Math.min(count - done, end - at);
        if (run === undefined) this.#private.pin(at, length, writable, frames, done);
        else pinRun(run, at, length, writable, frames, done);
        done += length;
      }
    } catch (error) {
      if (done > 0) this.unpin(page, done);
      throw error;
    }
  }

  unpin(page: number, count: number): void {
    for (let at = page; at < page + count; ) {
      const run = this.#ranges.pinnedAt(at);
      const end = run?.end ?? this.#ranges.nextAbove(at);
      const length = Math.min(page + count, end) - at;
      if (run === undefined) this.#private.unpin(at, length);
      else this.#unpinRun(run, at, length);
      at += length;
    }
  }

  read(page: number, offset: number, into: Uint8Array): void {
    const run = this.#accessible(page);
    if (run === undefined) this.#private.read(page, offset, into);
    else fileOf(run).read(run.targetPage + (page - run.first), offset, into);
  }

  write(page: number, offset: number, from: Uint8Array): void {
    const run = this.#accessible(page);
    if (run === undefined) this.#private.write(page, offset, from);
    else fileOf(run).write(run.targetPage + (page - run.first), offset, from);
  }

  deviceAt(page: number): DevicePlace | undefined {
    const run = this.#ranges.at(page);
    if (run === undefined || !(run.target instanceof DeviceRegion)) return undefined;
    const { source, firstPage } = run.target;
    if (source === undefined) return undefined;
    const shown = run.targetPage + (page - run.first) - firstPage;
    return { source, page: shown, count: run.end - page };
  }

  /** The frame behind a page now, pinned or not. @throws UapiError EFAULT. */
  frameOf(page: number): number {
    const run = this.#ranges.at(page);
    if (run === undefined) return this.#private.frameOf(page);
    return fileOf(run).frameOf(run.targetPage + (page - run.first));
  }

  /** Pins of the page behind this one, by everybody. */
  pinsOf(page: number): number | undefined {
    const run = this.#ranges.at(page);
    if (run === undefined) return this.#private.pinsOf(page);
    return fileOf(run).pinsOf(run.targetPage + (page - run.first));
  }

  /** The process has ended or has another address space now. */
  end(): void {
    this.#ranges.clear();
    this.#private.end();
  }

  /** Shared pages that are pinned can be reached when their mapping, or the process, is gone. */
  #accessible(page: number): Run<Target> | undefined {
    return this.#ranges.at(page) ?? this.#ranges.pinnedAt(page);
  }

  #unpinRun(run: Run<Target>, page: number, count: number): void {
    fileOf(run).unpin(run.targetPage + (page - run.first), count);
    this.#ranges.unpinned(run, count);
  }
}

function pinRun(
  run: Run<Target>,
  page: number,
  count: number,
  writable: boolean,
  frames: Float64Array,
  index: number,
): void {
  const file = fileOf(run);
  if (writable && !file.isWritable) {
    throw new UapiError("EFAULT", "the mapping does not permit this access", {
      cite: "Linux check_vma_flags()",
    });
  }
  if (writable && !file.isMemory) {
    throw new UapiError("EFAULT", "pages of a file on disk cannot be pinned for writing", {
      cite: "Linux writable_file_mapping_allowed()",
    });
  }
  if (!file.pinInto(run.targetPage + (page - run.first), count, frames, index)) throw beyondEnd();
  run.pinned += count;
}

function fileOf(run: Run<Target>): SharedFile {
  if (!(run.target instanceof DeviceRegion)) return run.target;
  throw new UapiError("EFAULT", "the address shows memory of a device, which cannot be pinned", {
    cite: "Linux check_vma_flags()",
  });
}

function beyondEnd(): UapiError {
  return new UapiError("EFAULT", "the mapping reaches beyond the end of its file");
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
