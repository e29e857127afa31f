/**
 * Random calls on two contexts of one machine, with the safety rules checked after each.
 *
 * A call that is refused with a UapiError is fine; any other exception, and any rule that does not
 * hold, is a failure that names seed, step and the calls that led there.
 */
import { UapiError } from "../../src/abi/index.js";
import { MOCK_HWPT_TYPE, MOCK_VIOMMU_TYPE } from "../../src/driver/mock/index.js";
import {
  type Access,
  type AttachPolicy,
  type EventQueue,
  type FaultQueue,
  HwptFlag,
  type Iommufd,
  type IommufdDevice,
  MapFlag,
  type ObjectKind,
  type Pin,
} from "../../src/iommufd/index.js";
import { makePasid, type Pasid } from "../../src/units/index.js";
import { device, TestProcess, TestSystem, type TestSystemOptions } from "./iommufd.js";
import { checkInvariants } from "./object-invariants.js";
import { Random } from "./random.js";

const RW = MapFlag.readable | MapFlag.writeable;
const PAGE = 4096n;
const BASE = 0x1000000n;
const POLICIES: readonly AttachPolicy[] = [
  { pasid: "refuse" },
  { pasid: "exclude-windows" },
  { pasid: "raw" },
  { excludeRidWindows: true },
  { excludeRidWindows: false },
];

export interface WalkResult {
  readonly steps: number;
  readonly done: number;
  readonly refused: ReadonlyMap<string, number>;
}

export class ObjectWalk {
  readonly system: TestSystem;
  readonly caller = new TestProcess();
  readonly contexts: Iommufd[];
  readonly log: string[] = [];
  readonly #random: Random;
  readonly #pins: [Access, Pin][] = [];
  readonly #refused = new Map<string, number>();
  #done = 0;

  constructor(seed: number, rules: NonNullable<TestSystemOptions["rules"]>) {
    this.#random = new Random(seed);
    this.system = new TestSystem({
      rules,
      devices: 6,
      groups: [
        [0, 1, 2],
        [3, 4],
      ],
      aliasSets: [[0, 1]],
      device: { maxPasids: 16 },
    });
    const window = { first: BASE + 0x10000n, last: BASE + 0x1ffffn };
    const because = [{ kind: "path-acs-off", at: device(3), cite: "PCIe 6 § 6.12" }] as const;
    this.system.paths.set(device(3), { ok: false, onlyPath: true, because });
    this.system.windows.set(device(3), [{ device: device(4), span: window }]);
    this.contexts = [this.system.open(this.caller), this.system.open(this.caller)];
  }

  /** @throws Error with the last calls when something does not hold. */
  run(steps: number, where: string): WalkResult {
    for (let step = 0; step < steps; step++) {
      try {
        this.#step();
        checkInvariants(this.system, this.contexts, this.caller);
      } catch (cause) {
        const calls = this.log.slice(-25).join("\n  ");
        throw new Error(`${where} step ${step}, after\n  ${calls}`, { cause });
      }
    }
    return { steps, done: this.#done, refused: this.#refused };
  }

  /** Closes everything. @throws Error when something is left. */
  close(): void {
    for (const [access, pin] of this.#pins) if (access.ioas !== undefined) access.unpin(pin);
    this.#pins.length = 0;
    for (const fd of this.contexts) fd.close();
    checkInvariants(this.system, this.contexts, this.caller);
    const left = this.contexts.map((fd) => [...fd.state.objects.all()].length);
    const leaked = this.system.driver.domains.filter((d) => !d.isFreed).length;
    const shared = this.contexts.map((fd) => fd.state.tables.sharedPages.size);
    const pinned = this.caller.memory.pinned;
    if ([...left, ...shared, leaked, pinned].some((n) => n !== 0)) {
      throw new Error(`left: objects ${left}, pages ${shared}, tables ${leaked}, pins ${pinned}`);
    }
  }

  #step(): void {
    const fd = this.#random.pick(this.contexts);
    const [name, call] = this.#random.pick(CALLS);
    try {
      const shown = call(this, fd, this.#random);
      if (shown === undefined) return;
      this.#done++;
      this.log.push(`fd${this.contexts.indexOf(fd)} ${name} ${shown}`);
    } catch (error) {
      if (!UapiError.is(error)) throw error;
      this.log.push(`fd${this.contexts.indexOf(fd)} ${name}: ${error.message}`);
      this.#refused.set(error.code, (this.#refused.get(error.code) ?? 0) + 1);
    }
    if (this.log.length > 100) this.log.splice(0, 50);
  }

  /** A random object of a kind, or undefined. */
  pick(fd: Iommufd, ...kinds: ObjectKind[]): number | undefined {
    const all = [...fd.state.objects.all()].filter((o) => kinds.includes(o.kind));
    return all[this.#random.below(all.length)]?.id;
  }

  pins(): [Access, Pin][] {
    return this.#pins;
  }
}

/** Does something and says what; undefined when there was nothing to do it with. */
type Call = (walk: ObjectWalk, fd: Iommufd, random: Random) => string | undefined;

const somePasid = (random: Random): Pasid | undefined =>
  random.below(2) === 0 ? undefined : makePasid(1 + random.below(18));

function someDevice(walk: ObjectWalk, fd: Iommufd): IommufdDevice | undefined {
  const id = walk.pick(fd, "device");
  return id === undefined ? undefined : fd.device(id);
}

const someIova = (random: Random): bigint => BASE + BigInt(random.below(48)) * PAGE;
const someLength = (random: Random): bigint => BigInt(1 + random.below(5)) * PAGE;

function change(kind: "attach" | "replace"): Call {
  return (walk, fd, random) => {
    const found = someDevice(walk, fd);
    const ptId = walk.pick(fd, "ioas", "hwpt-paging", "hwpt-nested");
    if (found === undefined || ptId === undefined) return undefined;
    const pasid = somePasid(random);
    const table = fd[kind]({ device: found, ptId, pasid });
    return `device ${found.id} pasid ${pasid} to ${ptId}: ${table}`;
  };
}

const CALLS: readonly (readonly [string, Call])[] = [
  [
    "bind",
    (walk, fd, random) => {
      const n = random.below(6);
      return `${n}: ${fd.bind({ dma: walk.system.dma(n) }).id}`;
    },
  ],
  [
    "unbind",
    (walk, fd, random) => {
      const found = random.below(4) === 0 ? someDevice(walk, fd) : undefined;
      if (found === undefined) return undefined;
      fd.unbind(found);
      return `${found.id}`;
    },
  ],
  ["ioas", (_walk, fd, random) => (random.below(3) === 0 ? `${fd.ioasAlloc()}` : undefined)],
  [
    "destroy",
    (walk, fd) => {
      const id = walk.pick(fd, "ioas", "hwpt-paging", "hwpt-nested", "fault", "viommu", "vdevice");
      if (id === undefined) return undefined;
      fd.destroy(id);
      return `${id}`;
    },
  ],
  [
    "map",
    (walk, fd, random) => {
      const ioasId = walk.pick(fd, "ioas");
      if (ioasId === undefined) return undefined;
      const flags = random.below(3) === 0 ? RW : RW | MapFlag.fixedIova;
      const userVa = BigInt(random.below(64)) * PAGE;
      const args = { ioasId, flags, userVa, length: someLength(random), iova: someIova(random) };
      return `ioas ${ioasId} at ${fd.ioasMap(args).toString(16)}`;
    },
  ],
  [
    "unmap",
    (walk, fd, random) => {
      const ioasId = walk.pick(fd, "ioas");
      if (ioasId === undefined) return undefined;
      const all = random.below(6) === 0;
      const iova = all ? 0n : someIova(random);
      const length = all ? 2n ** 64n - 1n : someLength(random) * 4n;
      return `ioas ${ioasId}: ${fd.ioasUnmap(ioasId, iova, length)}`;
    },
  ],
  [
    "copy",
    (walk, fd, random) => {
      const [srcIoasId, dstIoasId] = [walk.pick(fd, "ioas"), walk.pick(fd, "ioas")];
      if (srcIoasId === undefined || dstIoasId === undefined) return undefined;
      const length = PAGE * BigInt(1 + random.below(2));
      const [srcIova, dstIova] = [someIova(random), someIova(random)];
      const flags = RW | MapFlag.fixedIova;
      fd.ioasCopy({ srcIoasId, dstIoasId, srcIova, dstIova, length, flags });
      return `${srcIoasId} to ${dstIoasId}`;
    },
  ],
  ["attach", change("attach")],
  ["attach", change("attach")],
  ["replace", change("replace")],
  [
    "detach",
    (walk, fd, random) => {
      const found = someDevice(walk, fd);
      if (found === undefined) return undefined;
      const pasid = somePasid(random);
      fd.detach(found, pasid);
      return `${found.id} pasid ${pasid}`;
    },
  ],
  [
    "hwpt",
    (walk, fd, random) => {
      const devId = walk.pick(fd, "device");
      const ptId = walk.pick(fd, "ioas", "ioas", "hwpt-paging", "viommu");
      if (devId === undefined || ptId === undefined) return undefined;
      const isIoas = fd.state.objects.find(ptId)?.kind === "ioas";
      const nestParent = random.below(2) * HwptFlag.nestParent;
      const flags = (isIoas ? nestParent : 0) | (random.below(2) * HwptFlag.pasid);
      const bytes = new DataView(new ArrayBuffer(4));
      const data = isIoas ? undefined : { type: MOCK_HWPT_TYPE, bytes };
      return `${fd.hwptAlloc({ devId, ptId, flags, data })} on ${ptId}`;
    },
  ],
  [
    "policy",
    (_walk, fd, random) => {
      const policy = random.pick(POLICIES);
      fd.setPolicy(policy);
      return JSON.stringify(policy);
    },
  ],
  [
    "access",
    (walk, fd) => {
      const ioasId = walk.pick(fd, "ioas");
      if (ioasId === undefined || (walk.pick(fd, "access") ?? 0) > 8) return undefined;
      const unmap = (a: Access, iova: bigint, length: bigint): void =>
        release(walk, a, iova, length);
      const access = fd.createAccess({ pinsPages: true, unmap });
      try {
        access.attach(fd.ioas(ioasId));
      } catch (error) {
        access.close();
        throw error;
      }
      return `${access.id} of ioas ${ioasId}`;
    },
  ],
  [
    "pin",
    (walk, fd, random) => {
      const id = walk.pick(fd, "access");
      if (id === undefined) return undefined;
      const access = fd.state.objects.get(id, "access") as Access;
      walk.pins().push([access, access.pin(someIova(random), PAGE)]);
      return `${id}`;
    },
  ],
  [
    "unpin",
    (walk, _fd, random) => {
      const [found] = walk.pins().splice(random.below(walk.pins().length), 1);
      found?.[0].unpin(found[1]);
      return found === undefined ? undefined : `${found[0].id}`;
    },
  ],
  [
    "close access",
    (walk, fd, random) => {
      const id = random.below(3) === 0 ? walk.pick(fd, "access") : undefined;
      if (id === undefined) return undefined;
      (fd.state.objects.get(id, "access") as Access).close();
      return `${id}`;
    },
  ],
  [
    "kernel driver",
    (walk, _fd, random) => {
      const bdf = device(random.below(6));
      walk.system.ownership.claimForKernel(bdf);
      walk.system.ownership.releaseForKernel(bdf);
      return `${bdf}`;
    },
  ],
  [
    "fault queue",
    (walk, fd) => {
      const old = walk.pick(fd, "fault", "veventq");
      if (old !== undefined) {
        (fd.state.objects.find(old) as FaultQueue | EventQueue).closeFile();
        fd.destroy(old);
        return `${old} closed`;
      }
      return `${fd.faultQueueAlloc().id}`;
    },
  ],
  [
    "viommu",
    (walk, fd) => {
      const [devId, hwptId] = [walk.pick(fd, "device"), walk.pick(fd, "hwpt-paging")];
      if (devId === undefined || hwptId === undefined) return undefined;
      return `${fd.viommuAlloc({ devId, hwptId, type: MOCK_VIOMMU_TYPE }).id} on ${hwptId}`;
    },
  ],
  [
    "vdevice",
    (walk, fd, random) => {
      const [devId, viommuId] = [walk.pick(fd, "device"), walk.pick(fd, "viommu")];
      if (devId === undefined || viommuId === undefined) return undefined;
      const virtualId = BigInt(random.below(4));
      return `${fd.vdeviceAlloc({ devId, viommuId, virtualId }).id}`;
    },
  ],
  [
    "nested ioas",
    (walk, fd, random) => {
      const parentId = walk.pick(fd, "ioas");
      if (parentId === undefined || random.below(4) > 0) return undefined;
      return `${fd.nestedIoasAlloc(parentId)} on ${parentId}`;
    },
  ],
  [
    "nested map",
    (walk, fd, random) => {
      const childId = walk.pick(fd, "ioas");
      if (childId === undefined) return undefined;
      const [iova, parentIova] = [someIova(random), someIova(random)];
      const flags = RW | MapFlag.fixedIova;
      fd.nestedIoasMap({ childId, flags, iova, parentIova, length: PAGE });
      return `${childId}`;
    },
  ],
];

/** Gives back the pins of an access that lie in a range that goes away. */
function release(walk: ObjectWalk, access: Access, iova: bigint, length: bigint): void {
  const pins = walk.pins();
  for (let i = pins.length - 1; i >= 0; i--) {
    const [holder, pin] = pins[i] as [Access, Pin];
    if (holder !== access || pin.iova >= iova + length || pin.iova + pin.length <= iova) continue;
    access.unpin(pin);
    pins.splice(i, 1);
  }
}
