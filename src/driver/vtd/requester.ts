/**
 * Requester: the rows of one requester ID in the tables of one unit.
 *
 * In scalable mode a requester has a context entry and a PASID directory of its own for good; its
 * domains stand in PASID entries, that of requests without PASID at PASID 0 (the context entry's
 * RID_PASID). In legacy mode the context entry itself holds the one domain.
 *
 * Order of writes. A row of several 8-byte words never holds a mixture: `clear` makes it not
 * present and has every cache forget it before `fill` writes the new words, the one with the
 * present bit last. So a request meets the old row, none, or the new one.
 */
import { UapiError } from "../../abi/index.js";
import {
  buildWords,
  VTD_PASID_DIRECTORY_ENTRY,
  VTD_ROOT_ENTRY,
  VTD_SCALABLE_CONTEXT_ENTRY,
  VTD_SCALABLE_ROOT_ENTRY,
  vtdContextEntryOffset,
  vtdPasidDirectoryOffset,
  vtdPasidEntryOffset,
  vtdRootEntryOffset,
  vtdScalableContextEntryOffset,
} from "../../formats/index.js";
import type { FrameOwner } from "../../memory/index.js";
import type { TableFrames } from "../table-frames.js";

/** PASIDs whose directory entries fill one frame. */
const PASIDS_PER_DIRECTORY_FRAME = 2 ** 15;
const PASIDS_PER_TABLE = 64;
const FRAME_WORDS = 1024;

/** The root table and the context tables of a unit. */
export class DeviceTable {
  readonly root: number;
  readonly scalable: boolean;
  readonly #frames: TableFrames;
  readonly #owner: FrameOwner;
  /** By `rid >>> 8` in legacy mode, `rid >>> 7` in scalable mode. */
  readonly #contexts = new Map<number, number>();

  /** @throws UapiError ENOMEM. */
  constructor(frames: TableFrames, owner: FrameOwner, scalable: boolean) {
    this.#frames = frames;
    this.#owner = owner;
    this.scalable = scalable;
    this.root = frames.allocate(owner);
  }

  /** Where the context entry of a requester is; its table is made. @throws UapiError ENOMEM. */
  contextPlace(rid: number): { readonly pfn: number; readonly offset: number } {
    const key = this.scalable ? rid >>> 7 : rid >>> 8;
    const pfn = this.#contexts.get(key) ?? this.#addContextTable(rid, key);
    const offset = this.scalable ? vtdScalableContextEntryOffset(rid) : vtdContextEntryOffset(rid);
    return { pfn, offset };
  }

  #addContextTable(rid: number, key: number): number {
    const pfn = this.#frames.allocate(this.#owner);
    this.#contexts.set(key, pfn);
    const at = vtdRootEntryOffset(rid);
    if (!this.scalable) {
      const words = buildWords(VTD_ROOT_ENTRY, 4, { present: true, contextTable: pfn });
      writeRow(this.#frames, this.root, at, words);
    } else if ((key & 1) === 0) {
      const entry = { lowerPresent: true, lowerContextTable: pfn };
      const words = buildWords(VTD_SCALABLE_ROOT_ENTRY, 4, entry);
      writeRow(this.#frames, this.root, at, words.subarray(0, 2));
    } else {
      const entry = { upperPresent: true, upperContextTable: pfn };
      const words = buildWords(VTD_SCALABLE_ROOT_ENTRY, 4, entry);
      writeRow(this.#frames, this.root, at + 8, words.subarray(2, 4));
    }
    return pfn;
  }
}

/** Switches in the context entry, besides what it leads to. */
export interface RequesterSwitches {
  readonly deviceTlb: boolean;
  readonly pasid: boolean;
  readonly pageRequests: boolean;
}

const OFF: RequesterSwitches = { deviceTlb: false, pasid: false, pageRequests: false };

export class Requester {
  readonly rid: number;
  readonly #frames: TableFrames;
  readonly #owner: FrameOwner;
  readonly #context: { readonly pfn: number; readonly offset: number };
  readonly #scalable: boolean;
  /** First frame of the PASID directory; 0 in legacy mode. */
  #directory = 0;
  #directoryFrames = 0;
  #mostFrames = 1;
  /** PASID tables by index, and how many attaches hold each. */
  readonly #tables = new Map<number, { readonly pfn: number; holds: number }>();
  switches: RequesterSwitches = OFF;

  /**
   * Makes the rows, all of them not present but, in scalable mode, the context entry.
   * @param pasidBits PASIDs below 2^this can be given rows.
   * @throws UapiError ENOMEM; nothing is left behind but, perhaps, an empty context table.
   */
  constructor(
    table: DeviceTable,
    rid: number,
    frames: TableFrames,
    owner: FrameOwner,
    pasidBits: number,
  ) {
    this.rid = rid;
    this.#frames = frames;
    this.#owner = owner;
    this.#scalable = table.scalable;
    this.#context = table.contextPlace(rid);
    this.widen(pasidBits);
    if (!table.scalable) return;
    // Enough for most; it grows when a larger PASID needs a row.
    this.#directoryFrames = 1;
    this.#directory = frames.allocateRun(this.#directoryFrames, owner);
    try {
      this.reserve(0);
    } catch (error) {
      for (let i = 0; i < this.#directoryFrames; i++) frames.free(this.#directory + i);
      throw error;
    }
    this.writeContext();
  }

  /** Another device that uses the rows has PASIDs below 2^`pasidBits`. */
  widen(pasidBits: number): void {
    this.#mostFrames = Math.max(this.#mostFrames, 2 ** pasidBits / PASIDS_PER_DIRECTORY_FRAME);
  }

  /** Makes room for the row of a PASID. @throws UapiError ENOMEM; EINVAL it does not fit. */
  reserve(pasid: number): void {
    if (!this.#scalable) return;
    const index = Math.floor(pasid / PASIDS_PER_TABLE);
    const table = this.#tables.get(index);
    if (table !== undefined) {
      table.holds++;
      return;
    }
    if (!this.covers(pasid)) {
      throw new UapiError("EINVAL", "the PASID is larger than the device's PASID directory");
    }
    const pfn = this.#frames.allocate(this.#owner);
    this.#tables.set(index, { pfn, holds: 1 });
    const words = buildWords(VTD_PASID_DIRECTORY_ENTRY, 2, { present: true, pasidTable: pfn });
    this.#writeDirectory(pasid, words);
  }

  /** The PASID directory reaches to this PASID. */
  covers(pasid: number): boolean {
    return !this.#scalable || pasid < this.#directoryFrames * PASIDS_PER_DIRECTORY_FRAME;
  }

  /**
   * Moves to a directory that reaches to the PASID; the context entry still leads to the old one.
   * @returns what frees the old one, once no cache knows it.
   * @throws UapiError ENOMEM; EINVAL the PASID is larger than the unit or the device allow.
   */
  grow(pasid: number): () => void {
    let count = this.#directoryFrames;
    while (pasid >= count * PASIDS_PER_DIRECTORY_FRAME) count *= 2;
    if (count > this.#mostFrames) {
      throw new UapiError("EINVAL", "the PASID is larger than unit or device allow");
    }
    const first = this.#frames.allocateRun(count, this.#owner);
    const { memory } = this.#frames;
    const old = this.#directory;
    const oldCount = this.#directoryFrames;
    for (let i = 0; i < oldCount; i++) {
      const from = memory.frameWord(old + i);
      memory.words.copyWithin(memory.frameWord(first + i), from, from + FRAME_WORDS);
    }
    this.#directory = first;
    this.#directoryFrames = count;
    return () => {
      for (let i = 0; i < oldCount; i++) this.#frames.free(old + i);
    };
  }

  /** Undoes one {@link reserve}; the row is not present and no cache knows it. */
  release(pasid: number): void {
    const index = Math.floor(pasid / PASIDS_PER_TABLE);
    const table = this.#tables.get(index);
    if (table === undefined || --table.holds > 0) return;
    this.#tables.delete(index);
    this.#writeDirectory(pasid, ZERO);
    this.#frames.free(table.pfn);
  }

  /** Makes the context entry not present. */
  retire(): void {
    writeRow(this.#frames, this.#context.pfn, this.#context.offset, ZERO);
  }

  /** Gives the frames back, after {@link retire} and once no cache knows them. */
  free(): void {
    for (const { pfn } of this.#tables.values()) this.#frames.free(pfn);
    this.#tables.clear();
    for (let i = 0; i < this.#directoryFrames; i++) this.#frames.free(this.#directory + i);
  }

  #writeDirectory(pasid: number, words: Uint32Array): void {
    const at = vtdPasidDirectoryOffset(pasid);
    writeRow(this.#frames, this.#directory + (at >>> 12), at & 0xfff, words);
  }

  /** Writes the context entry of scalable mode with the present switches. */
  writeContext(): void {
    const { deviceTlb, pasid, pageRequests } = this.switches;
    const words = buildWords(VTD_SCALABLE_CONTEXT_ENTRY, 8, {
      present: true,
      deviceTlbEnable: deviceTlb,
      pasidEnable: pasid,
      pageRequestEnable: pageRequests,
      pasidDirectorySize: Math.log2(this.#directoryFrames) + 2,
      pasidDirectory: this.#directory,
      ridPasid: 0,
    });
    writeRow(this.#frames, this.#context.pfn, this.#context.offset, words);
  }

  /** Makes the row of a PASID (0 without one) not present. */
  clear(pasid: number): void {
    const { pfn, offset } = this.#place(pasid);
    writeRow(this.#frames, pfn, offset, ZERO);
  }

  /** @param words 16 words of a PASID entry, or 4 of a context entry in legacy mode. */
  fill(pasid: number, words: Uint32Array): void {
    const { pfn, offset } = this.#place(pasid);
    writeRow(this.#frames, pfn, offset, words);
  }

  /** Replaces the first 8 bytes of a present row: one write that hardware sees as a whole. */
  refill(pasid: number, words: Uint32Array): void {
    const { pfn, offset } = this.#place(pasid);
    writeRow(this.#frames, pfn, offset, words.subarray(0, 2));
  }

  #place(pasid: number): { readonly pfn: number; readonly offset: number } {
    if (!this.#scalable) return this.#context;
    const table = this.#tables.get(Math.floor(pasid / PASIDS_PER_TABLE));
    if (table === undefined) throw new Error(`no row for PASID ${pasid}`);
    return { pfn: table.pfn, offset: vtdPasidEntryOffset(pasid) };
  }
}

const ZERO = new Uint32Array(2);

/** Writes 8 bytes at a time, the first 8, which hold the present bit, last. */
function writeRow(frames: TableFrames, pfn: number, offset: number, words: Uint32Array): void {
  const { memory } = frames;
  const base = memory.frameWord(pfn);
  if (base < 0) return;
  const at = base + (offset >>> 2);
  for (let i = words.length - 2; i >= 0; i -= 2) {
    memory.words[at + i + 1] = words[i + 1] as number;
    memory.words[at + i] = words[i] as number;
  }
}
