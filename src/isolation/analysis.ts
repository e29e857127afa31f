/**
 * One host under one rule set: the call behind every command.
 *
 * Nothing is computed before it is asked for, and nothing twice: groups without reports cost no
 * eligibility, Linux rules alone cost no P2P graph. Recorded groups are no input anywhere.
 */
import type { Fabric, PciFunction } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import { type AcsJudge, GROUP_REQUEST } from "./acs-test.js";
import { aliasSets } from "./alias-set.js";
import { EdgeProver } from "./edge-proof.js";
import type { EligibilityContext } from "./eligibility-context.js";
import type { Evidence, MissingFact } from "./evidence.js";
import { untrustedOf } from "./exposure.js";
import type { HostFacts } from "./host-facts.js";
import { IommuFeatures } from "./iommu-features.js";
import { type DeviceCentricGroups, deviceCentricGroups } from "./isolation-group.js";
import { type LinuxGrouping, linuxGroups } from "./linux-groups.js";
import { buildP2pGraph } from "./p2p-graph.js";
import { type P2pReach, reachesOf } from "./p2p-graph-reach.js";
import type { P2pGraph } from "./p2p-graph-types.js";
import type { Join, LinuxRuleSet, Partition, RuleSet } from "./partition.js";
import { atsOff, pasidWithoutPrefix } from "./quirks.js";
import { joinsByMember, type ReportSources, reportOf } from "./report.js";
import type {
  AliasSets,
  Analysis,
  AnalysisOptions,
  DeviceReport,
  EdgeProof,
  Reach,
  RequesterIdSet,
  TransactionProof,
  Unknown,
} from "./report-types.js";
import { aliasKnowledge, RequesterIds } from "./requester-ids.js";
import { ReservedMemory } from "./reserved.js";
import { BASELINE, linuxRulesOf, useRules } from "./rules/device-centric.js";
import { unknownsOf } from "./unknowns.js";
import { Viabilities } from "./viability.js";
import { vmdDomains } from "./vmd-domains.js";

/**
 * Everything that can be said of a host, each part worked out when it is first read. Cheap to call.
 * `fabric` and `facts` are read, never changed, and must not change afterwards.
 */
export function analyse(fabric: Fabric, facts: HostFacts, options: AnalysisOptions = {}): Analysis {
  return new HostAnalysis(fabric, facts, options);
}

class HostAnalysis implements Analysis {
  readonly fabric: Fabric;
  readonly facts: HostFacts;
  readonly rules: RuleSet;
  readonly strict: boolean;
  readonly linuxRules: LinuxRuleSet;
  readonly #linux = new Map<LinuxRuleSet, LinuxGrouping>();
  readonly #requesters = new Map<LinuxRuleSet, RequesterIds>();
  readonly #aliasSets = new Map<LinuxRuleSet, AliasSets>();
  #p2p: P2pGraph | undefined;
  #deviceCentric: DeviceCentricGroups | undefined;
  #unknown: readonly Unknown[] | undefined;
  #sources: ReportSources | undefined;
  #prover: EdgeProver | undefined;

  constructor(fabric: Fabric, facts: HostFacts, options: AnalysisOptions) {
    this.fabric = fabric;
    this.facts = facts;
    this.rules = options.rules ?? BASELINE;
    this.strict = options.strict === true;
    this.linuxRules = linuxRulesOf(this.rules);
  }

  get partition(): Partition {
    return this.partitionUnder(this.rules);
  }

  get linux(): LinuxGrouping {
    return this.linuxUnder(this.linuxRules);
  }

  get deviceCentric(): Partition {
    return this.#groups().partition;
  }

  get enlargements() {
    return this.#groups().enlargements;
  }

  get outsiders() {
    return this.#groups().outsiders;
  }

  get aliasSets(): AliasSets {
    return this.#aliasSetsUnder(this.linuxRules);
  }

  get p2p(): P2pGraph {
    this.#p2p ??= buildP2pGraph(this.fabric, {
      effectiveAcs: (fn) => this.#effectiveAcs(fn),
    });
    return this.#p2p;
  }

  get unknown(): readonly Unknown[] {
    this.#unknown ??= unknownsOf(this.fabric, [this.linux.unknown]);
    return this.#unknown;
  }

  partitionUnder(rules: RuleSet): Partition {
    return rules === "device-centric" ? this.deviceCentric : this.linuxUnder(rules);
  }

  linuxUnder(rules: LinuxRuleSet): LinuxGrouping {
    let grouping = this.#linux.get(rules);
    if (grouping === undefined) {
      grouping = linuxGroups(this.fabric, this.facts, rules);
      this.#linux.set(rules, grouping);
    }
    return grouping;
  }

  requesterIds(device: Bdf): RequesterIdSet | undefined {
    const fn = this.fabric.function(device);
    return fn === undefined ? undefined : this.#ids().of(fn);
  }

  deviceReport(device: Bdf): DeviceReport | undefined {
    const fn = this.fabric.function(device);
    if (fn === undefined) return undefined;
    this.#sources ??= this.#makeSources();
    return reportOf(fn, this.#sources);
  }

  *deviceReports(): Generator<DeviceReport> {
    this.#sources ??= this.#makeSources();
    for (const fn of this.fabric.functions) yield reportOf(fn, this.#sources);
  }

  proofOf(join: Join): EdgeProof | undefined {
    return this.#obtainProver().proofOf(join);
  }

  proofBetween(from: Bdf, to: Bdf): TransactionProof | undefined {
    const a = this.fabric.function(from);
    const b = this.fabric.function(to);
    return a === undefined || b === undefined ? undefined : this.#obtainProver().between(a, b);
  }

  #obtainProver(): EdgeProver {
    this.#prover ??= new EdgeProver(this.fabric, this.p2p, (fn) => this.#effectiveAcs(fn));
    return this.#prover;
  }

  /** By linux-7.2 whatever rules are asked for: what hardware does has no kernel version. */
  #effectiveAcs(fn: PciFunction) {
    return effectiveAcs(fn, this.linuxUnder(BASELINE).judge);
  }

  #ids(rules = this.linuxRules): RequesterIds {
    let ids = this.#requesters.get(rules);
    if (ids === undefined) {
      ids = new RequesterIds(this.facts, aliasKnowledge(this.fabric, rules), this.fabric);
      this.#requesters.set(rules, ids);
    }
    return ids;
  }

  #aliasSetsUnder(rules: LinuxRuleSet): AliasSets {
    let sets = this.#aliasSets.get(rules);
    if (sets === undefined) {
      sets = aliasSets(this.fabric, this.#ids(rules), this.facts);
      this.#aliasSets.set(rules, sets);
    }
    return sets;
  }

  #groups(): DeviceCentricGroups {
    this.#deviceCentric ??= deviceCentricGroups({
      fabric: this.fabric,
      linux: this.linuxUnder(BASELINE),
      aliases: this.#aliasSetsUnder(BASELINE),
      p2p: this.p2p,
      strict: this.strict,
    });
    return this.#deviceCentric;
  }

  #makeSources(): ReportSources {
    const { fabric, facts, partition } = this;
    const context = this.#context();
    const reserved = new ReservedMemory(fabric, facts, useRules(this.rules));
    const viabilities = new Viabilities(fabric, partition, (fn) => reserved.of(fn));
    const why = ungroupedBecause(partition);
    const missing = new Map<Bdf, readonly MissingFact[]>();
    for (const entry of this.unknown) missing.set(entry.device, entry.missing);
    return {
      context,
      partition,
      deviceCentric: this.deviceCentric,
      aliasSets: this.aliasSets,
      aliasJoins: joinsByMember(this.aliasSets),
      missing,
      isBridge: (device) => fabric.function(device)?.isBridge === true,
      requesterIds: (fn) => this.#ids().of(fn),
      reserved: (fn) => reserved.of(fn),
      viability: (device) => viabilities.of(device, why.get(device) ?? []),
      reaches: (fn) => reachesOf(this.p2p, fn).map(plainReach),
    };
  }

  #context(): EligibilityContext {
    const { facts, linuxRules } = this;
    const { judge, scope } = this.linux;
    const owners = vmdDomains(this.fabric, linuxRules);
    const ungrouped = ungroupedBecause(this.linux);
    return {
      rules: useRules(this.rules),
      facts,
      iommu: new IommuFeatures(this.fabric, facts, scope),
      isolatedAgainst(fn, request) {
        const { isolated, missing, because } = judge.verdict(fn, request);
        return { isolated: missing.length > 0 ? undefined : isolated, because };
      },
      atsOff: (fn) => quirkAnswer(atsOff(fn, linuxRules), fn, "ats-switched-off", "atsOff"),
      pasidWithoutPrefix: (fn) =>
        pasidWithoutPrefix(fn) === true
          ? quirkAnswer(true, fn, "prefix-not-needed", "pasidWithoutTlpPrefix")
          : undefined,
      untrusted: (fn) => untrustedOf(fn, facts),
      sender: (fn) => owners.get(fn.segment)?.vmd ?? fn,
      ungrouped: (fn) => ungrouped.get(fn.bdf),
    };
  }
}

function ungroupedBecause(partition: Partition): Map<Bdf, readonly Evidence[]> {
  return new Map(partition.ungrouped.map((u) => [u.device, u.because]));
}

function quirkAnswer(
  answer: boolean | undefined,
  fn: PciFunction,
  kind: "ats-switched-off" | "prefix-not-needed",
  quirk: string,
): Evidence | undefined {
  if (answer === false) return undefined;
  const cite = "Linux PCI quirks, ATS and PASID rows";
  if (answer === undefined) return { kind: "quirk-not-tested", at: fn.bdf, quirk, cite };
  return { kind, at: fn.bdf, quirk, cite };
}

/**
 * ACS bits in effect where registers do not say: a quirk vouches for the function, or the capture
 * names its ACS capability without bits and the kernel's default has set them.
 */
export function effectiveAcs(fn: PciFunction, judge: AcsJudge) {
  const verdict = judge.verdict(fn);
  const vouched = verdict.because.some(
    (e) => e.kind === "quirk-isolates" || (e.kind === "acs-bits-on" && e.detail === "default"),
  );
  if (!verdict.isolated || !vouched) return undefined;
  return { word: GROUP_REQUEST, because: verdict.because };
}

function plainReach(reach: P2pReach): Reach {
  const { device, via, certainty, windows, unknown } = reach;
  return { device: device.bdf, via, certainty, windows, unknown };
}
