/**
 * A file whose pages programs share: page n has one frame, from whichever process and at whatever
 * address it is mapped.
 *
 * The file is mapped here in pieces, and each piece is user memory of the platform. A file that
 * grew gets a further piece. It stays as long as anybody keeps it: an address range of a process,
 * a call, a pin. So pinned shared memory outlives the process that pinned it.
 */
import { UapiError } from "../../abi/index.js";
import type { PageSource } from "../../files/index.js";
import type { BackingObject, PhysicalMemory } from "../../memory/index.js";
import { closeDescriptor, type FileIdentity, identityOf } from "../ffi/descriptors.io.js";
import { guardRange, unguardRange } from "../ffi/guard.io.js";
import { MAPPING_LIMIT, Mapping } from "../ffi/mapping.io.js";

const PAGE = 4096;
const PIECE_PAGES = MAPPING_LIMIT / PAGE;

/** A piece of the file, mapped here. */
class Piece implements BackingObject {
  readonly label: string;
  readonly firstPage: number;
  readonly pages: number;
  /** Undefined where nothing may be written: whoever has words may write them. */
  readonly words: Uint32Array | undefined;
  readonly #isWritable: boolean;
  readonly #mapping: Mapping;
  /** Pins of each page; made with the first. */
  pins: Int32Array | undefined;
  firstFrame = 0;

  constructor(fd: number, label: string, firstPage: number, pages: number, isWritable: boolean) {
    this.label = label;
    this.firstPage = firstPage;
    this.pages = pages;
    this.#mapping = Mapping.ofFile(fd, firstPage * PAGE, pages * PAGE, isWritable);
    guardRange(this.#mapping.address, pages * PAGE);
    this.words = isWritable ? new Uint32Array(this.#mapping.buffer) : undefined;
    this.#isWritable = isWritable;
  }

  get byteLength(): number {
    return this.pages * PAGE;
  }

  read(offset: number, into: Uint8Array): void {
    into.set(this.#mapping.bytes.subarray(offset, offset + into.length));
  }

  /** A device that may only read was given the pages: nothing is written. */
  write(offset: number, from: Uint8Array): void {
    if (!this.#isWritable) return;
    this.#mapping.bytes.set(from, offset);
  }

  close(): void {
    unguardRange(this.#mapping.address);
    this.#mapping.close();
  }
}

export interface SharedFileOptions {
  readonly memory: PhysicalMemory;
  readonly isMemory: boolean;
  readonly isWritable: boolean;
  /** On hugetlbfs. */
  readonly hasLargePages: boolean;
  readonly closed: () => void;
}

export class SharedFile implements PageSource {
  readonly kind = "file";
  readonly key: string;
  readonly label: string;
  readonly #fd: number;
  readonly #options: SharedFileOptions;
  readonly #pieces: Piece[] = [];
  #pages = 0;
  #holders = 1;

  /** Takes the descriptor over; the maker holds it once. */
  constructor(fd: number, identity: FileIdentity, options: SharedFileOptions) {
    this.#fd = fd;
    this.key = identity.key;
    this.label = `file ${identity.inode}`;
    this.#options = options;
  }

  get isMemory(): boolean {
    return this.#options.isMemory;
  }

  get isWritable(): boolean {
    return this.#options.isWritable;
  }

  size(): bigint {
    return identityOf(this.#fd).size;
  }

  keep(count = 1): void {
    this.#holders += count;
  }

  drop(count = 1): void {
    this.#holders -= count;
    if (this.#holders > 0) return;
    for (const piece of this.#pieces) {
      this.#options.memory.removeUserMemory(piece);
      piece.close();
    }
    closeDescriptor(this.#fd);
    this.#options.closed();
  }

  /** @throws UapiError EINVAL beyond the end; nothing stays pinned. */
  pin(page: number, count: number, _writable: boolean, frames: Float64Array): void {
    if (!this.pinInto(page, count, frames, 0)) {
      throw new UapiError("EINVAL", "the file has no page there", {
        cite: "Linux memfd_pin_folios()",
      });
    }
  }

  unpin(page: number, count: number): void {
    for (let at = page; at < page + count; ) {
      const piece = this.#pieceAt(at);
      if (piece === undefined) break;
      const inPiece = at - piece.firstPage;
      const length = Math.min(page + count - at, piece.pages - inPiece);
      countPins(piece, inPiece, length, -1);
      at += length;
    }
    this.drop(count);
  }

  /**
   * Pins pages and puts their frames into `frames` from `index` on.
   * @returns false when the file is too short: nothing is pinned.
   */
  pinInto(page: number, count: number, frames: Float64Array, index: number): boolean {
    if (page + count > this.#pages && !this.#grow(page + count)) return false;
    let place = index;
    for (let at = page; at < page + count; ) {
      const piece = this.#pieceAt(at) as Piece;
      const inPiece = at - piece.firstPage;
      const length = Math.min(page + count - at, piece.pages - inPiece);
      countPins(piece, inPiece, length, 1);
      const frame = piece.firstFrame + inPiece;
      for (let i = 0; i < length; i++) frames[place + i] = frame + i;
      place += length;
      at += length;
    }
    this.keep(count);
    return true;
  }

  /** Pins of a page, by everybody; undefined for large pages. */
  pinsOf(page: number): number | undefined {
    if (this.#options.hasLargePages) return undefined;
    const piece = this.#pieceAt(page);
    return piece?.pins?.[page - piece.firstPage] ?? 0;
  }

  /** The frame of a page, pinned or not. @throws UapiError EFAULT beyond the end. */
  frameOf(page: number): number {
    const piece = this.#forAccess(page);
    return piece.firstFrame + (page - piece.firstPage);
  }

  read(page: number, offset: number, into: Uint8Array): void {
    const piece = this.#forAccess(page);
    piece.read((page - piece.firstPage) * PAGE + offset, into);
  }

  write(page: number, offset: number, from: Uint8Array): void {
    if (!this.isWritable) throw new UapiError("EFAULT", "the file was opened for reading alone");
    const piece = this.#forAccess(page);
    piece.write((page - piece.firstPage) * PAGE + offset, from);
  }

  #forAccess(page: number): Piece {
    if (page >= this.#pages) this.#grow(page + 1);
    const piece = this.#pieceAt(page);
    if (piece === undefined) throw new UapiError("EFAULT", "the file has no page there");
    return piece;
  }

  #pieceAt(page: number): Piece | undefined {
    for (const piece of this.#pieces) {
      if (page < piece.firstPage + piece.pages) return page < piece.firstPage ? undefined : piece;
    }
    return undefined;
  }

  /** Maps what the file has become longer. @returns false when `end` pages are not there. */
  #grow(end: number): boolean {
    const size = this.size();
    const pages = Number((size + 4095n) / 4096n);
    if (pages < end) return false;
    while (this.#pages < pages) {
      const length = Math.min(PIECE_PAGES, pages - this.#pages);
      const piece = new Piece(this.#fd, this.label, this.#pages, length, this.isWritable);
      piece.firstFrame = this.#options.memory.addUserMemory(piece);
      this.#pieces.push(piece);
      this.#pages += length;
    }
    return true;
  }
}

function countPins(piece: Piece, first: number, count: number, by: 1 | -1): void {
  piece.pins ??= new Int32Array(piece.pages);
  const { pins } = piece;
  for (let i = first; i < first + count; i++) pins[i] = (pins[i] as number) + by;
}
