/**
 * What the wire costs: IOMMU_IOAS_MAP and UNMAP of 4 KiB through the bytes of a caller, against the
 * same two calls on the object layer. A page table shows the space; a thousand mappings are there.
 */
import { IOMMU_IOAS_MAP, IOMMU_IOAS_UNMAP } from "../src/abi/index.js";
import type { Call, PassedFile } from "../src/files/index.js";
import { IommufdFile, MapFlag } from "../src/iommufd/index.js";
import { TestProcess, TestSystem } from "../test/support/iommufd.js";
import { type Bench, type BenchContext, interleave, median, medianRatio } from "./harness.js";

const GOAL = 2;
const RESIDENT = 1000;
const FLAGS = MapFlag.readable | MapFlag.writeable | MapFlag.fixedIova;
const FIRST = 0x2000;

/** A caller whose memory is one buffer, as it is where structs travel with their call. */
class FlatCall implements Call {
  readonly process = new TestProcess();
  readonly pid = 1;
  readonly tid = 1;
  readonly mayRawIo = false;
  readonly bytes = new Uint8Array(4096);
  readonly view = new DataView(this.bytes.buffer);

  copyIn(address: bigint, into: Uint8Array): void {
    const at = Number(address);
    into.set(this.bytes.subarray(at, at + into.length));
  }

  copyOut(address: bigint, from: Uint8Array): void {
    this.bytes.set(from, Number(address));
  }

  fileOf(): PassedFile | undefined {
    return undefined;
  }

  newDescriptor(): void {}
}

export const bench: Bench = { name: "calls through bytes", run: measure };

async function measure(context: BenchContext): Promise<void> {
  const count = context.size === "ci" ? 20_000 : 100_000;
  const call = new FlatCall();
  const system = new TestSystem();
  const file = new IommufdFile(system, {}, call.process);
  const fd = file.iommufd;
  const ioasId = fd.ioasAlloc();
  fd.hwptAlloc({ devId: fd.bind({ dma: system.dma(0) }).id, ptId: ioasId });
  const args = { ioasId, flags: FLAGS, userVa: 4096n, length: 4096n, iova: 0n };
  const iovas = Array.from({ length: 1024 }, (_, i) => BigInt(FIRST + 2 * i) << 12n);
  for (let i = 0; i < RESIDENT; i++)
    fd.ioasMap({ ...args, iova: BigInt(FIRST + 2 * i + 1) << 12n });

  const objects = (): void => {
    for (let i = 0; i < count; i++) {
      const iova = iovas[i & 1023] ?? 0n;
      args.iova = iova;
      fd.ioasMap(args);
      fd.ioasUnmap(ioasId, iova, 4096n);
    }
  };
  const bytes = (): void => {
    for (let i = 0; i < count; i++) {
      const iova = iovas[i & 1023] ?? 0n;
      writeMap(call.view, ioasId, iova);
      file.ioctl(call, IOMMU_IOAS_MAP, 0n);
      writeUnmap(call.view, ioasId, iova);
      file.ioctl(call, IOMMU_IOAS_UNMAP, 64n);
    }
  };
  const taken = await interleave(9, { objects, bytes }, 3);
  const each = (ms: readonly number[]): string => `${((median(ms) * 1e6) / count).toFixed(0)} ns`;
  context.report({
    metric: "iommufd.wire.map-unmap",
    value: medianRatio(taken.bytes, taken.objects),
    unit: "x",
    goal: GOAL,
    floor: `on objects ${each(taken.objects)}, through bytes ${each(taken.bytes)}`,
  });
}

function writeMap(view: DataView, ioasId: number, iova: bigint): void {
  view.setUint32(0, 40, true);
  view.setUint32(4, FLAGS, true);
  view.setUint32(8, ioasId, true);
  view.setUint32(12, 0, true);
  view.setBigUint64(16, 4096n, true);
  view.setBigUint64(24, 4096n, true);
  view.setBigUint64(32, iova, true);
}

function writeUnmap(view: DataView, ioasId: number, iova: bigint): void {
  view.setUint32(64, 24, true);
  view.setUint32(68, ioasId, true);
  view.setBigUint64(72, iova, true);
  view.setBigUint64(80, 4096n, true);
}
