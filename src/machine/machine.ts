/**
 * Machine: a host that runs. Devices issue transactions; the machine routes each hop by hop, has an
 * IOMMU unit translate it, and lets it reach memory, a peer or the processors.
 *
 * Invariants: transactions travel by TransactionPath only. Every step is told to the observer in
 * the order it happens; without an observer nothing is recorded. Fabric and router are snapshots
 * that follow configuration writes, plugging and unplugging.
 */
import {
  type DevicePort,
  type DeviceRequest,
  DmaEngine,
  type Endpoint,
  type EngineOptions,
  type PageRequestMessage,
  PageResponse,
} from "../devices/index.js";
import {
  analyse,
  effectiveAcs,
  type HostFacts,
  type IommuScope,
  iommuScope,
  vmdDomains,
} from "../isolation/index.js";
import { PhysicalMemory } from "../memory/index.js";
import {
  type AccessLength,
  CONFIG_SIZE,
  type ConfigEffect,
  type ConfigRegisters,
  type Fabric,
  type PciFunction,
  type RouteOptions,
  type Router,
  readSrIov,
  vfRids,
} from "../pcie/index.js";
import type { BuiltPlatform } from "../platform/index.js";
import { type Bdf, bdfFromRid, makePasid, makeRid, ridOf, segmentOf } from "../units/index.js";
import { wide } from "./access-bytes.js";
import { MachineUnit, type UnitMaker } from "./machine-unit.js";
import { makeUnit } from "./make-unit.js";
import { chooseMemoryLayout } from "./memory-layout.js";
import { type Slot, SlotMap } from "./slot-map.js";
import { changesRouting } from "./topology-registers.js";
import type { MachineObserver, TraceRecord } from "./trace.js";
import { type DeliveredInterrupt, type Transaction, TransactionPath } from "./transaction-path.js";
import { planUnits } from "./unit-plans.js";

export interface MachineOptions {
  /** Default: VT-d hardware, see make-unit.ts. */
  readonly makeUnit?: UnitMaker | undefined;
  /** Routing beyond the registers; default {@link hardwareRouting}. */
  readonly routeOptions?: ((fabric: Fabric, facts: HostFacts) => RouteOptions) | undefined;
  readonly memory?: PhysicalMemory | undefined;
}

const STATUS = 0x06;
const INTERRUPT_STATUS = 0x08;

/** One host; see the head of this file. */
export class Machine {
  /** As the platform says, with the capability registers that the units have. */
  readonly facts: HostFacts;
  readonly names: ReadonlyMap<string, Bdf>;
  readonly platform: BuiltPlatform;
  readonly memory: PhysicalMemory;
  readonly units: readonly MachineUnit[];
  /** Called for every interrupt that reaches the processors. */
  onInterrupt: ((interrupt: DeliveredInterrupt) => void) | undefined;
  /** Called when a unit has a fault or a page request for its driver. */
  onUnitEvent: (() => void) | undefined;
  /** Called when the interrupt pin of a function goes up or down. */
  onPin: ((from: Bdf, up: boolean) => void) | undefined;
  /** Called after {@link restoreConfig}: what else a reset has taken can be put back. */
  onRestored: ((bdf: Bdf) => void) | undefined;
  readonly #slots: SlotMap;
  #observer: MachineObserver | undefined;
  #scope: IommuScope | undefined;
  #scopeGeneration = -1;
  readonly #path: TransactionPath;

  constructor(platform: BuiltPlatform, options: MachineOptions = {}) {
    this.platform = platform;
    this.names = platform.names;
    const routeOptions = options.routeOptions ?? hardwareRouting;
    this.#slots = new SlotMap(
      platform.functions,
      (fabric) => routeOptions(fabric, platform.facts),
      (...write) => this.#written(...write),
    );
    this.memory = options.memory ?? new PhysicalMemory(chooseMemoryLayout(this.fabric));
    const maker = options.makeUnit ?? makeUnit;
    this.units = planUnits(platform).map((plan) => {
      const iommu = maker(plan, this.memory, {
        invalidateDeviceTlb: (request) => {
          const bdf = bdfFromRid(plan.segment, request.requester);
          const endpoint = this.#slots.present(bdf)?.endpoint;
          const pasid = request.pasid === undefined ? undefined : makePasid(request.pasid);
          endpoint?.invalidateAtc({
            pasid,
            pfn: request.frame,
            pageCount: request.pageCount,
            global: request.global,
          });
          const answered = endpoint !== undefined;
          const to = makeRid(request.requester);
          this.#tell({ kind: "device-tlb-invalidation", to, pasid, answered });
          return answered;
        },
        answerPageGroup: ({ requester, pasid, groupIndex, code }) => {
          const to = bdfFromRid(plan.segment, requester);
          this.#answerPage(to, pasid, groupIndex, code);
        },
        sendInterrupt: (_address, _upper, data) => {
          this.onInterrupt?.({ from: undefined, remapped: false, interrupt: undefined, data });
        },
      });
      return new MachineUnit(plan, iommu);
    });
    this.facts = withRegisters(platform.facts, this.units);
    this.#path = new TransactionPath({
      slots: this.#slots,
      memory: this.memory,
      unitOf: (fn) => this.#unitOf(fn),
      observer: () => this.#observer,
      interrupt: (interrupt) => this.onInterrupt?.(interrupt),
    });
    for (const bdf of platform.engines) this.#addEngine(bdf);
  }

  get fabric(): Fabric {
    return this.#slots.fabric;
  }

  get router(): Router {
    return this.#slots.router;
  }

  /** Counts topology changes. */
  get generation(): number {
    return this.#slots.generation;
  }

  /** Functions that are or were there; it grows when one appears for the first time. */
  get functionCount(): number {
    return this.#slots.size;
  }

  /** Told of every step while set. */
  set observer(observer: MachineObserver | undefined) {
    this.#observer = observer;
    for (const { iommu, name } of this.units) {
      iommu.observer =
        observer === undefined
          ? undefined
          : {
              entryRead: (structure, level, lo, hi, valueLo, valueHi) => {
                const address = wide(lo, hi);
                const value = wide(valueLo, valueHi);
                observer.record({ kind: "entry", unit: name, structure, level, address, value });
              },
            };
    }
  }

  get observer(): MachineObserver | undefined {
    return this.#observer;
  }

  /** Undefined when it is not there (any more). */
  endpoint(bdf: Bdf): Endpoint | undefined {
    return this.#slots.present(bdf)?.endpoint;
  }

  /** The engine of a function; undefined for stubs and absent functions. */
  engine(bdf: Bdf): DmaEngine | undefined {
    const endpoint = this.endpoint(bdf);
    return endpoint instanceof DmaEngine ? endpoint : undefined;
  }

  isPresent(bdf: Bdf): boolean {
    return this.#slots.present(bdf) !== undefined;
  }

  /** The unit that serves requests of a function; undefined outside of every scope. */
  unitOf(bdf: Bdf): MachineUnit | undefined {
    const fn = this.fabric.function(bdf);
    return fn === undefined ? undefined : this.#unitOf(fn);
  }

  /** Configuration read; all ones when nobody answers (PCIe 6 § 2.3.2). */
  configRead(bdf: Bdf, offset: number, length: AccessLength): number {
    const slot = this.#slots.present(bdf);
    return slot === undefined ? 2 ** (8 * length) - 1 : slot.registers.read(offset, length);
  }

  /** Configuration write, with all that it sets off; dropped when nobody is there. */
  configWrite(bdf: Bdf, offset: number, length: AccessLength, value: number): void {
    this.#slots.present(bdf)?.registers.write(offset, length, value);
  }

  /** Configuration registers; undefined when the function is not there. */
  registers(bdf: Bdf): ConfigRegisters | undefined {
    return this.#slots.present(bdf)?.registers;
  }

  /** Configuration space as it is now, for {@link restoreConfig}. Undefined when nobody is there.
   * */
  saveConfig(bdf: Bdf): Uint8Array | undefined {
    const { bytes } = this.#slots.present(bdf)?.registers.snapshot() ?? {};
    if (bytes === undefined) return undefined;
    const out = new Uint8Array(CONFIG_SIZE);
    out.set(bytes);
    return out;
  }

  /**
   * Puts back what a reset has changed, as software does that saved it before. Sets nothing off but
   * what the registers switch on.
   */
  restoreConfig(bdf: Bdf, saved: Uint8Array): void {
    const slot = this.#slots.present(bdf);
    if (slot === undefined) return;
    saved.forEach((byte, at) => {
      slot.registers.poke(at, 1, byte);
    });
    this.#slots.stale();
    slot.endpoint.configWritten([]);
    this.onRestored?.(bdf);
  }

  /** A function, everything below it, and its VFs. */
  below(bdf: Bdf): readonly Bdf[] {
    return this.#withBelow(bdf);
  }

  /** Takes a function out, with everything below it and its VFs. @returns what left. */
  unplug(bdf: Bdf): readonly Bdf[] {
    const gone = this.#withBelow(bdf);
    for (const each of gone) this.#slots.setPresent(each, false);
    return gone;
  }

  /**
   * Puts back what was unplugged, as software finds it after it has given out addresses again:
   * everything else is as after power on.
   */
  plug(bdfs: readonly Bdf[]): void {
    for (const bdf of bdfs) {
      const slot = this.#slots.find(bdf);
      if (slot === undefined || slot.present) continue;
      slot.registers.reset("power");
      const { config } = slot.description;
      for (let at = 0x04; at < 0x40; at++) slot.registers.poke(at, 1, config.u8(at));
      slot.endpoint.configWritten(["power-reset"]);
      this.#slots.setPresent(bdf, true);
    }
  }

  /** A function sends one request. */
  transact(from: Bdf, request: DeviceRequest): Transaction {
    const done = this.#path.transact(from, request);
    if (done.delivery.kind === "fault") this.onUnitEvent?.();
    return done;
  }

  #written(
    bdf: Bdf,
    effects: readonly ConfigEffect[],
    changed: boolean,
    offset: number,
    length: AccessLength,
  ): void {
    const slot = this.#slots.find(bdf);
    if (slot === undefined) return;
    if (effects.includes("vf-disable")) this.#hideVirtual(bdf);
    if (effects.includes("vf-enable")) this.#showVirtual(slot);
    slot.endpoint.configWritten(effects);
    if (effects.includes("function-level-reset")) this.#resetVirtual(bdf);
    if (effects.includes("secondary-bus-reset")) this.#resetBelow(bdf);
    const { fn } = slot.endpoint;
    if (effects.length > 0 || (changed && changesRouting(fn, offset, length))) this.#slots.stale();
  }

  #addEngine(bdf: Bdf): void {
    const slot = this.#slots.find(bdf);
    if (slot === undefined) return;
    const { fn, registers } = slot.endpoint;
    const physical =
      fn.physfn === undefined ? undefined : this.#slots.find(fn.physfn.bdf)?.registers;
    const port: DevicePort = {
      issue: (request) => this.transact(bdf, request).completion,
      requestPage: (message) => this.#requestPage(bdf, message),
      pin: (up) => this.#movePin(slot, up),
    };
    const options: EngineOptions = { registers, physical };
    slot.endpoint = new DmaEngine(fn, port, options);
  }

  /** Interrupt Status shows the pin (PCIe 6 § 7.5.1.1.4). */
  #movePin({ registers, description }: Slot, up: boolean): void {
    const old = registers.read(STATUS, 2);
    registers.poke(STATUS, 2, up ? old | INTERRUPT_STATUS : old & ~INTERRUPT_STATUS);
    this.onPin?.(description.bdf, up);
  }

  #requestPage(from: Bdf, message: PageRequestMessage): void {
    this.#tell({ kind: "page-request", from, message });
    const fn = this.fabric.function(from);
    const unit = fn === undefined ? undefined : this.#unitOf(fn);
    if (fn === undefined || unit === undefined) {
      this.#answerPage(from, message.pasid, message.group, PageResponse.ResponseFailure);
      return;
    }
    const answer = unit.iommu.pageRequest({
      requester: fn.rid,
      pasid: message.pasid,
      privileged: message.privileged,
      execute: message.execute,
      read: message.read,
      write: message.write,
      last: message.last,
      groupIndex: message.group,
      frame: message.pfn,
    });
    this.onUnitEvent?.();
    if (answer.kind !== "answered" || answer.code === undefined) return;
    this.#answerPage(from, message.pasid, message.group, answer.code);
  }

  #answerPage(to: Bdf, pasid: number | undefined, group: number, code: number): void {
    this.#tell({ kind: "page-answer", to, group, code });
    const known = code === PageResponse.Success || code === PageResponse.InvalidRequest;
    this.#slots.present(to)?.endpoint.pageResponse({
      pasid: pasid === undefined ? undefined : makePasid(pasid),
      group,
      code: known ? code : PageResponse.ResponseFailure,
    });
  }

  #unitOf(fn: PciFunction): MachineUnit | undefined {
    if (this.#scope === undefined || this.#scopeGeneration !== this.generation) {
      this.#scope = iommuScope(this.fabric, this.facts);
      this.#scopeGeneration = this.generation;
    }
    const owner = this.router.model.options.segmentOwner?.(fn.segment);
    const index = this.#scope.unitOf(owner ?? fn);
    return index === undefined ? undefined : this.units[index];
  }

  #withBelow(bdf: Bdf): Bdf[] {
    const fn = this.fabric.function(bdf);
    if (fn === undefined) return [];
    const out: Bdf[] = [];
    const queue = [fn];
    const seen = new Set<PciFunction>();
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      if (seen.has(next)) continue;
      seen.add(next);
      out.push(next.bdf);
      queue.push(...(next.secondaryBus?.functions ?? []), ...this.#virtualOf(next));
    }
    return out;
  }

  #virtualOf(pf: PciFunction): PciFunction[] {
    if (!pf.sriov) return [];
    return this.fabric.functions.filter((fn) => fn.physfn === pf);
  }

  #hideVirtual(pf: Bdf): void {
    for (const [bdf, slot] of this.#slots.all()) {
      if (slot.endpoint.fn.physfn?.bdf === pf) this.#slots.setPresent(bdf, false);
    }
  }

  /** As many VFs as NumVFs says, as after power on; those never seen before are made. */
  #showVirtual(pf: Slot): void {
    const { bdf } = pf.description;
    const known = pf.endpoint.fn.sriov;
    if (!known) return;
    const facts = readSrIov(pf.registers.snapshot(), known.offset);
    for (const [index, rid] of vfRids(ridOf(bdf), facts).entries()) {
      const at = bdfFromRid(segmentOf(bdf), rid);
      const slot = this.#slots.find(at);
      if (slot === undefined) {
        const made = this.platform.virtualFunction(bdf, index);
        if (made === undefined || made.description.bdf !== at) continue;
        this.#slots.add([made.description]);
        if (made.engine) this.#addEngine(at);
      } else if (!slot.present) {
        slot.registers.reset("power");
        slot.endpoint.configWritten(["power-reset"]);
        this.#slots.setPresent(at, true);
      }
    }
  }

  /** A reset of the PF takes its VFs' state with it (PCIe 6 § 9.2.2.3). */
  #resetVirtual(pf: Bdf): void {
    for (const [, slot] of this.#slots.all()) {
      if (slot.endpoint.fn.physfn?.bdf === pf) resetSlot(slot, "function-level");
    }
  }

  #resetBelow(bridge: Bdf): void {
    for (const bdf of this.#withBelow(bridge)) {
      const slot = this.#slots.find(bdf);
      if (bdf !== bridge && slot !== undefined) resetSlot(slot, "conventional");
    }
  }

  #tell(record: TraceRecord): void {
    this.#observer?.record(record);
  }
}

function resetSlot(slot: Slot, kind: "function-level" | "conventional"): void {
  slot.registers.reset(kind);
  slot.endpoint.configWritten(["function-level-reset"]);
}

/**
 * What the registers do not show: ports that isolate although they say nothing of it (quirks), and
 * VMD functions that send for a whole segment. What hardware does has no kernel version: the newest
 * rules know most of it.
 */
export function hardwareRouting(fabric: Fabric, facts: HostFacts): RouteOptions {
  const { judge } = analyse(fabric, facts).linuxUnder("linux-7.2");
  const owners = vmdDomains(fabric, "linux-7.2");
  return {
    effectiveAcs: (fn) => effectiveAcs(fn, judge),
    segmentOwner: (segment) => owners.get(segment)?.vmd,
  };
}

/** Offsets of the capability registers; VT-d 5.0 § 11.4. */
const CAPABILITY = 0x08;
const EXTENDED_CAPABILITY = 0x10;

function withRegisters(facts: HostFacts, units: readonly MachineUnit[]): HostFacts {
  const { dmar } = facts;
  if (dmar === undefined || units.length === 0) return facts;
  const filled = dmar.units.map((unit, i) => {
    const iommu = units[i]?.iommu;
    if (iommu?.kind !== "vtd") return unit;
    const cap = iommu.readRegister64(CAPABILITY);
    return { ...unit, cap, ecap: iommu.readRegister64(EXTENDED_CAPABILITY) };
  });
  return { ...facts, dmar: { ...dmar, units: filled } };
}
