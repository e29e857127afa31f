/** A platform description becomes the functions of a host and what is known of it besides. */
import type { HostFacts, RuleSet } from "../isolation/index.js";
import { describeFunction, type FunctionDescription } from "../pcie/index.js";
import { type Bdf, segmentOf } from "../units/index.js";
import { firmwareTables } from "./firmware-tables.js";
import { layOut } from "./layout.js";
import { Problems } from "./platform-error.js";
import type { PlatformDescription } from "./read-platform.js";

export interface BuiltPlatform {
  /** For `buildFabric`; in enumeration order. */
  readonly functions: readonly FunctionDescription[];
  readonly facts: HostFacts;
  /** The rule set the file asks for. */
  readonly rules: RuleSet | undefined;
  /** Addresses of named devices. */
  readonly names: ReadonlyMap<string, Bdf>;
}

/** @throws PlatformError when bus numbers or addresses run out or collide. */
export function buildPlatform(platform: PlatformDescription): BuiltPlatform {
  const { node, lines, roots } = platform;
  const layout = layOut(roots);
  const problems = new Problems(lines);
  for (const { origin, field, text, expected } of layout.problems) {
    const path = origin ?? [];
    problems.add(field === undefined ? path : [...path, field], text, expected);
  }
  problems.throwIfAny();
  const names = new Map<string, Bdf>();
  for (const { spec, plan } of layout.functions) {
    if (plan.handle !== undefined && spec.physfn === undefined) names.set(plan.handle, spec.bdf);
  }
  const owners = new Map<number, Bdf>();
  for (const { vmd, segment } of roots) {
    const owner = vmd === undefined ? undefined : names.get(vmd);
    if (owner !== undefined) owners.set(segment, owner);
  }
  const { kernel, architecture, commandLine, firmware, rules } = node.host ?? {};
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
      ...firmwareTables(node.iommu, layout.functions),
    },
    rules,
    names,
  };
}
