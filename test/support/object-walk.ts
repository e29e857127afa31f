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
import { nameOfDevice, objectName, WalkRecorder } from "./walk-recorder.js";

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
  readonly recorder = new WalkRecorder();
  readonly rules: NonNullable<TestSystemOptions["rules"]>;
  readonly #random: Random;
  readonly #pins: [Access, Pin][] = [];
  readonly #refused = new Map<string, number>();
  #done = 0;

  constructor(seed: number, rules: NonNullable<TestSystemOptions["rules"]>) {
    this.#random = new Random(seed);
    this.rules = rules;
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
        const why = `${where} step ${step}`;
        const { scenario } = this.recorder.keep(`${why}: ${cause}`, this.rules);
        throw new Error(`${why}, kept in ${scenario}, after\n  ${calls}`, { cause });
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

  /** What the recorded scenario calls an object. */
  name(fd: Iommufd, id: number): string {
    return objectName(this.contexts.indexOf(fd), id);
  }

  /** Records a step; fields that are undefined are left out. */
  did(step: object): void {
    this.recorder.add(JSON.parse(JSON.stringify(step)) as object);
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
    const [who, to] = [nameOfDevice(found), walk.name(fd, ptId)];
    walk.did({ [kind]: { device: who, to, pasid } });
    const table = fd[kind]({ device: found, ptId, pasid });
    return `device ${found.id} pasid ${pasid} to ${ptId}: ${table}`;
  };
}

const CALLS: readonly (readonly [string, Call])[] = [
  [
    "bind",
    (walk, fd, random) => {
      const n = random.below(6);
      walk.did({ bind: { device: `d${n}`, to: `u${walk.contexts.indexOf(fd)}` } });
      return `${n}: ${fd.bind({ dma: walk.system.dma(n) }).id}`;
    },
  ],
  [
    "unbind",
    (walk, fd, random) => {
      const found = random.below(4) === 0 ? someDevice(walk, fd) : undefined;
      if (found === undefined) return undefined;
      walk.did({ close: { device: nameOfDevice(found) } });
      fd.unbind(found);
      return `${found.id}`;
    },
  ],
  [
    "ioas",
    (walk, fd, random) => {
      if (random.below(3) > 0) return undefined;
      const id = fd.ioasAlloc();
      walk.did({ space: { name: walk.name(fd, id), in: `u${walk.contexts.indexOf(fd)}` } });
      return `${id}`;
    },
  ],
  [
    "destroy",
    (walk, fd) => {
      const id = walk.pick(fd, "ioas", "hwpt-paging", "hwpt-nested", "fault", "viommu", "vdevice");
      if (id === undefined) return undefined;
      walk.did({ destroy: walk.name(fd, id) });
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
      const isFixed = (flags & MapFlag.fixedIova) !== 0;
      walk.did({
        map: {
          space: walk.name(fd, ioasId),
          memory: "m",
          page: Number(userVa / PAGE),
          pages: Number(args.length / PAGE),
          at: isFixed ? hex(args.iova) : undefined,
        },
      });
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
      const size = all ? { all } : { pages: Number(length / PAGE) };
      walk.did({ unmap: { space: walk.name(fd, ioasId), at: hex(iova), ...size } });
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
      const [from, to] = [walk.name(fd, srcIoasId), walk.name(fd, dstIoasId)];
      const pages = Number(length / PAGE);
      walk.did({ copy: { from, at: hex(srcIova), to, toAt: hex(dstIova), pages } });
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
      walk.did({ detach: { device: nameOfDevice(found), pasid } });
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
      const id = fd.hwptAlloc({ devId, ptId, flags, data });
      recordTable(walk, fd, { id, devId, ptId, flags });
      return `${id} on ${ptId}`;
    },
  ],
  [
    "policy",
    (walk, fd, random) => {
      const policy = random.pick(POLICIES);
      walk.did({ policy: { of: `u${walk.contexts.indexOf(fd)}`, ...policy } });
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
      const [name, space] = [walk.name(fd, access.id), walk.name(fd, ioasId)];
      walk.did({ access: { name, space, pins: true } });
      return `${access.id} of ioas ${ioasId}`;
    },
  ],
  [
    "pin",
    (walk, fd, random) => {
      const id = walk.pick(fd, "access");
      if (id === undefined) return undefined;
      const access = fd.state.objects.get(id, "access") as Access;
      const at = someIova(random);
      walk.did({ pin: { access: walk.name(fd, id), at: hex(at) } });
      walk.pins().push([access, access.pin(at, PAGE)]);
      return `${id}`;
    },
  ],
  [
    "unpin",
    (walk, fd, random) => {
      const [found] = walk.pins().splice(random.below(walk.pins().length), 1);
      if (found !== undefined) recordUnpin(walk, fd, found[0]);
      found?.[0].unpin(found[1]);
      return found === undefined ? undefined : `${found[0].id}`;
    },
  ],
  [
    "close access",
    (walk, fd, random) => {
      const id = random.below(3) === 0 ? walk.pick(fd, "access") : undefined;
      if (id === undefined) return undefined;
      walk.recorder.leaveOut("accesses that are closed");
      (fd.state.objects.get(id, "access") as Access).close();
      return `${id}`;
    },
  ],
  [
    "kernel driver",
    (walk, _fd, random) => {
      const n = random.below(6);
      const bdf = device(n);
      walk.did({ driver: { device: `d${n}`, bind: "e1000e" } });
      walk.did({ driver: { device: `d${n}`, unbind: true } });
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
        walk.did({ destroy: walk.name(fd, old) });
        fd.destroy(old);
        return `${old} closed`;
      }
      const { id } = fd.faultQueueAlloc();
      walk.did({ queue: { name: walk.name(fd, id), in: `u${walk.contexts.indexOf(fd)}` } });
      return `${id}`;
    },
  ],
  [
    "viommu",
    (walk, fd) => {
      const [devId, hwptId] = [walk.pick(fd, "device"), walk.pick(fd, "hwpt-paging")];
      if (devId === undefined || hwptId === undefined) return undefined;
      walk.recorder.leaveOut("vIOMMUs");
      return `${fd.viommuAlloc({ devId, hwptId, type: MOCK_VIOMMU_TYPE }).id} on ${hwptId}`;
    },
  ],
  [
    "vdevice",
    (walk, fd, random) => {
      const [devId, viommuId] = [walk.pick(fd, "device"), walk.pick(fd, "viommu")];
      if (devId === undefined || viommuId === undefined) return undefined;
      const virtualId = BigInt(random.below(4));
      walk.recorder.leaveOut("vDEVICEs");
      return `${fd.vdeviceAlloc({ devId, viommuId, virtualId }).id}`;
    },
  ],
  [
    "nested ioas",
    (walk, fd, random) => {
      const parentId = walk.pick(fd, "ioas");
      if (parentId === undefined || random.below(4) > 0) return undefined;
      // Linux merges no address spaces in software.
      if (walk.rules === "linux-7.2") return undefined;
      const id = fd.nestedIoasAlloc(parentId);
      const [name, over] = [walk.name(fd, id), walk.name(fd, parentId)];
      walk.did({ space: { name, in: `u${walk.contexts.indexOf(fd)}`, over } });
      return `${id} on ${parentId}`;
    },
  ],
  [
    "nested map",
    (walk, fd, random) => {
      const childId = walk.pick(fd, "ioas");
      if (childId === undefined) return undefined;
      const [iova, parentIova] = [someIova(random), someIova(random)];
      const flags = RW | MapFlag.fixedIova;
      const space = walk.name(fd, childId);
      walk.did({ map: { space, parent: hex(parentIova), at: hex(iova) } });
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

/** A table on a space, or a guest's own on a table; what lies on a vIOMMU is left out. */
function recordTable(
  walk: ObjectWalk,
  fd: Iommufd,
  made: { id: number; devId: number; ptId: number; flags: number },
): void {
  const { id, devId, ptId, flags } = made;
  const kind = fd.state.objects.find(ptId)?.kind;
  if (kind === "viommu") {
    walk.recorder.leaveOut("tables on vIOMMUs");
    return;
  }
  const is = (bit: number) => ((flags & bit) !== 0 ? true : undefined);
  const table = {
    name: walk.name(fd, id),
    device: nameOfDevice(fd.device(devId)),
    on: walk.name(fd, ptId),
    pasid: is(HwptFlag.pasid),
    nestParent: is(HwptFlag.nestParent),
    guest: kind === "hwpt-paging" ? "guestTable" : undefined,
  };
  walk.did({ table });
}

/** The scenario gives back the last pin, the walk any of them. */
function recordUnpin(walk: ObjectWalk, fd: Iommufd, access: Access): void {
  walk.did({ unpin: walk.name(fd, access.id) });
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;
