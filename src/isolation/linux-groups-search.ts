/**
 * The search on one bus for a function whose group another may take: alias neighbours and slot
 * siblings.
 *
 * Depth first, first found wins, each device.function number visited once: the order matters
 * because groups are never merged afterwards. Only functions of one bus are ever looked at, so the
 * cost per function is bounded by the bus; a bus without aliases costs at most eight look-ups.
 */
import type { Bus, Fabric, PciFunction } from "../pcie/index.js";
import { bdfFromRid, type DevFn, makeRid } from "../units/index.js";
import type { AcsJudge } from "./acs-test.js";
import type { DmaAlias } from "./dma-alias.js";
import type { Evidence } from "./evidence.js";

export interface Found {
  /** The function whose group is taken. */
  readonly member: PciFunction;
  /** From the start of the search to `member`. */
  readonly because: readonly Evidence[];
}

/** Functions of one bus in the order Linux meets them, and which of them borrow numbers. */
interface BusView {
  readonly order: readonly PciFunction[];
  readonly borrowers: readonly {
    readonly fn: PciFunction;
    readonly numbers: ReadonlySet<number>;
  }[];
}

export class BusSearch {
  readonly #judge: AcsJudge;
  readonly #alias: (fn: PciFunction) => DmaAlias;
  readonly #hasGroup: (fn: PciFunction) => boolean;
  /** By number of the bus. */
  readonly #views: (BusView | undefined)[];
  readonly #grouped: Int32Array;

  constructor(
    fabric: Fabric,
    judge: AcsJudge,
    alias: (fn: PciFunction) => DmaAlias,
    hasGroup: (fn: PciFunction) => boolean,
  ) {
    this.#judge = judge;
    this.#alias = alias;
    this.#hasGroup = hasGroup;
    this.#views = new Array<BusView | undefined>(fabric.busCount);
    this.#grouped = new Int32Array(fabric.busCount);
  }

  /** Tells the search that `fn` now has a group. */
  noteGroup(fn: PciFunction): void {
    const { index } = fn.bus;
    this.#grouped[index] = (this.#grouped[index] as number) + 1;
  }

  /** Neighbours first, then siblings of the slot; undefined when nobody reachable has a group. */
  find(start: PciFunction): Found | undefined {
    if (this.#grouped[start.bus.index] === 0 || this.#isAlone(start)) return undefined;
    const visited = new Set<DevFn>();
    const trail: Evidence[] = [];
    const member = this.#neighbours(start, visited, trail) ?? this.#siblings(start, visited, trail);
    return member === undefined ? undefined : { member, because: trail };
  }

  /** Neither step 4 nor step 5 leads from it anywhere: the case of most functions. */
  #isAlone(fn: PciFunction): boolean {
    if (this.#hasGroup(fn) || this.#view(fn.bus).borrowers.length > 0) return false;
    return fn.multifunction !== true || this.#judge.verdict(fn).isolated;
  }

  /** Step 4 of the group rules. On success `trail` holds the way; otherwise it is as it was. */
  #neighbours(fn: PciFunction, visited: Set<DevFn>, trail: Evidence[]): PciFunction | undefined {
    if (visited.has(fn.devFn)) return undefined;
    visited.add(fn.devFn);
    if (this.#hasGroup(fn)) return fn;
    const view = this.#view(fn.bus);
    if (view.borrowers.length === 0) return undefined;
    const own = view.borrowers.find((b) => b.fn === fn)?.numbers;
    const holders = new Set(view.borrowers.filter((b) => b.numbers.has(fn.devFn)).map((b) => b.fn));
    for (const other of view.order) {
      if (other === fn || !(own?.has(other.devFn) || holders.has(other))) continue;
      trail.push(aliasStep(fn, other, own?.has(other.devFn) === true, this.#alias));
      const member =
        this.#neighbours(other, visited, trail) ?? this.#siblings(other, visited, trail);
      if (member !== undefined) return member;
      trail.pop();
    }
    return undefined;
  }

  /** Step 5: only between functions that do not isolate. */
  #siblings(fn: PciFunction, visited: Set<DevFn>, trail: Evidence[]): PciFunction | undefined {
    if (fn.multifunction !== true || this.#judge.verdict(fn).isolated) return undefined;
    for (const other of slotMates(fn)) {
      const verdict = this.#judge.verdict(other);
      if (verdict.isolated) continue;
      const before = trail.length;
      trail.push(
        {
          kind: "same-slot-not-isolated",
          at: fn.bdf,
          with: other.bdf,
          cite: "Linux pci_device_group, functions of one slot",
        },
        ...this.#judge.verdict(fn).because,
        ...verdict.because,
      );
      const member = this.#neighbours(other, visited, trail);
      if (member !== undefined) return member;
      trail.length = before;
    }
    return undefined;
  }

  #view(bus: Bus): BusView {
    let view = this.#views[bus.index];
    if (view === undefined) {
      const order = inLinuxOrder(bus.functions);
      const borrowers: { fn: PciFunction; numbers: ReadonlySet<number> }[] = [];
      for (const fn of order) {
        const { devFns } = this.#alias(fn);
        if (devFns.length > 0) borrowers.push({ fn, numbers: new Set<number>(devFns) });
      }
      view = { order, borrowers };
      this.#views[bus.index] = view;
    }
    return view;
  }
}

/** VFs come into being after the functions that enumeration finds. */
export function inLinuxOrder(functions: readonly PciFunction[]): readonly PciFunction[] {
  if (functions.length < 2 || !functions.some((fn) => fn.isVirtual)) return functions;
  return [...functions.filter((fn) => !fn.isVirtual), ...functions.filter((fn) => fn.isVirtual)];
}

/** Other functions of the same bus and the same five device bits. */
function slotMates(fn: PciFunction): PciFunction[] {
  const mates: PciFunction[] = [];
  for (let f = 0; f < 8; f++) {
    const other = fn.bus.at(fn.device * 8 + f);
    if (other !== undefined && other !== fn) mates.push(other);
  }
  return inLinuxOrder(mates) as PciFunction[];
}

function aliasStep(
  fn: PciFunction,
  other: PciFunction,
  ownHolds: boolean,
  alias: (fn: PciFunction) => DmaAlias,
): Evidence {
  const [holder, borrowed] = ownHolds ? [fn, other] : [other, fn];
  const known = alias(holder).because.find(
    (e) => e.kind === "alias-quirk" || e.kind === "alias-firmware",
  );
  return {
    kind: known?.kind ?? "alias-quirk",
    at: holder.bdf,
    with: bdfFromRid(borrowed.segment, borrowed.rid),
    rid: makeRid(borrowed.rid),
    quirk: known?.quirk,
    cite: known?.cite ?? "Linux PCI quirks, DMA alias rows",
  };
}
