/**
 * Where the bytes of user pages live: an ArrayBuffer, or later a file that both sides map.
 *
 * One backing object is one run of user memory. Physical memory gives each of its pages one frame
 * for as long as it is present, however often and from wherever the page is mapped.
 */
export interface BackingObject {
  /** For messages: `process 7 heap`. */
  readonly label: string;
  /** A multiple of 4096. */
  readonly byteLength: number;
  /**
   * The bytes as little-endian 32-bit words, when they can be addressed directly. Must not change
   * while the object is present in a memory.
   */
  readonly words: Uint32Array | undefined;
  /** Copies bytes out; the range lies inside the object. */
  read(offset: number, into: Uint8Array): void;
  /** Copies bytes in; the range lies inside the object. */
  write(offset: number, from: Uint8Array): void;
}

/** User memory in an ArrayBuffer. */
export class BufferBacking implements BackingObject {
  readonly label: string;
  readonly byteLength: number;
  readonly words: Uint32Array;
  readonly bytes: Uint8Array;

  /**
   * @param source the bytes, or how many zero bytes.
   * @throws RangeError when the length is not a multiple of 4096 above 0, or the buffer is shared.
   */
  constructor(label: string, source: number | ArrayBuffer) {
    const buffer = typeof source === "number" ? new ArrayBuffer(source) : source;
    if (buffer.byteLength === 0 || buffer.byteLength % 4096 !== 0) {
      throw new RangeError(`length ${buffer.byteLength} of "${label}" is not whole pages`);
    }
    this.label = label;
    this.byteLength = buffer.byteLength;
    this.words = new Uint32Array(buffer);
    this.bytes = new Uint8Array(buffer);
  }

  read(offset: number, into: Uint8Array): void {
    into.set(this.bytes.subarray(offset, offset + into.length));
  }

  write(offset: number, from: Uint8Array): void {
    this.bytes.set(from, offset);
  }
}
