/**
 * Linux's IOMMU groups: the same steps as the kernel, with the evidence for every join.
 *
 * Functions are taken in the order in which Linux meets them. Each takes the group of the first
 * function that a step finds, or founds one. Groups are never merged later, so the order is part of
 * the rule. Steps:
 *   1 real device     a function of a VMD domain stands for the VMD
 *   2 aliases above   a bridge that replaces requester IDs brings all below into its group
 *   3 path            all below a port whose path to the root lets peers through join its group
 *   4 aliases beside  functions of one bus that share requester IDs
 *   5 slot            functions of one multi-function slot that do not isolate
 *   6                 a new group
 * A function without a group never lends one, but it counts in the path test.
 */
import { type Fabric, FunctionTable, type PciFunction, PortType } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import { AcsJudge, GROUP_REQUEST } from "./acs-test.js";
import { bridgeAlias, bridgeAliasEvidence, type DmaAlias, dmaAliasOf } from "./dma-alias.js";
import type { Evidence, MissingFact } from "./evidence.js";
import type { HostFacts } from "./host-facts.js";
import { iommuActivity } from "./iommu-active.js";
import { type IommuScope, iommuScope } from "./iommu-scope.js";
import { BusSearch, inLinuxOrder } from "./linux-groups-search.js";
import {
  type Join,
  type LinuxRuleSet,
  type Partition,
  partitionOf,
  type Ungrouped,
} from "./partition.js";
import { type VmdOwner, vmdDomains, vmdEvidence } from "./vmd-domains.js";

export interface LinuxGrouping extends Partition {
  readonly rules: LinuxRuleSet;
  /** Facts that decide and that the capture does not show; sorted by device. */
  readonly unknown: readonly { readonly device: Bdf; readonly missing: readonly MissingFact[] }[];
  /**
   * Grouped functions that this kernel puts into their group only under a condition, with the
   * condition.
   */
  readonly conditional: readonly Ungrouped[];
  readonly scope: IommuScope;
  /** Every verdict that was needed, and more on request. */
  readonly judge: AcsJudge;
}

export interface LinuxGroupOptions {
  /**
   * Answer "which groups would there be with the IOMMU on?": a host known to run without one is
   * grouped all the same, and ACS is judged as the kernel would set it at boot.
   */
  readonly assumeIommu?: boolean | undefined;
}

/**
 * The groups that Linux makes of a fabric under one rule set. Cost: linear in functions, times at
 * most the size of a bus where functions borrow each other's numbers.
 */
export function linuxGroups(
  fabric: Fabric,
  facts: HostFacts,
  rules: LinuxRuleSet,
  options: LinuxGroupOptions = {},
): LinuxGrouping {
  return new Grouper(fabric, facts, rules, options).run();
}

/**
 * What the bridges above a bus decide for every function on it: the first bridge that could lend
 * its group does, or none can. `undefined` instead: it depends on who has a group when asked.
 */
interface Above {
  readonly member: PciFunction | undefined;
  readonly because: readonly Evidence[];
}

const NOTHING_ABOVE: Above = { member: undefined, because: [] };

class Grouper {
  readonly #fabric: Fabric;
  readonly #facts: HostFacts;
  readonly #rules: LinuxRuleSet;
  readonly #judge: AcsJudge;
  readonly #scope: IommuScope;
  readonly #owners: ReadonlyMap<number, VmdOwner>;
  readonly #assumeIommu: boolean;
  readonly #search: BusSearch;
  /** By index of the function, in order of founding; -1 for none. */
  readonly #groupOf: Int32Array;
  #groupCount = 0;
  /** By the lowest bridge. */
  readonly #above: FunctionTable<Above>;
  readonly #joins: Join[] = [];
  readonly #ungrouped: Ungrouped[] = [];
  readonly #conditional: Ungrouped[] = [];
  readonly #missing = new Map<PciFunction, Set<MissingFact>>();
  readonly #aliases: FunctionTable<DmaAlias>;

  constructor(fabric: Fabric, facts: HostFacts, rules: LinuxRuleSet, options: LinuxGroupOptions) {
    this.#fabric = fabric;
    this.#facts = facts;
    this.#rules = rules;
    this.#assumeIommu = options.assumeIommu === true;
    const assumeBoot = this.#assumeIommu && facts.iommuInUse === false;
    this.#groupOf = new Int32Array(fabric.functions.length).fill(NONE);
    this.#above = new FunctionTable(fabric);
    this.#aliases = new FunctionTable(fabric);
    this.#judge = new AcsJudge(facts, rules, {
      fabric,
      assumeBoot,
      onMissing: (fn, missing) => this.#note(fn, missing),
    });
    this.#scope = iommuScope(fabric, facts);
    this.#owners = vmdDomains(fabric, rules);
    this.#search = new BusSearch(
      fabric,
      this.#judge,
      (fn) => this.#alias(fn),
      (fn) => this.#hasGroup(fn),
    );
  }

  run(): LinuxGrouping {
    const activity = iommuActivity(this.#fabric, this.#facts, this.#rules);
    const inactive = activity.active === false && !this.#assumeIommu;
    for (const fn of inLinuxOrder(this.#fabric.functions)) {
      if (inactive) this.#ungrouped.push({ device: fn.bdf, because: [activity.why(fn.bdf)] });
      else this.#place(fn);
    }
    if (!inactive) this.#noteTopology();
    this.#ungrouped.sort((a, b) => a.device - b.device);
    const unknown = [...this.#missing].map(([fn, missing]) => ({
      device: fn.bdf,
      missing: [...missing],
    }));
    return {
      ...partitionOf(this.#rules, this.#fabric, this.#groupOf, this.#joins, this.#ungrouped),
      rules: this.#rules,
      unknown: unknown.sort((a, b) => a.device - b.device),
      conditional: this.#conditional,
      scope: this.#scope,
      judge: this.#judge,
    };
  }

  #place(fn: PciFunction): void {
    const owner = this.#owners.get(fn.segment);
    if (owner?.driven === false) {
      this.#ungrouped.push({ device: fn.bdf, because: [notDriven(fn, owner)] });
      return;
    }
    const start = owner?.vmd ?? fn;
    if (owner !== undefined && (owner.vmd === undefined || owner.by === "guessed")) {
      this.#note(fn, ["topology"]);
    }
    if (this.#scope.coverage(start) === "outside") {
      this.#ungrouped.push({ device: fn.bdf, because: [this.#scope.why(start)] });
      return;
    }
    const known = this.#knownAbove(start);
    if (start === fn && known?.member !== undefined) {
      this.#noteAlias(start);
      this.#noteDriver(fn);
      this.#join(fn, known.member, known.because);
      return;
    }
    const because: Evidence[] = [];
    if (start !== fn && owner !== undefined) because.push(vmdEvidence(fn, owner));
    const member = this.#findMember(start, known, because);
    this.#noteAlias(start);
    this.#noteDriver(fn);
    if (member === undefined) this.#found(fn);
    else this.#join(fn, member, because);
  }

  #hasGroup(fn: PciFunction): boolean {
    return (this.#groupOf[fn.index] as number) >= 0;
  }

  #knownAbove(start: PciFunction): Above | undefined {
    const bridge = start.upstreamBridge;
    return bridge === undefined ? NOTHING_ABOVE : this.#above.get(bridge);
  }

  /** Steps 1 to 5. `because` gathers the evidence that leads to the member found. */
  #findMember(
    start: PciFunction,
    known: Above | undefined,
    because: Evidence[],
  ): PciFunction | undefined {
    if (this.#hasGroup(start)) return start;
    let last = start;
    if (known === undefined) {
      const before = because.length;
      const above = this.#climb(start, because);
      if (above.member !== undefined) return above.member;
      last = above.last;
      if (because.length === before) this.#keep(start, NOTHING_ABOVE);
    } else if (known.member !== undefined) {
      because.push(...known.because);
      return known.member;
    }
    const found = this.#search.find(last);
    if (found !== undefined) because.push(...found.because);
    return found?.member;
  }

  /** Steps 2 and 3: the bridge whose group is taken, and how far up the search went. */
  #climb(
    start: PciFunction,
    because: Evidence[],
  ): { readonly member: PciFunction | undefined; readonly last: PciFunction } {
    const before = because.length;
    let candidates = 0;
    let last = start;
    // Functions only ever gain a group, so the first candidate stays the answer once it is one.
    const take = (member: PciFunction) => {
      if (candidates === 1) this.#keep(start, { member, because: because.slice(before) });
      return { member, last };
    };
    for (let b = start.upstreamBridge; b !== undefined; b = b.upstreamBridge) {
      const effect = bridgeAlias(b, this.#rules);
      if (effect === "end") break;
      if (effect !== "own" && effect !== "secondary") continue;
      last = b;
      candidates++;
      because.push(bridgeAliasEvidence(b, effect), {
        kind: "all-behind-bridge",
        at: b.bdf,
        cite: "Linux pci_device_group, DMA aliases",
      });
      if (this.#hasGroup(b)) return take(b);
    }
    for (let b = last.upstreamBridge; b !== undefined; b = b.upstreamBridge) {
      const path = this.#judge.path(b, GROUP_REQUEST);
      if (path.isolated) break;
      last = b;
      candidates++;
      because.push(...this.#pathEvidence(b, path.failing ?? b));
      if (this.#hasGroup(b)) return take(b);
    }
    return { member: undefined, last };
  }

  #keep(start: PciFunction, above: Above): void {
    if (start.upstreamBridge !== undefined) this.#above.set(start.upstreamBridge, above);
  }

  #pathEvidence(bridge: PciFunction, failing: PciFunction): readonly Evidence[] {
    const step: Evidence = {
      kind: "path-not-isolated",
      at: bridge.bdf,
      ...(failing === bridge ? {} : { with: failing.bdf }),
      cite: "Linux pci_device_group, path to the root",
    };
    return [step, ...this.#judge.verdict(failing).because];
  }

  #found(fn: PciFunction): void {
    this.#groupOf[fn.index] = this.#groupCount++;
    this.#search.noteGroup(fn);
  }

  #join(fn: PciFunction, member: PciFunction, because: readonly Evidence[]): void {
    this.#groupOf[fn.index] = this.#groupOf[member.index] as number;
    this.#search.noteGroup(fn);
    this.#joins.push({ a: fn.bdf, b: member.bdf, because });
  }

  #alias(fn: PciFunction): DmaAlias {
    const known = this.#aliases.get(fn);
    if (known !== undefined) return known;
    const alias = dmaAliasOf(fn, this.#rules, this.#facts.ivrs);
    this.#aliases.set(fn, alias);
    return alias;
  }

  #noteAlias(fn: PciFunction): void {
    const { missing } = this.#alias(fn);
    if (missing.length > 0) this.#note(fn, missing);
  }

  /** With a VIOT table, kernels before 7.2 give a function its group when a driver first binds. */
  #noteDriver(fn: PciFunction): void {
    if (!this.#judge.rules.groupNeedsDriverBind || this.#scope.table !== "viot") return;
    if (fn.description.driver === undefined || fn.description.driver !== null) return;
    this.#conditional.push({
      device: fn.bdf,
      because: [
        {
          kind: "bound-driver-needed",
          at: fn.bdf,
          cite: `Linux ${this.#judge.rules.release} iommu_probe_device at driver bind`,
        },
      ],
    });
  }

  #note(fn: PciFunction, missing: readonly MissingFact[]): void {
    let set = this.#missing.get(fn);
    if (set === undefined) {
      set = new Set();
      this.#missing.set(fn, set);
    }
    for (const fact of missing) set.add(fact);
  }

  /** Functions that only look as if they sat on a root bus. */
  #noteTopology(): void {
    for (const bus of this.#fabric.rootBuses) {
      if (bus.number === 0 || bus.functions.some(showsRootBus)) continue;
      if (!bus.functions.some((fn) => fn.isPcie === true)) continue;
      for (const fn of bus.functions) this.#note(fn, ["topology"]);
    }
  }
}

const NONE = -1;
const HOST_BRIDGE = 0x0600;

function showsRootBus(fn: PciFunction): boolean {
  if (fn.description.parent === null) return true;
  const { classCode } = fn.ids;
  if (classCode !== undefined && classCode >>> 8 === HOST_BRIDGE) return true;
  return (
    fn.portType === PortType.RootPort ||
    fn.portType === PortType.RcIntegratedEndpoint ||
    fn.portType === PortType.RcEventCollector
  );
}

function notDriven(fn: PciFunction, owner: VmdOwner): Evidence {
  return {
    kind: "excluded-by-driver",
    at: fn.bdf,
    ...(owner.vmd === undefined ? {} : { with: owner.vmd.bdf }),
    quirk: "realDmaDevice",
    cite: "Linux VMD driver, device table",
  };
}
