/**
 * An open attribute of sysfs.
 *
 * A text attribute is worked out when it is read from its beginning, and served from that text
 * until it is read from the beginning again. Each write is taken whole, wherever the file position
 * is. A binary attribute is read and written at offsets. Linux fs/kernfs/file.c, fs/sysfs/file.c.
 */
import { UapiError } from "../abi/index.js";
import {
  type Call,
  FileKind,
  type MappedRegion,
  type MmapRequest,
  type OpenFile,
  Poll,
} from "../files/index.js";
import { decodeText, encodeText } from "./bytes.js";
import type { AttributeNode } from "./tree-node.js";

/** What one write may hold: a page with its zero. */
const PAGE = 4096;
const CITE_READ = { cite: "Linux sysfs_kf_seq_show()" };
const CITE_WRITE = { cite: "Linux kernfs_fop_write_iter()" };

/** See the head of the file. */
export class AttributeFile implements OpenFile {
  readonly kind = FileKind.attribute;
  readonly label: string;
  readonly #node: AttributeNode;
  readonly #released: () => void;
  #position = 0;
  #shown: Uint8Array | undefined;

  /** @param path for messages. */
  constructor(path: string, node: AttributeNode, released: () => void = () => {}) {
    this.label = path;
    this.#node = node;
    this.#released = released;
  }

  read(call: Call, length: number, offset: bigint | undefined): Uint8Array {
    const at = offset === undefined ? this.#position : Number(offset);
    const bytes = this.#readAt(call, at, length);
    if (offset === undefined) this.#position = at + bytes.length;
    return bytes;
  }

  write(call: Call, bytes: Uint8Array, offset: bigint | undefined): number {
    const { text, binary } = this.#node;
    const at = offset === undefined ? this.#position : Number(offset);
    let taken: number;
    if (binary !== undefined) taken = this.#writeBinary(call, at, bytes);
    else {
      const store = text?.store;
      if (store === undefined) {
        throw new UapiError("EIO", "the attribute takes no writes", CITE_WRITE);
      }
      // The kernel takes a page less its zero; what is beyond is another write.
      taken = Math.min(bytes.length, PAGE - 1);
      if (taken > 0) store(decodeText(bytes.subarray(0, taken)).replace(/\n$/, ""), call);
    }
    if (offset === undefined) this.#position = at + taken;
    return taken;
  }

  mmap(call: Call, request: MmapRequest): MappedRegion {
    const mmap = this.#node.binary?.mmap;
    if (mmap === undefined) {
      throw new UapiError("ENODEV", "the attribute cannot be mapped", {
        cite: "Linux kernfs_fop_mmap()",
      });
    }
    return mmap(request, call);
  }

  /** An attribute that nobody notifies of is always ready. */
  poll(): number {
    return Poll.in | Poll.out;
  }

  release(): void {
    this.#released();
  }

  #readAt(call: Call, at: number, length: number): Uint8Array {
    const { text, binary } = this.#node;
    if (binary !== undefined) {
      if (binary.read === undefined) {
        throw new UapiError("EIO", "the attribute cannot be read", CITE_READ);
      }
      return binary.read(at, length, call);
    }
    const show = text?.show;
    if (show === undefined) throw new UapiError("EIO", "the attribute cannot be read", CITE_READ);
    if (at === 0 || this.#shown === undefined) this.#shown = encodeText(show());
    return this.#shown.slice(at, at + length);
  }

  #writeBinary(call: Call, at: number, bytes: Uint8Array): number {
    const { binary, size } = this.#node;
    if (binary?.write === undefined) {
      throw new UapiError("EIO", "the attribute takes no writes", CITE_WRITE);
    }
    if (size > 0 && at >= size)
      throw new UapiError("EFBIG", "the write is beyond the end", CITE_WRITE);
    const room = size > 0 ? Math.min(bytes.length, size - at) : bytes.length;
    return binary.write(at, bytes.subarray(0, room), call);
  }
}
