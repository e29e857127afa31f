/**
 * Every operation with its n-th allocation failing, n = 1, 2, … until none is left: the call is
 * refused with ENOMEM, the old state stands, nothing leaks, and without a failure it succeeds.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { device, TestMemory, TestProcess, TestSystem } from "../../test/support/iommufd.js";
import { checkInvariants } from "../../test/support/object-invariants.js";
import { UapiError } from "../abi/index.js";
import { MOCK_HWPT_TYPE, MOCK_QUEUE_TYPE, MOCK_VIOMMU_TYPE } from "../driver/mock/index.js";
import { makePasid } from "../units/index.js";
import { type Access, HwptFlag, type Iommufd, type IommufdDevice, MapFlag } from "./index.js";

const RW = MapFlag.readable | MapFlag.writeable;
const FIXED = RW | MapFlag.fixedIova;
const PAGE = 4096n;
const BASE = 0x1000000n;
const P5 = makePasid(5);

interface Stage {
  readonly system: TestSystem;
  readonly caller: TestProcess;
  readonly fd: Iommufd;
  readonly a: IommufdDevice;
  readonly b: IommufdDevice;
  readonly access: Access;
  /** With two page tables, many mappings and the device `a`. */
  readonly full: number;
  /** With mappings and no page table. */
  readonly bare: number;
  readonly parent: number;
  readonly viommu: number;
  failNth(n: number): void;
  readonly hasFailed: boolean;
}

function stage(rules: "device-centric" | "linux-7.2"): Stage {
  let left = 0;
  let hasFailed = false;
  const allocations = {
    permit: (): boolean => {
      if (left === 0 || --left > 0) return true;
      hasFailed = true;
      return false;
    },
  };
  const device = { maxPasids: 64 };
  const system = new TestSystem({ rules, groups: [[0, 1]], allocations, device });
  const caller = new TestProcess();
  const fd = system.open(caller);
  const a = fd.bind({ dma: system.dma(0) });
  const b = fd.bind({ dma: system.dma(2) });
  const [full, bare, nesting] = [fd.ioasAlloc(), fd.ioasAlloc(), fd.ioasAlloc()];
  fd.attach({ device: a, ptId: full });
  fd.hwptAlloc({ devId: a.id, ptId: full, flags: HwptFlag.pasid });
  for (const ioasId of [full, bare, nesting]) {
    const args = { ioasId, flags: FIXED, length: 600n * PAGE };
    fd.ioasMap({ ...args, userVa: 0n, iova: BASE });
    fd.ioasMap({ ...args, userVa: 0x800000n, iova: BASE + 600n * PAGE });
  }
  const access = fd.createAccess({ pinsPages: true, unmap: (x, i, n) => x.unpinRange(i, n) });
  access.attach(fd.ioas(bare));
  const flags = HwptFlag.nestParent | HwptFlag.pasid;
  const parent = fd.hwptAlloc({ devId: a.id, ptId: nesting, flags });
  const viommu = fd.viommuAlloc({ devId: a.id, hwptId: parent, type: MOCK_VIOMMU_TYPE }).id;
  return {
    ...{ system, caller, fd, a, b, access, full, bare, parent, viommu },
    failNth: (n) => {
      left = n;
      hasFailed = false;
    },
    get hasFailed() {
      return hasFailed;
    },
  };
}

/** Everything that can be observed. */
function snapshot({ system, caller, fd, access }: Stage): unknown {
  const objects = [...fd.state.objects.all()].map((o) => [o.id, o.kind, o.users]);
  const spaces = [...fd.state.objects.all()].flatMap((o) => {
    if (o.kind !== "ioas") return [];
    const { space } = fd.ioas(o.id);
    const areas: unknown[] = [];
    for (space.areas.toFirst(); space.areas.found; space.areas.next()) {
      const { row, firstPage, rows } = space.areas;
      areas.push([firstPage, rows.firstOffset(row), rows.lastPage(row), rows.startPage(row)]);
    }
    return [[o.id, areas, space.reserved.usable(), space.alignment, space.domains.length]];
  });
  return {
    ids: fd.state.objects.size,
    objects,
    spaces,
    pins: [...caller.memory.pins].sort((x, y) => x[0] - y[0]),
    charged: caller.userLocked.charged,
    accessPins: access.pinCount,
    tables: system.driver.domains.filter((d) => !d.isFreed).map((d) => [d.mapped, d.attachCount]),
    slots: system.devices.map((bdf) => [
      system.driver.attached(bdf, undefined)?.kind,
      system.driver.pasidsOf(bdf),
    ]),
    owner: system.devices.map((bdf) => system.ownership.ownerOf(bdf)?.label),
  };
}

const nestedData = { type: MOCK_HWPT_TYPE, bytes: new DataView(new ArrayBuffer(4)) };

/** Operations; `min` allocations at least must have failed once each. */
const OPERATIONS: readonly [string, number, (s: Stage) => unknown][] = [
  ["IOAS_ALLOC", 1, ({ fd }) => fd.ioasAlloc()],
  ["bind", 2, ({ fd, system }) => fd.bind({ dma: system.dma(3) })],
  ["bind a sibling", 1, ({ fd, system }) => fd.bind({ dma: system.dma(1) })],
  [
    "MAP into two page tables",
    5,
    ({ fd, full: ioasId }) => {
      const args = { ioasId, flags: FIXED, userVa: 0n, iova: BASE + 0x2000000n };
      return fd.ioasMap({ ...args, length: 600n * PAGE });
    },
  ],
  [
    "MAP without page tables",
    1,
    ({ fd, bare: ioasId }) => fd.ioasMap({ ioasId, flags: RW, userVa: 0x1000n, length: PAGE }),
  ],
  [
    "MAP_FILE",
    3,
    ({ fd, full: ioasId }) => {
      const file = new TestMemory({ kind: "file", pages: 64 });
      const args = { ioasId, flags: FIXED, file, start: 0n, iova: BASE + 0x2000000n };
      return fd.ioasMapFile({ ...args, length: 8n * PAGE });
    },
  ],
  [
    "COPY of two areas",
    6,
    ({ fd, full: dstIoasId, bare: srcIoasId }) => {
      const length = 1200n * PAGE;
      const dstIova = BASE + 0x2000000n;
      return fd.ioasCopy({ dstIoasId, srcIoasId, dstIova, srcIova: BASE, length, flags: FIXED });
    },
  ],
  ["attach makes a page table", 4, ({ fd, b, bare }) => fd.attach({ device: b, ptId: bare })],
  ["attach to what is there", 1, ({ fd, b, full }) => fd.attach({ device: b, ptId: full })],
  [
    "attach a PASID",
    1,
    ({ fd, a, parent }) => {
      fd.detach(a);
      return fd.attach({ device: a, ptId: parent, pasid: P5 });
    },
  ],
  ["replace", 4, ({ fd, a, bare }) => fd.replace({ device: a, ptId: bare })],
  ["HWPT_ALLOC", 4, ({ fd, a, bare }) => fd.hwptAlloc({ devId: a.id, ptId: bare })],
  [
    "HWPT_ALLOC of one more",
    3,
    ({ fd, a, full }) => fd.hwptAlloc({ devId: a.id, ptId: full, flags: HwptFlag.nestParent }),
  ],
  [
    "HWPT_ALLOC nested",
    2,
    ({ fd, a, parent }) => fd.hwptAlloc({ devId: a.id, ptId: parent, data: nestedData }),
  ],
  [
    "HWPT_ALLOC through a vIOMMU",
    1,
    ({ fd, a, viommu }) => fd.hwptAlloc({ devId: a.id, ptId: viommu, data: nestedData }),
  ],
  ["FAULT_QUEUE_ALLOC", 1, ({ fd }) => fd.faultQueueAlloc().id],
  [
    "VIOMMU_ALLOC",
    2,
    ({ fd, a, parent }) => {
      return fd.viommuAlloc({ devId: a.id, hwptId: parent, type: MOCK_VIOMMU_TYPE }).id;
    },
  ],
  [
    "VDEVICE_ALLOC",
    1,
    ({ fd, a, viommu }) => fd.vdeviceAlloc({ viommuId: viommu, devId: a.id, virtualId: 1n }).id,
  ],
  [
    "VEVENTQ_ALLOC",
    1,
    ({ fd, viommu }) => fd.veventqAlloc({ viommuId: viommu, type: 1, depth: 4 }).id,
  ],
  [
    "HW_QUEUE_ALLOC",
    3,
    ({ fd, viommu }) => {
      const args = { viommuId: viommu, type: MOCK_QUEUE_TYPE, index: 0 };
      return fd.hwQueueAlloc({ ...args, iova: BASE, length: PAGE }).id;
    },
  ],
  ["create an access", 1, ({ fd }) => fd.createAccess({ pinsPages: true }).id],
  ["pin over two areas", 4, ({ access }) => access.pin(BASE, 1200n * PAGE).length],
  ["nested IOAS", 1, ({ fd, full }) => fd.nestedIoasAlloc(full)],
];

for (const rules of ["device-centric", "linux-7.2"] as const) {
  describe(`a failing allocation under ${rules}`, () => {
    for (const [name, least, operation] of OPERATIONS) {
      it(`${name}: the old state stands`, () => {
        let n = 1;
        for (; n < 200; n++) {
          const s = stage(rules);
          if (name === "attach a PASID") s.fd.detach(s.a);
          const before = snapshot(s);
          s.failNth(n);
          let refusal: unknown;
          try {
            operation(s);
          } catch (error) {
            refusal = error;
          }
          s.failNth(0);
          if (refusal !== undefined) {
            assert.ok(UapiError.is(refusal), String(refusal));
            assert.equal(refusal.code, "ENOMEM", `allocation ${n}`);
            assert.deepEqual(snapshot(s), before, `allocation ${n}`);
          }
          // Pins of the file that it maps are not the caller's memory's.
          if (name !== "MAP_FILE") checkInvariants(s.system, [s.fd], s.caller);
          finish(s);
          if (refusal === undefined) break;
        }
        assert.ok(n > least, `only ${n - 1} allocations failed`);
      });
    }
  });
}

function finish({ system, caller, fd }: Stage): void {
  fd.close();
  const tombstones = 1;
  assert.ok(fd.state.objects.size <= tombstones, "ids were given back");
  assert.equal(caller.memory.pinned, 0);
  assert.equal(caller.userLocked.charged, 0);
  assert.equal(fd.state.tables.sharedPages.size, 0);
  assert.deepEqual([...fd.state.tables.origins.all()], []);
  assert.ok(system.driver.domains.every((d) => d.isFreed));
  assert.equal(system.driver.attached(device(0), undefined), undefined);
}

describe("leaving a page table", () => {
  it("needs no memory", () => {
    let isShort = false;
    const system = new TestSystem({ allocations: { permit: () => !isShort } });
    const process = new TestProcess();
    const fd = system.open(process);
    const ioasId = fd.ioasAlloc();
    const bound = fd.bind({ dma: system.dma(0) });
    fd.attach({ device: bound, ptId: ioasId });
    const flags = MapFlag.readable | MapFlag.fixedIova;
    fd.ioasMap({ ioasId, flags, userVa: 0x10000n, length: 4096n, iova: 0x1040000n });
    isShort = true;
    fd.detach(bound);
    fd.unbind(bound);
    fd.close();
    assert.equal(process.memory.pinned, 0);
  });
});
