/** A program that makes test commands: fields by operation, and what comes back. */
import assert from "node:assert/strict";
import * as abi from "../../src/abi/index.js";
import { ERRNO, type ErrnoName } from "../../src/abi/index.js";
import { type Iommufd, type IommufdFile, MapFlag } from "../../src/iommufd/index.js";
import { SelftestFiles, type SelftestOptions } from "../../src/iommufd/selftest/index.js";
import { type FakeCall, FakeProcess } from "./fake-call.js";

export const PAGE = 4096n;
/** The lowest address that mock page tables translate. */
export const IOVA = 0x1000000n;
export const BYTES = 72;

export type Fill = (view: DataView) => void;

export interface Mock {
  readonly stdev: number;
  readonly hwpt: number;
  readonly idev: number;
}

/** One thread of one process, one open file, one address space. */
export class TestProgram {
  readonly files: SelftestFiles;
  readonly process = new FakeProcess();
  readonly call: FakeCall = this.process.thread();
  readonly file: IommufdFile;
  readonly iommufd: Iommufd;
  readonly ioas: number;

  constructor(options: SelftestOptions = {}) {
    this.files = new SelftestFiles(options);
    this.file = this.files.open(this.process);
    this.iommufd = this.file.iommufd;
    this.ioas = this.iommufd.ioasAlloc();
  }

  get system() {
    return this.files.system;
  }

  /** Runs an operation. `fill` writes its fields; the struct as it came back, and the result. */
  run(op: number, id: number, fill: Fill = () => {}): { result: number; view: DataView } {
    const bytes = new Uint8Array(BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, BYTES, true);
    view.setUint32(4, op, true);
    view.setUint32(8, id, true);
    fill(view);
    return { result: this.call.ioctlBytes(this.file, abi.IOMMU_TEST_CMD, bytes), view };
  }

  ok(op: number, id: number, fill?: Fill): DataView {
    const { result, view } = this.run(op, id, fill);
    assert.equal(result, 0, result < 0 ? String(this.call.lastRefusal) : "");
    return view;
  }

  refused(code: ErrnoName, op: number, id: number, fill?: Fill): void {
    const { result } = this.run(op, id, fill);
    assert.equal(result, -ERRNO[code], String(this.call.lastRefusal));
  }

  mock(id = this.ioas, flags?: number): Mock {
    const view =
      flags === undefined
        ? this.ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN, id)
        : this.ok(abi.IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, id, u32s(0, 0, 0, flags));
    const { out_stdev_id, out_hwpt_id, out_idev_id } = abi.decodeIommuTestCmdMockDomain(view);
    return { stdev: out_stdev_id, hwpt: out_hwpt_id, idev: out_idev_id };
  }

  /** Maps fresh pages of the process. @returns their address. */
  map(pages: number, ioasId = this.ioas, iova = IOVA): bigint {
    const { process } = this;
    const userVa = process.memory.allocPages(pages);
    const flags = MapFlag.fixedIova | MapFlag.readable | MapFlag.writeable;
    const length = BigInt(pages) * PAGE;
    this.iommufd.ioasMap({ ioasId, flags, userVa, length, iova }, { process });
    return userVa;
  }

  /** A test access. @returns its descriptor. */
  access(pinsPages: boolean, id = this.ioas): number {
    const view = this.ok(abi.IOMMU_TEST_OP_CREATE_ACCESS, id, u32s(0, pinsPages ? 1 : 0));
    const fd = view.getUint32(16, true);
    assert.equal(this.call.lastDescriptor?.fd, fd);
    assert.equal(this.call.lastDescriptor?.closeOnExec, true);
    return fd;
  }
}

/** 32-bit fields of the union, from its start. */
export const u32s =
  (...values: number[]): Fill =>
  (view) =>
    values.forEach((value, i) => {
      view.setUint32(16 + 4 * i, value, true);
    });

/** 64-bit fields of the union, from its start. */
export const u64s =
  (...values: bigint[]): Fill =>
  (view) =>
    values.forEach((value, i) => {
      view.setBigUint64(16 + 8 * i, value, true);
    });
