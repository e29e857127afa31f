/** All files whose pages programs share, by device and inode. */
import type { HostFile } from "../../files/index.js";
import type { PhysicalMemory } from "../../memory/index.js";
import {
  closeDescriptor,
  type FileIdentity,
  hasLargePages,
  isMemoryFile,
  isWritable,
} from "../ffi/descriptors.io.js";
import { SharedFile } from "./shared-file.io.js";

export class SharedFiles {
  readonly #memory: PhysicalMemory;
  readonly #byKey = new Map<string, SharedFile>();

  constructor(memory: PhysicalMemory) {
    this.#memory = memory;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** The file of a descriptor, which is taken over; held once for the caller. */
  take(fd: number, identity: FileIdentity): SharedFile {
    const isForWriting = isWritable(fd);
    const known = this.#byKey.get(identity.key);
    // One that was opened for reading alone cannot serve who may write.
    if (known !== undefined && (known.isWritable || !isForWriting)) {
      closeDescriptor(fd);
      known.keep();
      return known;
    }
    const file = new SharedFile(fd, identity, {
      memory: this.#memory,
      isMemory: isMemoryFile(fd),
      isWritable: isForWriting,
      hasLargePages: hasLargePages(fd),
      closed: () => {
        if (this.#byKey.get(identity.key) === file) this.#byKey.delete(identity.key);
      },
    });
    this.#byKey.set(identity.key, file);
    return file;
  }

  /** The same as a file passed in a call. */
  open(fd: number, identity: FileIdentity): HostFile {
    return new PassedHostFile(this.take(fd, identity));
  }
}

class PassedHostFile implements HostFile {
  readonly kind = "file";
  readonly pages: SharedFile;

  constructor(pages: SharedFile) {
    this.pages = pages;
  }

  get isMemory(): boolean {
    return this.pages.isMemory;
  }

  size(): bigint {
    return this.pages.size();
  }

  keep(): HostFile {
    this.pages.keep();
    return this;
  }

  drop(): void {
    this.pages.drop();
  }
}
