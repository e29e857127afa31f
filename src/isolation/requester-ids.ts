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
import { type Fabric, FunctionTable, type PciFunction } from "../pcie/index.js";
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

const NOTHING_EXTRA = { devFns: [], because: [], unknown: [] } as const;

/** The quirk data under one rule set. */
export function aliasKnowledge(fabric: Fabric, rules: LinuxRuleSet): AliasKnowledge {
  const owners = vmdDomains(fabric, rules);
  return {
    extra(fn) {
      const { devFns, because, unknown } = dmaAliasOf(fn, rules);
      if (!unknown && because.length === 0) return NOTHING_EXTRA;
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
const NONE_UNKNOWN: readonly Evidence[] = [];

/** Sets of all functions of a fabric; each is worked out when asked for and kept. */
export class RequesterIds {
  readonly #facts: HostFacts;
  readonly #known: AliasKnowledge;
  /** By the bridge above a bus. */
  readonly #above: FunctionTable<Above>;
  readonly #sets: FunctionTable<RequesterIdSet>;

  /** `fabric`: whose functions will be asked for; makes the tables' size. */
  constructor(facts: HostFacts, known: AliasKnowledge, fabric?: Fabric) {
    this.#facts = facts;
    this.#known = known;
    this.#above = new FunctionTable(fabric);
    this.#sets = new FunctionTable(fabric);
  }

  of(fn: PciFunction): RequesterIdSet {
    let set = this.#sets.get(fn);
    if (set === undefined) {
      set = this.#compute(fn);
      this.#sets.set(fn, set);
    }
    return set;
  }

  /**
   * The keys of the set (see {@link requesterKey}), in its order, written to the start of `out`;
   * returns how many. Makes no set for the many functions that send as themselves alone.
   */
  keysOf(fn: PciFunction, out: number[]): number {
    if (this.#sendsAsItselfAlone(fn)) {
      out[0] = fn.bdf;
      return 1;
    }
    const { ids } = this.of(fn);
    ids.forEach((id, i) => {
      out[i] = requesterKey(id);
    });
    return ids.length;
  }

  #sendsAsItselfAlone(fn: PciFunction): boolean {
    if (this.#known.realDmaDevice(fn) !== undefined) return false;
    if (this.#known.extra(fn).devFns.length > 0) return false;
    if (ivrsAliasOf(this.#facts.ivrs, fn.segment, fn.rid) !== undefined) return false;
    if ((fn.express?.phantomBits ?? 0) !== 0 && fn.express?.phantomEnabled !== false) return false;
    return this.#aboveOf(fn.bus.bridge).ids.length === 0;
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
    const phantoms = addPhantoms(sender, out);
    const above = this.#aboveOf(sender.bus.bridge);
    for (const id of above.ids) out.add(id.rid, id.because);
    const open = extra.unknown.length + phantoms.length + above.unknown.length > 0;
    const unknown = open ? [...extra.unknown, ...phantoms, ...above.unknown] : NONE_UNKNOWN;
    return { device: fn.bdf, ids: out.ids, unknown };
  }

  /** Walks up without recursion, then fills in top down. */
  #aboveOf(bridge: PciFunction | undefined): Above {
    if (bridge === undefined) return NOTHING;
    const known = this.#above.get(bridge);
    if (known !== undefined) return known;
    const chain: PciFunction[] = [];
    let here: PciFunction | undefined = bridge;
    let above: Above | undefined;
    while (here !== undefined && above === undefined) {
      chain.push(here);
      here = here.bus.bridge;
      if (here !== undefined) above = this.#above.get(here);
    }
    above ??= NOTHING;
    for (let i = chain.length - 1; i >= 0; i--) {
      const at = chain[i] as PciFunction;
      above = this.#oneStep(at, above);
      this.#above.set(at, above);
    }
    return above;
  }

  #oneStep(bridge: PciFunction, rest: Above): Above {
    const effect = this.#known.bridge(bridge);
    if (effect === "end") return NOTHING;
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

/** Adds the phantom functions; returns what is open. */
function addPhantoms(fn: PciFunction, out: IdList): readonly Evidence[] {
  const enabled = fn.express?.phantomEnabled;
  if ((fn.express?.phantomBits ?? 0) === 0 || enabled === false) return NONE_UNKNOWN;
  const rids = phantomRids(fn);
  if (rids.length === 0) return NONE_UNKNOWN;
  if (enabled === undefined) return [{ kind: "alias-phantom", at: fn.bdf, cite: CITE_PHANTOM }];
  for (const rid of rids) {
    out.add(rid, { kind: "alias-phantom", at: fn.bdf, rid, cite: CITE_PHANTOM });
  }
  return NONE_UNKNOWN;
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
