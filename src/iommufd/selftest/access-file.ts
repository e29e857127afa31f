/**
 * The file of a test access: a descriptor that stands for a driver which reads, writes and pins
 * what a space maps. Closing it gives every pin back. Linux selftest.c, iommufd_test_staccess.
 */
import { type Call, FileKind, type OpenFile } from "../../files/index.js";
import type { Access, Pin } from "../access.js";

/** See the head of the file. */
export class AccessFile implements OpenFile {
  readonly kind = FileKind.access;
  readonly label = "anon_inode:[iommufd_test_staccess]";
  readonly access: Access;
  readonly #letGo: () => void;
  readonly #items = new Map<number, Pin>();
  #nextItem = 0;

  /** @param letGo the context may go: called once. */
  constructor(access: Access, letGo: () => void) {
    this.access = access;
    this.#letGo = letGo;
  }

  /** Pins that are held. */
  get itemCount(): number {
    return this.#items.size;
  }

  /** Keeps a pin. @returns its number; they count up from 0. */
  keep(pin: Pin): number {
    const id = this.#nextItem++;
    this.#items.set(id, pin);
    return id;
  }

  /** Gives a pin back. @returns false when no pin has the number. */
  drop(id: number): boolean {
    const pin = this.#items.get(id);
    if (pin === undefined) return false;
    this.#items.delete(id);
    this.access.unpin(pin);
    return true;
  }

  /** What lies in these addresses is unmapped: pins that touch them are given back. */
  dropRange(iova: bigint, length: bigint): void {
    const last = iova + length - 1n;
    for (const [id, pin] of [...this.#items]) {
      if (pin.iova <= last && pin.iova + pin.length - 1n >= iova) this.drop(id);
    }
  }

  release(): void {
    for (const id of [...this.#items.keys()]) this.drop(id);
    this.access.close();
    this.#letGo();
  }
}

/** The access behind a descriptor of the caller; undefined for anything else. */
export function accessBehind(call: Call, fd: number): AccessFile | undefined {
  const passed = call.fileOf(fd | 0);
  if (passed?.kind !== "own" || passed.file.kind !== FileKind.access) return undefined;
  return passed.file as AccessFile;
}
