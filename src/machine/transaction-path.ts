/**
 * The way of one transaction: hop by hop to the root complex, through the sender's IOMMU unit, and
 * on to memory, a device or the processors. Every end of it is here.
 *
 * Which unit serves a request depends on where it was sent from, never on the requester ID that it
 * claims: units sit in the root complex, above the ports of their devices.
 */
import type { DeviceCompletion, DeviceRequest } from "../devices/index.js";
import { DmaStatus, type Interrupt } from "../iommu/index.js";
import { MemoryStatus, memoryStatusName, type PhysicalMemory } from "../memory/index.js";
import {
  acsBitNames,
  addressOf,
  isPosted,
  type MemoryRequest,
  memoryBars,
  Outcome,
  type PciFunction,
  type RouteWalk,
  readHops,
} from "../pcie/index.js";
import { type Bdf, makeRid } from "../units/index.js";
import { added, fitted, wordOf } from "./access-bytes.js";
import type { Delivery, LostReason } from "./delivery.js";
import type { MachineUnit } from "./machine-unit.js";
import type { SlotMap } from "./slot-map.js";
import type { MachineObserver, TraceRecord } from "./trace.js";

/** An interrupt that reached the processors. */
export interface DeliveredInterrupt {
  /** Undefined: of an IOMMU unit itself. */
  readonly from: Bdf | undefined;
  readonly remapped: boolean;
  readonly interrupt: Interrupt | undefined;
  readonly data: number;
}

/** What the sender sees, and what became of the request. */
export interface Transaction {
  readonly completion: DeviceCompletion;
  readonly delivery: Delivery;
}

/** What the path takes from its machine. */
export interface PathHost {
  readonly slots: SlotMap;
  readonly memory: PhysicalMemory;
  readonly unitOf: (fn: PciFunction) => MachineUnit | undefined;
  readonly observer: () => MachineObserver | undefined;
  readonly interrupt: (interrupt: DeliveredInterrupt) => void;
}

const INTERRUPT_FIRST = 0xfee00;
const INTERRUPT_LAST = 0xfeeff;
const UNTRANSLATED = 0;
const TRANSLATION_REQUEST = 1;
const POSTED: DeviceCompletion = { kind: "posted" };
const FRAMES = 2 ** 40;

const LOST: Readonly<Record<ReturnType<typeof memoryStatusName>, LostReason>> = {
  ok: "absent-memory",
  absent: "absent-memory",
  poisoned: "poisoned-memory",
  violation: "access-violation",
  mmio: "absent-memory",
  interrupt: "unsupported-request",
};

/** Carries transactions of one machine. */
export class TransactionPath {
  readonly #host: PathHost;

  constructor(host: PathHost) {
    this.#host = host;
  }

  transact(from: Bdf, request: DeviceRequest): Transaction {
    const { tlp } = request;
    const { slots } = this.#host;
    if (this.#host.observer() !== undefined) this.#tellRequest(from, tlp);
    const fn = slots.present(from) === undefined ? undefined : slots.fabric.function(from);
    const done =
      fn === undefined ? this.#lost(tlp, "unplugged", undefined) : this.#route(fn, request);
    this.#tell({ kind: "delivered", delivery: done.delivery });
    return done;
  }

  #route(fn: PciFunction, request: DeviceRequest): Transaction {
    const { tlp } = request;
    const { router } = this.#host.slots;
    const walk = router.walk(router.model.indexOf(fn), tlp);
    this.#tellHops(walk, 0);
    switch (walk.outcome) {
      case Outcome.Peer:
        return this.#toPeer(walk, request, tlp.pfn, tlp.offset, false);
      case Outcome.TranslationAgent:
        return this.#arrive(fn, walk, request);
      case Outcome.AcsViolation:
        return this.#lost(tlp, "acs-violation", walk, "completer-abort");
      case Outcome.PrefixBlocked:
        return this.#lost(tlp, "prefix-blocked", walk);
      case Outcome.Malformed:
        return this.#lost(tlp, "malformed", walk, "timeout");
      default:
        return this.#lost(tlp, "unsupported-request", walk);
    }
  }

  #arrive(fn: PciFunction, walk: RouteWalk, request: DeviceRequest): Transaction {
    const { tlp } = request;
    const { requester, addressType } = walk;
    const unit = this.#host.unitOf(fn);
    if (unit === undefined) {
      if (addressType === TRANSLATION_REQUEST) return this.#lost(tlp, "no-translation-agent", walk);
      if (isInterrupt(tlp) && addressType === UNTRANSLATED) return this.#interrupt(fn, request);
      return this.#onward(walk, request, tlp.pfn, tlp.offset);
    }
    this.#tell({ kind: "unit", unit: unit.name, requester: makeRid(requester) });
    const status = unit.translate(tlp, requester, addressType);
    switch (status) {
      case DmaStatus.translated:
        return this.#translated(unit, walk, request);
      case DmaStatus.completed:
        return this.#completed(unit);
      case DmaStatus.interrupt:
        return this.#interruptThrough(unit, fn, request, requester);
      default:
        return this.#faulted(unit, tlp, requester);
    }
  }

  #translated(unit: MachineUnit, walk: RouteWalk, request: DeviceRequest): Transaction {
    const { pfn, answer } = unit;
    const { offset } = request.tlp;
    if (this.#host.observer() !== undefined) {
      const address = BigInt(pfn) * 4096n + BigInt(offset);
      const { name, source } = unit;
      const { domainId } = answer;
      this.#tell({ kind: "translated", unit: name, address, source, domainId });
    }
    return this.#onward(walk, request, pfn, offset);
  }

  #completed(unit: MachineUnit): Transaction {
    const translation = unit.translationCompletion();
    const { read, write } = translation;
    return {
      completion: { kind: "translation", translation },
      delivery: { kind: "translation", read, write },
    };
  }

  #faulted(unit: MachineUnit, tlp: MemoryRequest, requester: number): Transaction {
    const { reason, completion } = unit.answer;
    const kind =
      tlp.addressType === "translation-request" && completion === "completer-abort"
        ? "completer-abort"
        : "unsupported-request";
    return {
      completion: isPosted(tlp.access) ? POSTED : { kind },
      delivery: faultOf(unit, reason, requester),
    };
  }

  /** From the root complex on: down to a device that claims the address, or to memory. */
  #onward(walk: RouteWalk, request: DeviceRequest, pfn: number, offset: number): Transaction {
    const hops = walk.hopCount;
    const outcome = walk.descend(pfn, offset);
    this.#tellHops(walk, hops);
    if (outcome === Outcome.None) return this.#toMemory(request, pfn, offset);
    if (outcome === Outcome.Peer) return this.#toPeer(walk, request, pfn, offset, true);
    return this.#lost(request.tlp, "unsupported-request", walk);
  }

  #toMemory(request: DeviceRequest, pfn: number, offset: number): Transaction {
    const { tlp, data } = request;
    const { memory } = this.#host;
    const { length, access } = tlp;
    const old = new Uint8Array(access === "write" ? 0 : length);
    // Addresses beyond 52 bits are nobody's.
    let status: MemoryStatus = pfn < FRAMES ? MemoryStatus.ok : MemoryStatus.absent;
    if (status === MemoryStatus.ok && access !== "write") status = memory.read(pfn, offset, old);
    if (status === MemoryStatus.ok && access !== "read") {
      const bytes = access === "write" ? fitted(data, length) : added(old, data);
      status = memory.write(pfn, offset, bytes);
    }
    if (status !== MemoryStatus.ok) {
      return this.#lost(tlp, LOST[memoryStatusName(status)], undefined);
    }
    const address = BigInt(pfn) * 4096n + BigInt(offset);
    return {
      completion: access === "write" ? POSTED : { kind: "data", data: old },
      delivery: { kind: "memory", address, length },
    };
  }

  #toPeer(
    walk: RouteWalk,
    request: DeviceRequest,
    pfn: number,
    offset: number,
    byAgent: boolean,
  ): Transaction {
    const { tlp, data } = request;
    const { slots } = this.#host;
    const fn = slots.router.model.functions[walk.at] as PciFunction;
    const endpoint = slots.present(fn.bdf)?.endpoint;
    const { bar } = walk;
    const base = memoryBars(fn)?.find(({ index }) => index === bar)?.base ?? 0n;
    const at = BigInt(pfn) * 4096n + BigInt(offset) - base;
    const delivery: Delivery = { kind: "peer", device: fn.bdf, bar, offset: at, byAgent };
    const where = Number(at);
    if (tlp.access === "write") {
      endpoint?.writeBar(bar, where, fitted(data, tlp.length));
      return { completion: POSTED, delivery };
    }
    const old = endpoint?.readBar(bar, where, tlp.length) ?? new Uint8Array(tlp.length);
    if (tlp.access === "atomic") endpoint?.writeBar(bar, where, added(old, data));
    return { completion: { kind: "data", data: old }, delivery };
  }

  /** A host without interrupt remapping takes any message for what it says. */
  #interrupt(fn: PciFunction, { tlp, data }: DeviceRequest): Transaction {
    const isMessage = tlp.access === "write" && tlp.length === 4 && tlp.offset % 4 === 0;
    if (!isMessage) return this.#lost(tlp, "unsupported-request", undefined);
    const word = wordOf(data);
    const rest = { remapped: false, interrupt: undefined, data: word } as const;
    this.#host.interrupt({ from: fn.bdf, ...rest });
    return { completion: POSTED, delivery: { kind: "interrupt", ...rest } };
  }

  #interruptThrough(
    unit: MachineUnit,
    fn: PciFunction,
    { tlp, data }: DeviceRequest,
    requester: number,
  ): Transaction {
    const word = wordOf(data);
    const answer = unit.iommu.interrupt({
      requester,
      address: (tlp.pfn % 0x10_0000) * 4096 + tlp.offset,
      upperAddress: Math.floor(tlp.pfn / 0x10_0000),
      data: word,
    });
    if (answer.kind === "fault") {
      return { completion: POSTED, delivery: faultOf(unit, answer.reason, requester) };
    }
    const { remapped, interrupt } = answer;
    const rest = { remapped, interrupt, data: word };
    this.#host.interrupt({ from: fn.bdf, ...rest });
    return { completion: POSTED, delivery: { kind: "interrupt", ...rest } };
  }

  #lost(
    tlp: MemoryRequest,
    why: LostReason,
    walk: RouteWalk | undefined,
    answer: "completer-abort" | "unsupported-request" | "timeout" = "unsupported-request",
  ): Transaction {
    const { slots } = this.#host;
    const at = walk === undefined ? undefined : slots.router.model.functions[walk.at]?.bdf;
    const bits = walk === undefined ? [] : acsBitNames(walk.bits);
    return {
      completion: isPosted(tlp.access) ? POSTED : { kind: answer },
      delivery: { kind: "lost", why, at, bits },
    };
  }

  #tell(record: TraceRecord): void {
    this.#host.observer()?.record(record);
  }

  #tellRequest(from: Bdf, tlp: MemoryRequest): void {
    const { requester, access, addressType, length, prefix } = tlp;
    const address = addressOf(tlp);
    const what = { requester, access, addressType, address, length, prefix };
    this.#tell({ kind: "request", from, ...what });
  }

  #tellHops(walk: RouteWalk, from: number): void {
    const observer = this.#host.observer();
    if (observer === undefined) return;
    const hops = readHops(this.#host.slots.router.model, walk);
    for (let i = from; i < hops.length; i++) {
      const hop = hops[i];
      if (hop !== undefined) observer.record({ kind: "hop", hop });
    }
  }
}

function faultOf(unit: MachineUnit, reason: number, requester: number): Delivery {
  const name = unit.iommu.faultName(reason);
  return { kind: "fault", unit: unit.name, reason, name, requester: makeRid(requester) };
}

function isInterrupt(tlp: MemoryRequest): boolean {
  return tlp.pfn >= INTERRUPT_FIRST && tlp.pfn <= INTERRUPT_LAST && tlp.prefix === undefined;
}
