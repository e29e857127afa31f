/**
 * A machine whose devices programs open through VFIO: one process, its memory reachable by DMA,
 * calls as programs make them.
 */
import assert from "node:assert/strict";
import { ERRNO, type ErrnoName } from "../../src/abi/index.js";
import { InterruptDomain } from "../../src/driver/index.js";
import { BUFFER_MEMORY, type OpenFile } from "../../src/files/index.js";
import { IommufdFile } from "../../src/iommufd/index.js";
import { BufferBacking } from "../../src/memory/index.js";
import { buildPlatform, readPlatform } from "../../src/platform/index.js";
import { HostSystem } from "../../src/system/index.js";
import type { Bdf } from "../../src/units/index.js";
import { VfioFiles } from "../../src/vfio/index.js";
import { type FakeCall, FakeProcess } from "./fake-call.js";

export interface BenchOptions {
  readonly rules?: "device-centric" | "linux-7.2";
  /** Devices below one root port each; default {@link DEVICES}. */
  readonly devices?: readonly object[];
  /** All devices below one root port. */
  readonly oneBus?: boolean;
  readonly iommu?: object;
  /** Devices on the root bus itself, instead of the others. */
  readonly roots?: readonly object[];
}

/** An engine with its registers, a memory BAR, MSI-X and function-level reset; and a stub. */
export const ENGINE = {
  kind: "endpoint",
  name: "engine",
  engine: "dma",
  msix: 8,
  flr: true,
  bars: [
    { index: 0, size: "32K", kind: "memory32" },
    { index: 2, size: "64K", kind: "memory64", prefetchable: true },
  ],
};
export const STUB = {
  kind: "endpoint",
  name: "stub",
  id: "8086:1592",
  bars: [
    { index: 0, size: "16K", kind: "memory32" },
    { index: 1, size: 256, kind: "io" },
  ],
};

/** See the head of the file. */
export class VfioBench {
  readonly system: HostSystem;
  readonly files: VfioFiles;
  readonly process: FakeProcess;
  readonly call: FakeCall;
  readonly interrupts: InterruptDomain;

  constructor(options: BenchOptions = {}) {
    const devices = options.devices ?? [ENGINE, STUB];
    const ports =
      options.roots ??
      (options.oneBus
        ? [{ kind: "root-port", acs: "full", endEndPrefix: true, below: devices }]
        : devices.map((device) => ({
            kind: "root-port",
            acs: "full",
            endEndPrefix: true,
            below: [device],
          })));
    const platform = readPlatform({
      schema: "ioasis/platform/1",
      name: "bench",
      host: { kernel: "7.2.13", architecture: "x86", firmware: "acpi" },
      iommu: options.iommu ?? { kind: "intel" },
      roots: [{ devices: ports }],
    });
    this.system = new HostSystem(buildPlatform(platform), {
      rules: options.rules ?? "device-centric",
      bind: "all",
    });
    this.process = new FakeProcess();
    this.call = this.process.thread();
    const { memory } = this.process;
    const backing = new BufferBacking("process", memory.bytes.buffer as ArrayBuffer);
    this.system.machine.memory.addUserMemory(backing);
    memory.firstFrame = this.system.machine.memory.userFrame(backing, 0);
    this.interrupts = new InterruptDomain(this.system.machine, this.system.driver);
    this.files = new VfioFiles({
      system: this.system,
      machine: this.system.machine,
      interrupts: this.interrupts,
      memory: BUFFER_MEMORY,
      fillRandom: (bytes) => {
        bytes.fill(0x5a);
      },
      sysfsPathOf: () => "/sys/devices/pci0000:00/somewhere",
    });
  }

  bdf(name: string): Bdf {
    const found = this.system.machine.names.get(name);
    if (found === undefined) throw new Error(`no device "${name}"`);
    return found;
  }

  /** A descriptor of /dev/iommu. */
  iommufd(): number {
    return this.process.install(new IommufdFile(this.system, {}, this.process));
  }

  /** A descriptor of the device's own file, not bound. */
  device(name: string): number {
    const label = `/dev/vfio/devices/${name}`;
    return this.process.install(this.files.openDevice(this.bdf(name), { label }));
  }

  /** A descriptor of a device that was bound by its own file. */
  bound(name: string, iommufd = this.iommufd()): number {
    const fd = this.device(name);
    const bind = words(16, 0, iommufd, 0);
    assert.equal(this.ioctl(fd, 0x3b76, bind), 0);
    return fd;
  }

  /** ioctl with a struct; what was written back is in `struct`. */
  ioctl(fd: number, command: number, struct: Uint8Array): number {
    return this.call.ioctlBytes(this.file(fd), command, struct);
  }

  /** ioctl with a number, or nothing. */
  value(fd: number, command: number, argument = 0n): number {
    return this.call.ioctl(this.file(fd), command, argument);
  }

  file(fd: number): OpenFile {
    return this.process.file(fd);
  }

  close(fd: number): void {
    this.process.close(fd);
  }

  /** Bytes of a region. */
  read(fd: number, region: number, offset: number, length: number): Uint8Array {
    const got = this.call.read(this.file(fd), length, at(region, offset));
    if (typeof got === "number") throw new Error(`read: ${got}`);
    return got;
  }

  /** A number in a region. */
  get(fd: number, region: number, offset: number, length: 1 | 2 | 4): number {
    return this.read(fd, region, offset, length).reduceRight((sum, byte) => sum * 256 + byte, 0);
  }

  set(fd: number, region: number, offset: number, length: number, value: number): number {
    const bytes = Uint8Array.from({ length }, (_, i) => Math.floor(value / 256 ** i) & 0xff);
    return this.call.write(this.file(fd), bytes, at(region, offset));
  }
}

/** Where a region's byte lies in the file. */
export function at(region: number, offset = 0): bigint {
  return (BigInt(region) << 40n) | BigInt(offset);
}

/** A struct of 32-bit words. */
export function words(...values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  values.forEach((value, i) => {
    view.setUint32(4 * i, value >>> 0, true);
  });
  return new Uint8Array(view.buffer);
}

/** A struct of 64-bit words after 32-bit ones. */
export function wide(head: readonly number[], ...values: readonly bigint[]): Uint8Array {
  const out = new Uint8Array(head.length * 4 + values.length * 8);
  out.set(words(...head));
  const view = new DataView(out.buffer);
  values.forEach((value, i) => {
    view.setBigUint64(head.length * 4 + 8 * i, BigInt.asUintN(64, value), true);
  });
  return out;
}

export function word(bytes: Uint8Array, index: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(4 * index, true);
}

export function long(bytes: Uint8Array, offset: number): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(offset, true);
}

export function failed(result: unknown, code: ErrnoName): void {
  const name = Object.entries(ERRNO).find(([, n]) => n === -Number(result))?.[0];
  assert.equal(typeof result === "number" && result < 0 ? name : result, code);
}
