/** Memory of devices that programs may map: one memory file each. */
import { UapiError } from "../../abi/index.js";
import type { SharedMemory, SharedMemoryMaker } from "../../files/index.js";
import { closeDescriptor, identityOf } from "../ffi/descriptors.io.js";
import { SystemError } from "../ffi/libc.io.js";
import { Mapping, makeMemoryFile } from "../ffi/mapping.io.js";
import type { DeviceRegion } from "./device-region.js";

export class DeviceMemory implements SharedMemory {
  readonly label: string;
  readonly byteLength: number;
  readonly fd: number;
  readonly key: string;
  /** Regions that were given to programs; the last first. */
  readonly regions: DeviceRegion[] = [];
  readonly #mapping: Mapping;
  readonly #closed: (memory: DeviceMemory) => void;

  constructor(label: string, byteLength: number, closed: (memory: DeviceMemory) => void) {
    this.label = label;
    this.byteLength = byteLength;
    this.fd = makeMemoryFile(`ioasis:${label}`.slice(0, 200), byteLength);
    this.key = identityOf(this.fd).key;
    this.#mapping = Mapping.ofFile(this.fd, 0, byteLength);
    this.#closed = closed;
  }

  get bytes(): Uint8Array {
    return this.#mapping.bytes;
  }

  /** The region that shows a page of the file. */
  regionAt(page: number): DeviceRegion | undefined {
    return this.regions.find((region) => region.holds(page));
  }

  close(): void {
    this.#closed(this);
    this.#mapping.close();
    closeDescriptor(this.fd);
  }
}

/** Makes them, and recognises them when a program shows one. */
export class DeviceMemories implements SharedMemoryMaker {
  readonly #byKey = new Map<string, DeviceMemory>();

  create(label: string, byteLength: number): SharedMemory {
    try {
      const made = new DeviceMemory(label, byteLength, () => this.#byKey.delete(made.key));
      this.#byKey.set(made.key, made);
      return made;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      throw new UapiError("ENOMEM", `no memory for ${label}`);
    }
  }

  find(key: string): DeviceMemory | undefined {
    return this.#byKey.get(key);
  }
}
