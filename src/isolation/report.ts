/**
 * The report of one device. Cheap parts are computed at once; `mustShare.with`, `viability` and
 * `reaches` when they are read, because lists of peers of all devices together grow with the square
 * of a host.
 */
import type { PciFunction } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import { atsEligibility, priEligibility, svaEligibility } from "./ats-eligibility.js";
import type { EligibilityContext } from "./eligibility-context.js";
import type { Evidence, MissingFact } from "./evidence.js";
import { exposureOf } from "./exposure.js";
import type { Partition } from "./partition.js";
import { pasidEligibility } from "./pasid-eligibility.js";
import type {
  AliasSets,
  DeviceReport,
  MustShare,
  Reach,
  RequesterIdSet,
  Reserved,
  Viability,
} from "./report-types.js";

/** What a report draws from; `analyse` provides it. */
export interface ReportSources {
  readonly context: EligibilityContext;
  readonly partition: Partition;
  readonly deviceCentric: Partition;
  readonly aliasSets: AliasSets;
  /** Joins of the alias sets by each end. */
  readonly aliasJoins: ReadonlyMap<Bdf, readonly Evidence[]>;
  readonly isBridge: (device: Bdf) => boolean;
  readonly missing: ReadonlyMap<Bdf, readonly MissingFact[]>;
  requesterIds(fn: PciFunction): RequesterIdSet;
  reserved(fn: PciFunction): Reserved;
  viability(device: Bdf): Viability;
  reaches(fn: PciFunction): readonly Reach[];
}

export function reportOf(fn: PciFunction, sources: ReportSources): DeviceReport {
  const { context } = sources;
  const { bdf, description } = fn;
  const pasid = pasidEligibility(fn, context);
  const ats = atsEligibility(fn, context);
  const pri = priEligibility(fn, ats, context);
  const sva = svaEligibility(fn, { pasid, ats, pri }, context);
  const parts: { reaches?: readonly Reach[]; mustShare?: MustShare } = {};
  return {
    device: bdf,
    ids: fn.ids,
    name: description.name,
    slot: description.slot,
    label: description.label,
    driver: description.driver,
    requesterIds: sources.requesterIds(fn),
    aliasSet: sources.aliasSets.setOf.get(bdf) ?? -1,
    group: sources.partition.groupOf.get(bdf),
    isolationGroup: sources.deviceCentric.groupOf.get(bdf),
    get mustShare() {
      parts.mustShare ??= mustShare(fn, sources);
      return parts.mustShare;
    },
    get viability() {
      return sources.viability(bdf);
    },
    pasid,
    ats,
    pri,
    sva,
    get reaches() {
      parts.reaches ??= sources.reaches(fn);
      return parts.reaches;
    },
    reserved: sources.reserved(fn),
    exposure: exposureOf(fn, context.facts),
    missing: sources.missing.get(bdf) ?? [],
  };
}

function mustShare(fn: PciFunction, sources: ReportSources): MustShare {
  const number = sources.aliasSets.setOf.get(fn.bdf);
  const set = number === undefined ? [] : (sources.aliasSets.sets[number] ?? []);
  const others = set.filter((bdf) => bdf !== fn.bdf && !sources.isBridge(bdf));
  if (others.length === 0) return { value: false, with: others, because: [] };
  return { value: true, with: others, because: sources.aliasJoins.get(fn.bdf) ?? [] };
}

/** The evidence of a forest's joins at each member: what ties it to the others. */
export function joinsByMember(sets: AliasSets): Map<Bdf, Evidence[]> {
  const out = new Map<Bdf, Evidence[]>();
  const add = (device: Bdf, because: readonly Evidence[]): void => {
    const list = out.get(device) ?? [];
    out.set(device, list);
    for (const e of because) {
      // Members of a large set repeat the reasons of their hub: one of a kind and place is enough.
      if (list.length < 32 && !list.some((o) => o.kind === e.kind && o.at === e.at)) list.push(e);
    }
  };
  for (const join of sets.joins) {
    add(join.a, join.because);
    add(join.b, join.because);
  }
  return out;
}
