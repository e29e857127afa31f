/** A platform description becomes the functions of a host and what is known of it besides. */
import type { HostFacts, RuleSet } from "../isolation/index.js";
import { describeFunction, type FunctionDescription } from "../pcie/index.js";
import { type Bdf, parseBdf, segmentOf } from "../units/index.js";
import { describedUnits, firmwareTables } from "./firmware-tables.js";
import { type LaidOutFunction, layOut } from "./layout.js";
import { Problems } from "./platform-error.js";
import type { IommuNode, UnitNode } from "./platform-shape.js";
import type { PlatformDescription } from "./read-platform.js";
import { withRegisters } from "./unit-options.js";
import { capturedVirtual, type VirtualFunctionMaker, virtualSpec } from "./virtual-function.js";

export interface BuiltPlatform {
  /** For `buildFabric`; in enumeration order. */
  readonly functions: readonly FunctionDescription[];
  readonly facts: HostFacts;
  /** The rule set the file asks for. */
  readonly rules: RuleSet | undefined;
  /** /dev/iommu is for this kernel's own tests: mock devices, and the test command. */
  readonly selftest: "linux-6.12" | "linux-7.2" | undefined;
  /** Addresses of named devices. */
  readonly names: ReadonlyMap<string, Bdf>;
  /** Functions with a DMA test engine; all others are stubs. */
  readonly engines: ReadonlySet<Bdf>;
  /** Devices that drivers make, by name. */
  readonly mediated: ReadonlyMap<string, MediatedDevice>;
  /** VFs that software may switch on. */
  readonly virtualFunction: VirtualFunctionMaker;
  /** The IOMMU as described; undefined when nothing is said. */
  readonly iommu: IommuNode | undefined;
  /** What the file says of each unit of the DMAR table; undefined for captured units. */
  readonly units: readonly (IommuNode | UnitNode | undefined)[];
}

export interface MediatedDevice {
  readonly name: string;
  readonly parent: Bdf;
  readonly kind: "hardware" | "software";
  /** The parent's PASID that its requests without one always use. */
  readonly pasid?: number | undefined;
}

/** What a capture says of its host: see `fromCapture` in `host`. */
export interface CapturedHost {
  readonly functions: readonly FunctionDescription[];
  readonly facts: HostFacts;
}

/**
 * @param captured the capture that the platform starts `from`; read by the caller.
 * @throws PlatformError when bus numbers or addresses run out or collide, when the capture is
 * missing, or when an engine is not one of its functions.
 */
export function buildPlatform(
  platform: PlatformDescription,
  captured?: CapturedHost,
): BuiltPlatform {
  return platform.node.from === undefined ? buildRoots(platform) : buildFrom(platform, captured);
}

function buildFrom(
  { node, lines }: PlatformDescription,
  captured: CapturedHost | undefined,
): BuiltPlatform {
  const problems = new Problems(lines);
  if (captured === undefined) problems.add(["from"], "is not read", "the capture");
  problems.throwIfAny();
  const functions = captured?.functions ?? [];
  const present = new Set(functions.map((fn) => fn.bdf));
  const engines = new Set<Bdf>();
  (node.engines ?? []).forEach((text, i) => {
    const bdf = parseBdf(text);
    if (bdf !== undefined && present.has(bdf)) engines.add(bdf);
    else problems.add(["engines", i], "is no function of the capture", "an address in it");
  });
  problems.throwIfAny();
  const { rules, selftest, ...said } = node.host ?? {};
  const known = Object.fromEntries(Object.entries(said).filter(([, v]) => v !== undefined));
  const tables = replacedTables(node.iommu, functions, captured);
  const facts = { ...captured?.facts, ...known, ...tables };
  return {
    functions,
    facts,
    rules,
    selftest,
    names: new Map(),
    engines,
    mediated: new Map(),
    virtualFunction: capturedVirtual(functions),
    iommu: node.iommu,
    units: (facts.dmar?.units ?? []).map(() => node.iommu),
  };
}

/** A platform that names an IOMMU takes the capture's DMAR table, or a unit for each segment. */
function replacedTables(
  iommu: IommuNode | undefined,
  functions: readonly FunctionDescription[],
  captured: CapturedHost | undefined,
): Partial<HostFacts> {
  if (iommu === undefined) return {};
  const none = { dmar: undefined, ivrs: undefined, iort: undefined, viot: undefined };
  const tables = firmwareTables(
    iommu,
    functions.map((fn) => ({ spec: { bdf: fn.bdf }, plan: { devFn: 0 } })),
  );
  const kept = tables.dmar === undefined ? undefined : captured?.facts.dmar;
  return { ...none, ...tables, ...(kept === undefined ? {} : { dmar: kept }) };
}

/** The firmware's tables, with the registers of the hardware that the file describes. */
function statedTables(
  iommu: IommuNode | undefined,
  functions: readonly LaidOutFunction[],
): Partial<HostFacts> {
  const tables = firmwareTables(iommu, functions);
  const { dmar } = tables;
  if (dmar === undefined || tables.requesterMatching === false) return tables;
  const nodes = describedUnits(iommu, functions).map((described) => described.node);
  const interruptRemapping = dmar.interruptRemapping !== false;
  const units = dmar.units.map((unit, i) =>
    withRegisters(unit, { node: nodes[i], interruptRemapping }),
  );
  return { ...tables, dmar: { ...dmar, units } };
}

function buildRoots(platform: PlatformDescription): BuiltPlatform {
  const { node, lines, roots } = platform;
  const layout = layOut(roots);
  const problems = new Problems(lines);
  for (const { origin, field, text, expected } of layout.problems) {
    const path = origin ?? [];
    problems.add(field === undefined ? path : [...path, field], text, expected);
  }
  problems.throwIfAny();
  const names = new Map<string, Bdf>();
  const engines = new Set<Bdf>();
  const mediated = new Map<string, MediatedDevice>();
  for (const { spec, plan } of layout.functions) {
    const virtual = spec.physfn !== undefined;
    if (virtual ? plan.sriov?.vfEngine === true : plan.engine === true) engines.add(spec.bdf);
    if (virtual) continue;
    if (plan.handle !== undefined) names.set(plan.handle, spec.bdf);
    for (const made of plan.mediated ?? []) {
      if (mediated.has(made.name) || names.has(made.name)) {
        const path = [...(plan.origin ?? []), "mediated"];
        problems.add(path, `"${made.name}" is taken already`, "a name of its own");
      }
      mediated.set(made.name, { ...made, parent: spec.bdf });
    }
  }
  problems.throwIfAny();
  const owners = new Map<number, Bdf>();
  for (const { vmd, segment } of roots) {
    const owner = vmd === undefined ? undefined : names.get(vmd);
    if (owner !== undefined) owners.set(segment, owner);
  }
  const { kernel, architecture, commandLine, firmware, rules, selftest, absentAcs } =
    node.host ?? {};
  const plans = new Map(layout.functions.map((made) => [made.spec.bdf, made]));
  return {
    functions: layout.functions.map(({ spec }) => {
      const owner = owners.get(segmentOf(spec.bdf));
      const description = describeFunction(spec);
      return owner === undefined ? description : { ...description, behindVmd: owner };
    }),
    facts: {
      kernel,
      architecture,
      commandLine,
      firmware,
      ...(absentAcs === undefined ? {} : { absentAcs }),
      ...statedTables(node.iommu, layout.functions),
    },
    rules,
    selftest,
    names,
    engines,
    mediated,
    virtualFunction: (pf, index) => {
      const { spec, plan } = plans.get(pf) ?? {};
      const bars = spec?.sriov?.vfBars;
      if (spec === undefined || plan?.sriov === undefined) return undefined;
      const made = virtualSpec(spec, plan.sriov, index, bars ?? []);
      if (made === undefined) return undefined;
      return { description: describeFunction(made), engine: plan.sriov.vfEngine === true };
    },
    iommu: node.iommu,
    units: describedUnits(node.iommu, layout.functions).map((unit) => unit.node),
  };
}
