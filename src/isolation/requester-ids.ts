/**
 * Requester-ID sets: under which numbers may requests of a function arrive at the translation
 * agent?
 *
 * The set is what an IOMMU table must cover for the function to work, and what decides whom it can
 * be told apart from. It is the function's own number, and in addition:
 *
 *   bridges     from the function up to the root bus, where a bridge to or from conventional PCI
 *               takes over: a PCIe-to-PCI bridge sends as 00.0 of its secondary bus (PCIe to
 *               PCI/PCI-X Bridge 1.0 § 2.3), a PCI-to-PCIe and a conventional bridge as
 *               themselves. PCI Express ports change nothing.
 *   quirks      devices known to send as a neighbour, present or not; bridges known to behave as
 *               another kind
 *   phantom     unclaimed function numbers of the device (PCIe 6 § 2.2.6.2), only where Phantom
 *               Functions are switched on: a device must not use them before, and Linux never
 *               switches them on
 *   VMD         functions of the child domain send as the volume management device and as
 *               nothing else
 *   firmware    IVRS alias entries
 *
 * Own numbers stay in the set behind a conventional bridge: a PCI-X bridge may keep them, and Linux
 * maps them. Cost: linear in functions plus the size of the answer; what lies above a bus is worked
 * out once.
 */
import type { Bus, Fabric, PciFunction } from "../pcie/index.js";
import { makeRid, type Rid } from "../units/index.js";
import { type BridgeAlias, bridgeAlias, bridgeAliasEvidence, dmaAliasOf } from "./dma-alias.js";
import type { Evidence } from "./evidence.js";
import { ivrsAliasOf } from "./firmware-alias.js";
import type { HostFacts } from "./host-facts.js";
import type { LinuxRuleSet } from "./partition.js";
import type { RequesterId, RequesterIdSet } from "./report-types.js";
import { vmdDomains, vmdEvidence } from "./vmd-domains.js";

/**
 * What tables of known devices add. {@link aliasKnowledge} asks the quirk data; tests answer by
 * hand.
 */
export interface AliasKnowledge {
  /** Extra device.function numbers on the function's own bus, with the row that says so. */
  extra(fn: PciFunction): {
    readonly devFns: readonly number[];
    readonly because: readonly Evidence[];
    readonly unknown: readonly Evidence[];
  };
  bridge(fn: PciFunction): BridgeAlias;
  /** The function that sends in place of `fn`; undefined: it sends itself. */
  realDmaDevice(
    fn: PciFunction,
  ): { readonly sender: PciFunction; readonly because: Evidence } | undefined;
}

/** The quirk data under one rule set. */
export function aliasKnowledge(fabric: Fabric, rules: LinuxRuleSet): AliasKnowledge {
  const owners = vmdDomains(fabric, rules);
  return {
    extra(fn) {
      const { devFns, because, unknown } = dmaAliasOf(fn, rules);
      if (!unknown) return { devFns, because, unknown: [] };
      const open = because.filter((e) => e.kind !== "alias-quirk");
      const unnamed: Evidence = { kind: "quirk-not-tested", at: fn.bdf, cite: CITE_QUIRK };
      return { devFns, because, unknown: open.length > 0 ? open : [unnamed] };
    },
    bridge: (fn) => bridgeAlias(fn, rules),
    realDmaDevice(fn) {
      const owner = owners.get(fn.segment);
      if (owner?.vmd === undefined) return undefined;
      return { sender: owner.vmd, because: vmdEvidence(fn, owner) };
    },
  };
}

const CITE_BRIDGE = "PCIe to PCI Bridge 1.0 § 2.3";
const CITE_PHANTOM = "PCIe 6 § 2.2.6.2";
const CITE_QUIRK = "Linux PCI quirks, DMA alias rows";

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
    const real = this.#known.realDmaDevice(fn);
    const sender = real?.sender ?? fn;
    const out = new IdList(sender.segment);
    out.add(sender.rid, real?.because);
    const extra = this.#known.extra(sender);
    for (const devFn of extra.devFns) {
      const rid = makeRid(sender.busNumber * 256 + devFn);
      out.add(rid, extra.because.find((e) => e.rid === rid) ?? extra.because.find(isForMany));
    }
    const alias = ivrsAliasOf(this.#facts.ivrs, sender.segment, sender.rid);
    if (alias !== undefined) out.add(alias.rid, { ...alias.because, at: sender.bdf });
    const unknown = [...extra.unknown];
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
    const effect = this.#known.bridge(bridge);
    if (effect === "end") return NOTHING;
    const rest = this.#above.get(bridge.bus) ?? NOTHING;
    if (effect === "pass") return rest;
    if (effect === "unknown") {
      const open: Evidence = { kind: "alias-unknown", at: bridge.bdf, cite: CITE_BRIDGE };
      return { ids: rest.ids, unknown: [open, ...rest.unknown] };
    }
    const because = bridgeAliasEvidence(bridge, effect);
    const rid = because.rid ?? bridge.rid;
    return { ids: [{ segment: bridge.segment, rid, because }, ...rest.ids], unknown: rest.unknown };
  }
}

const isForMany = (e: Evidence): boolean => e.kind === "alias-quirk" && e.rid === undefined;

/**
 * Function numbers that the device may borrow: those with other top bits, as long as nobody has
 * them.
 */
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

/** A number unique over segments, for tables keyed by requester. */
export function requesterKey(id: RequesterId): number {
  return id.segment * 65536 + id.rid;
}
