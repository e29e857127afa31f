/**
 * Requester-ID sets: under which numbers may requests of a function arrive at the translation agent?
 *
 * The set is what an IOMMU table must cover for the function to work, and what decides whom it can be told
 * apart from. It is the function's own number, and in addition:
 *
 *   bridges     from the function up to the root bus, where a bridge to or from conventional PCI takes over:
 *               a PCIe-to-PCI bridge sends as 00.0 of its secondary bus (PCIe to PCI/PCI-X Bridge 1.0 § 2.3),
 *               a PCI-to-PCIe and a conventional bridge as themselves. PCI Express ports change nothing.
 *   quirks      devices known to send as a neighbour, present or not; bridges known to behave as another kind
 *   phantom     unclaimed function numbers of the device (PCIe 6 § 2.2.6.2), only where Phantom Functions
 *               are switched on: a device must not use them before, and Linux never switches them on
 *   VMD         functions of the child domain send as the volume management device and as nothing else
 *   firmware    IVRS alias entries
 *
 * Own numbers stay in the set behind a conventional bridge: a PCI-X bridge may keep them, and Linux maps them.
 * Cost: linear in functions plus the size of the answer; what lies above a bus is worked out once.
 */
import { type Bus, type Fabric, type PciFunction, PortType } from "../pcie/index.js";
import { bdfFromRid, makeRid, type Rid, ridOf, segmentOf } from "../units/index.js";
import type { Evidence } from "./evidence.js";
import { ivrsAliasOf } from "./firmware-alias.js";
import type { HostFacts } from "./host-facts.js";
import type { RequesterId, RequesterIdSet } from "./report-types.js";

/** How a bridge takes over requests from below; `end` also stops the walk. */
export type BridgeAlias = "passes" | "as-itself" | "as-secondary" | "end";

/** What tables of known devices add. The quirk data answers it; tests answer it by hand. */
export interface AliasKnowledge {
  /** Extra device.function numbers on the function's own bus, with the row that says so. */
  extra(fn: PciFunction): {
    readonly devFns: Iterable<number>;
    readonly because: Evidence | undefined;
    readonly unknown: Evidence | undefined;
  };
  /** Undefined: no row, the bridge behaves as its type says. */
  bridge(fn: PciFunction): { readonly alias: BridgeAlias; readonly because: Evidence } | undefined;
  /** The function that sends in place of `fn`. */
  realDmaDevice(fn: PciFunction): PciFunction | undefined;
}

export const NO_ALIAS_KNOWLEDGE: AliasKnowledge = {
  extra: () => ({ devFns: [], because: undefined, unknown: undefined }),
  bridge: () => undefined,
  realDmaDevice: () => undefined,
};

export const CITE_BRIDGE = "PCIe to PCI/PCI-X Bridge 1.0 § 2.3";
export const CITE_CONVENTIONAL = "PCI-to-PCI Bridge 1.2 § 4";
export const CITE_PHANTOM = "PCIe 6 § 2.2.6.2";
export const CITE_VMD = "Linux drivers/pci/controller/vmd.c: real DMA device";

/** The part of a set that everything on one bus shares. */
interface Above {
  readonly ids: readonly RequesterId[];
  readonly unknown: readonly Evidence[];
}

const NOTHING: Above = { ids: [], unknown: [] };

/** Sets of all functions of a fabric; each is worked out when asked for and kept. */
export class RequesterIds {
  readonly #facts: HostFacts;
  readonly #known: AliasKnowledge;
  readonly #above = new Map<Bus, Above>();
  readonly #sets = new Map<PciFunction, RequesterIdSet>();

  constructor(facts: HostFacts, known: AliasKnowledge) {
    this.#facts = facts;
    this.#known = known;
  }

  of(fn: PciFunction): RequesterIdSet {
    let set = this.#sets.get(fn);
    if (set === undefined) {
      set = this.#compute(fn);
      this.#sets.set(fn, set);
    }
    return set;
  }

  #compute(fn: PciFunction): RequesterIdSet {
    const sender = this.#known.realDmaDevice(fn) ?? fn;
    const why: Evidence | undefined =
      sender === fn
        ? undefined
        : { kind: "alias-vmd", at: fn.bdf, with: sender.bdf, cite: CITE_VMD };
    const out = new IdList(sender.segment);
    out.add(sender.rid, why);
    const extra = this.#known.extra(sender);
    for (const devFn of extra.devFns) {
      out.add(makeRid(sender.busNumber * 256 + devFn), extra.because);
    }
    const alias = ivrsAliasOf(this.#facts.ivrs, sender.segment, sender.rid);
    if (alias !== undefined) out.add(alias.rid, { ...alias.because, at: sender.bdf });
    const unknown: Evidence[] = extra.unknown === undefined ? [] : [extra.unknown];
    addPhantoms(sender, out, unknown);
    const above = this.#aboveOf(sender.bus);
    for (const id of above.ids) out.add(id.rid, id.because);
    return { device: fn.bdf, ids: out.ids, unknown: [...unknown, ...above.unknown] };
  }

  /** Walks up without recursion, then fills in top down. */
  #aboveOf(bus: Bus): Above {
    const chain: Bus[] = [];
    let here: Bus | undefined = bus;
    while (here !== undefined && !this.#above.has(here)) {
      chain.push(here);
      here = here.bridge?.bus;
    }
    for (let i = chain.length - 1; i >= 0; i--) {
      const at = chain[i] as Bus;
      this.#above.set(at, this.#oneStep(at));
    }
    return this.#above.get(bus) ?? NOTHING;
  }

  #oneStep(bus: Bus): Above {
    const bridge = bus.bridge;
    if (bridge === undefined) return NOTHING;
    const step = this.#aliasOf(bridge);
    if (step.alias === "end") return NOTHING;
    const rest = this.#above.get(bridge.bus) ?? NOTHING;
    if (step.unknown !== undefined) {
      return { ids: rest.ids, unknown: [step.unknown, ...rest.unknown] };
    }
    if (step.alias === "passes") return rest;
    const rid =
      step.alias === "as-itself" ? bridge.rid : makeRid((bridge.secondaryBus ?? bus).number * 256);
    const because: Evidence = { kind: "alias-bridge", at: bridge.bdf, rid, ...step.why };
    return { ids: [{ segment: bridge.segment, rid, because }, ...rest.ids], unknown: rest.unknown };
  }

  #aliasOf(bridge: PciFunction): {
    alias: BridgeAlias;
    why: { cite: string; quirk?: string | undefined };
    unknown?: Evidence;
  } {
    const known = this.#known.bridge(bridge);
    if (known !== undefined) {
      return { alias: known.alias, why: { cite: known.because.cite, quirk: known.because.quirk } };
    }
    const why = { cite: bridge.isPcie === true ? CITE_BRIDGE : CITE_CONVENTIONAL };
    if (bridge.isPcie === undefined) {
      const unknown: Evidence = {
        kind: "alias-unknown",
        at: bridge.bdf,
        detail: "bridge type",
        cite: CITE_BRIDGE,
      };
      return { alias: "passes", why, unknown };
    }
    return { alias: bridgeAliasByType(bridge), why };
  }
}

/** What a bridge of known type does to the requester IDs of what is below. */
export function bridgeAliasByType(bridge: PciFunction): BridgeAlias {
  if (bridge.isPcie === false) return "as-itself";
  if (bridge.portType === PortType.PcieToPciBridge) return "as-secondary";
  if (bridge.portType === PortType.PciToPcieBridge) return "as-itself";
  return "passes";
}

/** Function numbers that the device may borrow: those with other top bits, as long as nobody has them. */
export function phantomRids(fn: PciFunction): Rid[] {
  const bits = fn.express?.phantomBits ?? 0;
  const step = 8 >> bits;
  if (bits === 0 || fn.fn >= step || fn.isVirtual) return [];
  const out: Rid[] = [];
  for (let number = fn.fn + step; number < 8; number += step) {
    const rid = (fn.rid & ~7) | number;
    if (fn.bus.at(rid & 0xff) === undefined) out.push(makeRid(rid));
  }
  return out;
}

function addPhantoms(fn: PciFunction, out: IdList, unknown: Evidence[]): void {
  const enabled = fn.express?.phantomEnabled;
  if ((fn.express?.phantomBits ?? 0) === 0 || enabled === false) return;
  const rids = phantomRids(fn);
  if (rids.length === 0) return;
  if (enabled === undefined) {
    unknown.push({ kind: "alias-phantom", at: fn.bdf, cite: CITE_PHANTOM });
    return;
  }
  for (const rid of rids) {
    out.add(rid, { kind: "alias-phantom", at: fn.bdf, rid, cite: CITE_PHANTOM });
  }
}

/** Keeps order and drops repetitions; a set is built only when the list is long. */
class IdList {
  readonly ids: RequesterId[] = [];
  readonly #segment: number;
  #seen: Set<number> | undefined;

  constructor(segment: number) {
    this.#segment = segment;
  }

  add(rid: Rid, because: Evidence | undefined): void {
    if (this.#has(rid)) return;
    const evidence = because === undefined || because.rid === rid ? because : { ...because, rid };
    this.ids.push({ segment: this.#segment, rid, because: evidence });
    this.#seen?.add(rid);
  }

  #has(rid: Rid): boolean {
    if (this.#seen !== undefined) return this.#seen.has(rid);
    if (this.ids.length < 16) return this.ids.some((id) => id.rid === rid);
    this.#seen = new Set(this.ids.map((id) => id.rid));
    return this.#seen.has(rid);
  }
}

/** The function that answers to a requester ID, if it is present. */
export function functionOfRequester(fabric: Fabric, id: RequesterId): PciFunction | undefined {
  return fabric.function(bdfFromRid(id.segment, id.rid));
}

/** A number unique over segments, for tables keyed by requester. */
export function requesterKey(id: RequesterId): number {
  return id.segment * 65536 + id.rid;
}

/** A function's own requester key. */
export function ownKey(fn: PciFunction): number {
  return segmentOf(fn.bdf) * 65536 + ridOf(fn.bdf);
}
