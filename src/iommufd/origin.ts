/**
 * Whose memory areas show, and whom its pinned pages are charged to.
 *
 * Areas with the same source, process, mode and permission share one origin, so that a row names it
 * with a number. Pages are charged only while they are pinned. Linux: account_mode of iopt_pages.
 */
import { UapiError } from "../abi/index.js";
import type { MemoryHolder } from "./api.js";
import type { LockedMemory, PageSource, UserProcess } from "./ports.js";

/** `none`: not charged; `user`: to the user of the process; `mm`: to the process. */
export type AccountingMode = "none" | "user" | "mm";

export interface OriginKey {
  readonly source: PageSource;
  readonly caller: UserProcess;
  readonly mode: AccountingMode;
  readonly writable: boolean;
  /** Keeps the source from the first area to the last; whatever the first key brings. */
  readonly holder?: MemoryHolder | undefined;
}

const CITE = "Linux iopt_pages: account_mode, RLIMIT_MEMLOCK";

export class Origin {
  readonly id: number;
  readonly source: PageSource;
  readonly writable: boolean;
  readonly mode: AccountingMode;
  caller: UserProcess;
  readonly #holder: MemoryHolder | undefined;
  /** Areas and shared pages that name it. */
  refs = 0;
  /** Pages pinned now, once per pages object. */
  pinned = 0;

  constructor(id: number, key: OriginKey) {
    this.id = id;
    this.source = key.source;
    this.caller = key.caller;
    this.mode = key.mode;
    this.writable = key.writable;
    this.#holder = key.holder;
    this.#holder?.keep();
  }

  /** Nothing names it any more. */
  free(): void {
    this.#holder?.drop();
  }

  /** @throws UapiError EFAULT …, ENOMEM above the limit: then nothing stays pinned. */
  pin(page: number, count: number, frames: Float64Array): void {
    this.source.pin(page, count, this.writable, frames);
    if (!this.charge(this.caller, count)) {
      this.source.unpin(page, count);
      throw new UapiError("ENOMEM", "locked memory would exceed the limit of the process", {
        evidence: [{ kind: "memory-limit", process: this.caller.label, pages: count }],
        cite: CITE,
      });
    }
    this.caller.countPinned(count);
    this.pinned += count;
  }

  unpin(page: number, count: number): void {
    this.source.unpin(page, count);
    this.locked(this.caller)?.uncharge(count);
    this.caller.countPinned(-count);
    this.pinned -= count;
  }

  charge(caller: UserProcess, count: number): boolean {
    return this.locked(caller)?.charge(count) ?? true;
  }

  locked(caller: UserProcess): LockedMemory | undefined {
    if (this.mode === "none") return undefined;
    return this.mode === "user" ? caller.userLocked : caller.processLocked;
  }
}

/** The origins of one context. */
export class OriginTable {
  readonly #origins: (Origin | undefined)[] = [];
  readonly #bySource = new Map<PageSource, Origin[]>();
  readonly #free: number[] = [];
  /** Taken last: most maps are of the same memory. */
  #last: Origin | undefined;

  get(id: number): Origin {
    const found = this.#origins[id];
    if (found === undefined) throw new RangeError(`origin ${id} is gone`);
    return found;
  }

  /** The origin with that key, with one reference more. */
  take(key: OriginKey): Origin {
    const last = this.#last;
    if (last !== undefined && hasKey(last, key)) {
      last.refs++;
      return last;
    }
    const list = this.#bySource.get(key.source);
    const found = list?.find((o) => hasKey(o, key));
    if (found !== undefined) {
      found.refs++;
      this.#last = found;
      return found;
    }
    const id = this.#free.pop() ?? this.#origins.length;
    const made = new Origin(id, key);
    made.refs = 1;
    this.#origins[id] = made;
    if (list === undefined) this.#bySource.set(key.source, [made]);
    else list.push(made);
    return made;
  }

  put(origin: Origin): void {
    if (--origin.refs > 0) return;
    if (this.#last === origin) this.#last = undefined;
    this.#origins[origin.id] = undefined;
    origin.free();
    this.#free.push(origin.id);
    const list = this.#bySource.get(origin.source) ?? [];
    list.splice(list.indexOf(origin), 1);
    if (list.length === 0) this.#bySource.delete(origin.source);
  }

  *all(): IterableIterator<Origin> {
    for (const origin of this.#origins) if (origin !== undefined) yield origin;
  }

  /** Origins of one source. */
  of(source: PageSource): readonly Origin[] {
    return this.#bySource.get(source) ?? [];
  }
}

function hasKey(origin: Origin, key: OriginKey): boolean {
  return (
    origin.source === key.source &&
    origin.caller === key.caller &&
    origin.mode === key.mode &&
    origin.writable === key.writable
  );
}
