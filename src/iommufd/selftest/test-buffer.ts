/** The dma-buf of the test command: memory of its own that importers map and may lose. */
import { UapiError } from "../../abi/index.js";
import { type DmaBuf, FileKind, type PageSource } from "../../files/index.js";
import { PAGE_SIZE } from "../limits.js";

/** See the head of the file. */
export class TestBuffer implements DmaBuf {
  readonly kind = FileKind.dmaBuf;
  readonly label = "/dmabuf:";
  readonly exporter = "iommufd-selftest";
  readonly size: bigint;
  readonly pages: PageSource;
  readonly #listeners = new Set<() => void>();
  #isRevoked = false;

  /** @param firstFrame of frames that follow each other. */
  constructor(pageCount: number, firstFrame: number) {
    this.size = BigInt(pageCount * PAGE_SIZE);
    this.pages = {
      label: "test buffer",
      kind: "device",
      pin: (page, count, _writable, frames) => {
        if (this.#isRevoked) throw new UapiError("ENODEV", "the buffer was revoked");
        if (page + count > pageCount) throw new UapiError("EINVAL", "the buffer ends before");
        for (let i = 0; i < count; i++) frames[i] = firstFrame + page + i;
      },
      unpin: () => {},
      read: unreachable,
      write: unreachable,
    };
  }

  get isRevoked(): boolean {
    return this.#isRevoked;
  }

  /** Takes the memory away, or gives it back; mappings of it are gone either way. */
  setRevoked(revoked: boolean): void {
    this.#isRevoked = revoked;
    for (const listener of [...this.#listeners]) listener();
  }

  onRevoke(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  release(): void {}
}

function unreachable(): never {
  throw new UapiError("EFAULT", "the processor cannot reach the buffer");
}
