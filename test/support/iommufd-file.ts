/** /dev/iommu as a program uses it, for tests: structs as lists of fields, results as numbers. */
import { ERRNO, type ErrnoName } from "../../src/abi/index.js";
import { IommufdFile, type IommufdPorts } from "../../src/iommufd/index.js";
import { type FakeCall, FakeProcess } from "./fake-call.js";
import { TestSystem, type TestSystemOptions } from "./iommufd.js";

/** Fields of a struct in order: [bytes, value]; a number alone has 4 bytes, a bigint 8. */
export type Fields = readonly (number | bigint | readonly [1 | 2 | 4 | 8, number | bigint])[];

/** Bytes of a struct, little-endian, without padding of its own. */
export function struct(...fields: Fields): Uint8Array {
  const bytes: number[] = [];
  for (const field of fields) {
    const [size, value] =
      typeof field === "object" ? field : [typeof field === "bigint" ? 8 : 4, field];
    const number = BigInt.asUintN(size * 8, BigInt(value));
    for (let i = 0; i < size; i++) bytes.push(Number((number >> BigInt(i * 8)) & 0xffn));
  }
  return Uint8Array.from(bytes);
}

/** A struct whose first word is its size. */
export function sized(...fields: Fields): Uint8Array {
  const bytes = struct(0, ...fields);
  new DataView(bytes.buffer).setUint32(0, bytes.length, true);
  return bytes;
}

export const u32At = (bytes: Uint8Array, at: number): number => viewOf(bytes).getUint32(at, true);
export const u64At = (bytes: Uint8Array, at: number): bigint =>
  viewOf(bytes).getBigUint64(at, true);

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** A program with one open /dev/iommu. */
export class Program {
  readonly system: TestSystem;
  readonly process = new FakeProcess();
  readonly call: FakeCall;
  readonly file: IommufdFile;

  constructor(options: TestSystemOptions & { readonly ports?: IommufdPorts } = {}) {
    this.system = new TestSystem({ device: { maxPasids: 2 ** 20 }, ...options });
    this.call = this.process.thread();
    this.file = new IommufdFile(this.system, options.ports ?? {}, this.process);
  }

  /** @returns what the call answers; `bytes` then hold what was copied back. */
  ioctl(command: number, bytes: Uint8Array): number {
    return this.call.ioctlBytes(this.file, command, bytes);
  }

  /** A call that must succeed. @returns the struct after it. */
  ok(command: number, bytes: Uint8Array): Uint8Array {
    const result = this.ioctl(command, bytes);
    if (result >= 0) return bytes;
    throw new Error(`${command.toString(16)}: ${this.call.lastRefusal?.message}`);
  }

  /** A call that must be refused. */
  refused(code: ErrnoName, command: number, bytes: Uint8Array): void {
    const before = bytes.slice();
    const result = this.ioctl(command, bytes);
    if (result !== -ERRNO[code]) {
      throw new Error(`${command.toString(16)} answered ${result}, expected ${code}`);
    }
    if (bytes.some((b, i) => b !== before[i])) throw new Error("a refusal wrote to the struct");
  }

  ioasAlloc(): number {
    return u32At(this.ok(0x3b81, sized(0, 0)), 8);
  }

  /** Binds device `n` of the system. @returns its id. */
  bind(n = 0): number {
    return this.file.iommufd.bind({ dma: this.system.dma(n) }).id;
  }
}
