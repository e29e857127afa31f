/**
 * The test "does this function keep requests from its peers?" as Linux asks it, with the evidence
 * both ways.
 *
 * Order: quirk rows; then by kind of function; then registers. A capability bit of 0 counts as
 * wired on, so a capability word of 0 isolates. What the capture does not show counts as not
 * isolating and is reported. Verdicts are kept: each function is judged once per request.
 */
import {
  Acs,
  type AcsBit,
  acsBitNames,
  type Fabric,
  FunctionTable,
  type PciFunction,
  PortType,
} from "../pcie/index.js";
import { bootAcs, DEFAULT_ACS } from "./acs-boot.js";
import { type AcsOptions, isNamedInOption, parseAcsOptions } from "./acs-options.js";
import type { Evidence, MissingFact } from "./evidence.js";
import type { HostFacts } from "./host-facts.js";
import type { LinuxRuleSet } from "./partition.js";
import { hidesSourceValidation } from "./quirks.js";
import { type AcsQuirk, acsQuirk } from "./quirks-acs.js";
import { arrivedAfter } from "./quirks-history.js";
import { identities } from "./quirks-ids.js";
import { type LinuxRules, linuxRules } from "./rules/index.js";

/** What Linux asks of every port when it forms groups: SV, RR, CR, UF. */
export const GROUP_REQUEST = DEFAULT_ACS;

export interface AcsVerdict {
  readonly isolated: boolean;
  /** Facts that the capture does not show and that decide, or would. */
  readonly missing: readonly MissingFact[];
  readonly because: readonly Evidence[];
}

/** All functions from one up to the root bus pass, or the lowest that does not. */
export interface PathVerdict {
  readonly isolated: boolean;
  readonly failing: PciFunction | undefined;
}

export interface JudgeOptions {
  /** The fabric whose functions will be judged: its size makes the tables of verdicts. */
  readonly fabric?: Fabric | undefined;
  /**
   * Judge ACS as the kernel would set it at boot, not as captured: the capture was taken without
   * an IOMMU.
   */
  readonly assumeBoot?: boolean | undefined;
  /** Told of each function that was judged with facts missing, once per request. */
  readonly onMissing?: ((fn: PciFunction, missing: readonly MissingFact[]) => void) | undefined;
}

const CITE_REGISTERS = "PCIe 6 § 7.7.11";
const CITE_ABSENT = "PCIe 6 § 6.12.1.2";
const CITE_ORDER = "Linux pci_acs_enabled";
const CITE_QUIRK = "Linux pci_dev_specific_acs_enabled";
const PATH_ISOLATED: PathVerdict = { isolated: true, failing: undefined };

/** Judges functions and paths under one rule set; keeps every verdict. */
export class AcsJudge {
  readonly rules: LinuxRules;
  readonly facts: HostFacts;
  readonly #options: AcsOptions;
  readonly #assumeBoot: boolean;
  readonly #onMissing: JudgeOptions["onMissing"];
  readonly #ivrs: boolean | undefined;
  readonly #fabric: Fabric | undefined;
  readonly #byRequest = new Map<number, FunctionTable<AcsVerdict>>();
  readonly #paths = new Map<number, FunctionTable<PathVerdict>>();

  constructor(facts: HostFacts, rules: LinuxRuleSet, options: JudgeOptions = {}) {
    this.rules = linuxRules(rules);
    this.facts = facts;
    this.#options = parseAcsOptions(facts.commandLine);
    this.#assumeBoot = options.assumeBoot === true;
    this.#onMissing = options.onMissing;
    this.#ivrs = hasIvrs(facts);
    this.#fabric = options.fabric;
  }

  /** Does `fn` redirect what the ACS bits of `request` (a word of {@link Acs}) ask for? */
  verdict(fn: PciFunction, request: number = GROUP_REQUEST): AcsVerdict {
    const known = this.#table(this.#byRequest, request);
    let verdict = known.get(fn);
    if (verdict === undefined) {
      verdict = this.#judge(fn, request);
      known.set(fn, verdict);
      if (verdict.missing.length > 0 && request === GROUP_REQUEST) {
        this.#onMissing?.(fn, verdict.missing);
      }
    }
    return verdict;
  }

  /** The verdict of `fn` and of every bridge above it. */
  path(fn: PciFunction, request: number = GROUP_REQUEST): PathVerdict {
    const known = this.#table(this.#paths, request);
    const chain: PciFunction[] = [];
    let result: PathVerdict | undefined;
    for (let here: PciFunction | undefined = fn; here !== undefined; here = here.upstreamBridge) {
      result = known.get(here);
      if (result !== undefined) break;
      chain.push(here);
      if (!this.verdict(here, request).isolated) break;
    }
    result ??= PATH_ISOLATED;
    for (let i = chain.length - 1; i >= 0; i--) {
      const here = chain[i] as PciFunction;
      if (!this.verdict(here, request).isolated) result = { isolated: false, failing: here };
      known.set(here, result);
    }
    return result;
  }

  #table<V>(tables: Map<number, FunctionTable<V>>, request: number): FunctionTable<V> {
    let table = tables.get(request);
    if (table === undefined) {
      table = new FunctionTable(this.#fabric);
      tables.set(request, table);
    }
    return table;
  }

  #judge(fn: PciFunction, request: number): AcsVerdict {
    const quirk = acsQuirk(fn, request, {
      ivrs: this.#ivrs,
      sunrisePointControl: (port) => this.#sunrisePointControl(port),
    });
    if (quirk.answer === "yes" || quirk.answer === "no") return this.#byQuirk(fn, quirk, request);
    const verdict = this.#byKind(fn, request);
    if (quirk.answer !== "open") return withMissing(verdict, quirk.missing);
    // An unidentified function that isolates by its registers could only be denied by a rare row.
    const missing = verdict.isolated ? [] : quirk.missing;
    const note: Evidence = { kind: "quirk-not-tested", at: fn.bdf, cite: CITE_QUIRK };
    return withMissing({ ...verdict, because: [...verdict.because, note] }, missing);
  }

  #byQuirk(fn: PciFunction, quirk: AcsQuirk, request: number): AcsVerdict {
    const isolated = quirk.answer === "yes";
    const id = identities(fn)[0];
    const late =
      id === undefined ? undefined : arrivedAfter(this.facts.kernel, this.rules.name, "acs", id);
    const because: Evidence = {
      kind: isolated ? "quirk-isolates" : "quirk-denies",
      at: fn.bdf,
      bits: acsBitNames(request),
      quirk: quirk.rule,
      // The running kernel is older than the row: it does not know it yet.
      ...(late === undefined ? {} : { detail: `since ${late}` }),
      cite: CITE_QUIRK,
    };
    return { isolated, missing: quirk.missing, because: [because] };
  }

  #byKind(fn: PciFunction, request: number): AcsVerdict {
    const at = fn.bdf;
    if (fn.isPcie === undefined) {
      const because: Evidence = { kind: "acs-unknown", at, cite: CITE_ORDER };
      return { isolated: false, missing: ["config"], because: [because] };
    }
    if (!fn.isPcie) return no({ kind: "not-pci-express", at, cite: CITE_ORDER });
    switch (fn.portType) {
      case PortType.PcieToPciBridge:
      case PortType.PciToPcieBridge:
      case PortType.RcEventCollector:
        return no({ kind: "bridge-never-isolates", at, cite: CITE_ORDER });
      case PortType.RootPort:
      case PortType.DownstreamPort:
        return this.#byRegisters(fn, request);
      case PortType.Endpoint:
      case PortType.LegacyEndpoint:
      case PortType.UpstreamPort:
      case PortType.RcIntegratedEndpoint:
        if (fn.multifunction === true) {
          if (fn.acs === null && this.facts.absentAcs === "isolates") {
            return yes({ kind: "acs-absence-isolates", at, cite: CITE_ABSENT });
          }
          return this.#byRegisters(fn, request);
        }
        return yes({ kind: "acs-not-needed", at, cite: CITE_ORDER });
      default:
        return yes({ kind: "acs-not-needed", at, cite: CITE_ORDER });
    }
  }

  #byRegisters(fn: PciFunction, request: number): AcsVerdict {
    const at = fn.bdf;
    const { acs } = fn;
    if (acs === null) return no({ kind: "acs-capability-missing", at, cite: CITE_REGISTERS });
    if (acs === undefined) {
      const because: Evidence = { kind: "acs-unknown", at, cite: CITE_REGISTERS };
      return { isolated: false, missing: ["acs"], because: [because] };
    }
    let capability = acs.capability;
    if (capability !== undefined && hidesSourceValidation(fn, this.rules.name)) {
      capability &= ~Acs.SV;
    }
    const control = this.#control(fn, "control", acs.control);
    if (capability === undefined || control === undefined) return this.#byPresence(fn, request);
    const asked = request & (capability | Acs.EC);
    const off = asked & ~control;
    if (off !== 0) {
      return no({ kind: "acs-bits-off", at, bits: acsBitNames(off), cite: CITE_REGISTERS });
    }
    const bits: readonly AcsBit[] = acsBitNames(request);
    return yes({ kind: "acs-bits-on", at, bits, cite: CITE_REGISTERS });
  }

  /**
   * Only the capability's presence is known: the kernel's default has set every bit that it
   * implements.
   */
  #byPresence(fn: PciFunction, request: number): AcsVerdict {
    const isDefault = (request & ~DEFAULT_ACS) === 0 && this.#defaultHolds(fn);
    const missing: MissingFact[] = isDefault && this.facts.iommuInUse === true ? [] : ["acs"];
    const at = fn.bdf;
    if (!isDefault) {
      const because: Evidence = { kind: "acs-unknown", at, cite: CITE_REGISTERS };
      return { isolated: false, missing, because: [because] };
    }
    const because: Evidence = {
      kind: "acs-bits-on",
      at,
      bits: acsBitNames(request),
      detail: "default",
      cite: "Linux pci_enable_acs",
    };
    return { isolated: true, missing, because: [because] };
  }

  #defaultHolds(fn: PciFunction): boolean {
    if (isNamedInOption(this.#options, fn, this.rules.configAcs)) return false;
    if (this.facts.iommuInUse === false && !this.#assumeBoot) return false;
    return !(this.facts.firmware === "device-tree" && this.rules.deviceTreeMissesFirstHierarchy);
  }

  #sunrisePointControl(fn: PciFunction): number | undefined | "default" {
    const control = this.#control(fn, "dword8", fn.acs?.dword8);
    return control ?? (this.#defaultHolds(fn) ? "default" : undefined);
  }

  #control(fn: PciFunction, register: "control" | "dword8", captured: number | undefined) {
    if (!this.#assumeBoot) return captured;
    const boot = bootAcs(fn, this.facts, this.rules, captured, this.#options);
    return boot.register === register ? boot.control : captured;
  }
}

/** AMD's table is known to be absent where another vendor's is present. */
function hasIvrs(facts: HostFacts): boolean | undefined {
  if (facts.ivrs !== undefined) return true;
  const other = facts.dmar ?? facts.iort ?? facts.viot;
  return other === undefined ? undefined : false;
}

function withMissing(verdict: AcsVerdict, more: readonly MissingFact[]): AcsVerdict {
  if (more.length === 0) return verdict;
  return { ...verdict, missing: [...new Set([...verdict.missing, ...more])] };
}

function yes(because: Evidence): AcsVerdict {
  return { isolated: true, missing: [], because: [because] };
}

function no(because: Evidence): AcsVerdict {
  return { isolated: false, missing: [], because: [because] };
}
