/**
 * The IOMMU of a platform file as the firmware table that an operating system would find: DMAR
 * (VT-d 5.0 § 8), IVRS (AMD I/O Virtualization 3.10 § 5), IORT (Arm DEN0049) or VIOT (ACPI 6.5
 * § 5.2.38).
 *
 * A bridge that is covered covers everything below it. One AMD unit is described: it covers its own
 * segment.
 */
import type { DeviceScope, DmarUnit, HostFacts } from "../isolation/index.js";
import {
  type Bdf,
  busOf,
  deviceOf,
  functionOf,
  makeBdf,
  ridOf,
  segmentOf,
} from "../units/index.js";
import type { LaidOutFunction } from "./layout.js";
import type { IommuNode, UnitNode } from "./platform-shape.js";

type Tables = Pick<
  HostFacts,
  "dmar" | "ivrs" | "iort" | "viot" | "iommuInUse" | "requesterMatching"
>;

const REGISTERS = 0xfed9_0000n;

/** The table for the IOMMU of a platform file; nothing when the file says nothing about one. */
export function firmwareTables(
  node: IommuNode | undefined,
  functions: readonly LaidOutFunction[],
): Tables {
  if (node === undefined) return {};
  if (node.kind === "none") return { iommuInUse: false };
  const tables = new Tabulator(node, functions);
  const matching = node.requesterMatching === false ? { requesterMatching: false } : {};
  switch (node.kind) {
    case "intel":
      return { iommuInUse: true, dmar: tables.dmar(), ...matching };
    case "amd":
      return { iommuInUse: true, ivrs: tables.ivrs() };
    case "smmuv3":
      return { iommuInUse: true, iort: tables.iort() };
    case "virtio":
      return { iommuInUse: true, viot: tables.viot() };
  }
}

/** A DMAR unit and what the file says of it. */
export interface DescribedUnit {
  readonly node: IommuNode | UnitNode;
  readonly unit: DmarUnit;
}

/** The VT-d units of a platform file, in the order of its DMAR table; none for other kinds. */
export function describedUnits(
  node: IommuNode | undefined,
  functions: readonly LaidOutFunction[],
): readonly DescribedUnit[] {
  return node?.kind === "intel" ? new Tabulator(node, functions).units() : [];
}

function unitNodes(node: IommuNode): readonly (IommuNode | UnitNode)[] {
  return node.units ?? [node];
}

/** Requester IDs first..last of one segment. */
interface RidRange {
  readonly segment: number;
  readonly first: number;
  readonly last: number;
}

class Tabulator {
  readonly #node: IommuNode;
  readonly #segments: readonly number[];
  readonly #byName = new Map<string, LaidOutFunction>();
  /** segment * 256 + bus → the bridge above. */
  readonly #bridges = new Map<number, LaidOutFunction>();

  constructor(node: IommuNode, functions: readonly LaidOutFunction[]) {
    this.#node = node;
    this.#segments = [...new Set(functions.map((f) => segmentOf(f.spec.bdf)))].sort(
      (a, b) => a - b,
    );
    for (const f of functions) {
      const { handle } = f.plan;
      if (handle !== undefined && f.spec.physfn === undefined) this.#byName.set(handle, f);
      const secondary = f.spec.buses?.[1];
      if (secondary !== undefined) {
        this.#bridges.set(segmentOf(f.spec.bdf) * 256 + secondary, f);
      }
    }
  }

  /** The DMAR units in the table's order, each with the part of the file that describes it. */
  units(): readonly DescribedUnit[] {
    let next = 0;
    const base = (): bigint => REGISTERS + BigInt(next++) * 0x1000n;
    return unitNodes(this.#node).flatMap((node) =>
      this.#segments.flatMap((segment): DescribedUnit[] => {
        const { covers } = node;
        if (covers === undefined || covers === "all") {
          const unit = { segment, includeAll: true, registerBase: base(), scopes: [] };
          return [{ node, unit }];
        }
        const scopes = this.#named(covers, segment).map((f) => this.#scope(f));
        if (scopes.length === 0) return [];
        return [{ node, unit: { segment, includeAll: false, registerBase: base(), scopes } }];
      }),
    );
  }

  dmar(): NonNullable<HostFacts["dmar"]> {
    const units = this.units().map(({ unit }) => unit);
    const reserved = (this.#node.reserved ?? []).flatMap(({ devices, first, last }) =>
      this.#segments.flatMap((segment) => {
        const scopes = this.#named(devices, segment).map((f) => this.#scope(f));
        const span = { first: BigInt(first), last: BigInt(last) };
        return scopes.length > 0 ? [{ segment, span, scopes }] : [];
      }),
    );
    const ats =
      this.#node.ats === false
        ? []
        : this.#segments.map((segment) => ({ segment, allPorts: true, scopes: [] }));
    return {
      addressWidth: 48,
      interruptRemapping: this.#node.interruptRemapping !== false,
      platformOptIn: false,
      units,
      reserved,
      ats,
    };
  }

  ivrs(): NonNullable<HostFacts["ivrs"]> {
    const iommu = this.#itself();
    const ranges = this.#ranges();
    // A unit serves the segment that it sits in.
    const units = [segmentOf(iommu)].map((segment) => ({
      segment,
      iommu,
      base: REGISTERS,
      covered: ranges
        .filter((r) => r.segment === segment)
        .map(({ first, last }) => ({ first, last })),
      aliases: [],
    }));
    const memory = (this.#node.reserved ?? []).flatMap(({ devices, first, last }) =>
      devices.flatMap((name) => {
        const f = this.#byName.get(name);
        if (f === undefined) return [];
        const range = this.#range(f);
        const kind = range.first === range.last ? ("one" as const) : ("range" as const);
        const span = { first: BigInt(first), last: BigInt(last) };
        return [{ ...range, kind, span, unity: true, exclusion: false }];
      }),
    );
    return { units, memory };
  }

  iort(): NonNullable<HostFacts["iort"]> {
    const ranges = this.#ranges();
    return {
      rootComplexes: this.#segments.map((segment) => ({
        segment,
        ats: this.#node.ats !== false,
        pasidBits: 20,
        mappings: ranges
          .filter((r) => r.segment === segment)
          .map(({ first, last }) => ({
            firstRid: first,
            lastRid: last,
            to: "smmuv3" as const,
            single: false,
            outputBase: first,
          })),
      })),
    };
  }

  viot(): NonNullable<HostFacts["viot"]> {
    return {
      ranges: this.#ranges().map(({ segment, first, last }) => ({
        firstSegment: segment,
        lastSegment: segment,
        firstBdf: first,
        lastBdf: last,
      })),
      iommus: [this.#itself()],
    };
  }

  #itself(): Bdf {
    const f = this.#byName.get(this.#node.function ?? "");
    return f?.spec.bdf ?? makeBdf(0, 0, 0, 2);
  }

  #named(names: readonly string[], segment: number): LaidOutFunction[] {
    return names.flatMap((name) => {
      const f = this.#byName.get(name);
      return f !== undefined && segmentOf(f.spec.bdf) === segment ? [f] : [];
    });
  }

  /** The bridges from the root bus down, then the function itself. */
  #scope(f: LaidOutFunction): DeviceScope {
    const chain = [f];
    let bus = this.#busKey(f);
    for (let above = this.#bridges.get(bus); above !== undefined; above = this.#bridges.get(bus)) {
      chain.unshift(above);
      bus = this.#busKey(above);
    }
    return {
      kind: f.plan.below === undefined ? "endpoint" : "sub-hierarchy",
      bus: bus % 256,
      path: chain.map(({ spec }) => ({ device: deviceOf(spec.bdf), fn: functionOf(spec.bdf) })),
    };
  }

  #busKey(f: LaidOutFunction): number {
    return segmentOf(f.spec.bdf) * 256 + busOf(f.spec.bdf);
  }

  #ranges(): RidRange[] {
    const { covers } = this.#node;
    if (covers === undefined || covers === "all") {
      return this.#segments.map((segment) => ({ segment, first: 0, last: 0xffff }));
    }
    return covers.flatMap((name) => {
      const f = this.#byName.get(name);
      if (f === undefined) return [];
      return f.plan.below === undefined ? [this.#range(f)] : [this.#own(f), this.#range(f)];
    });
  }

  #own({ spec }: LaidOutFunction): RidRange {
    return { segment: segmentOf(spec.bdf), first: ridOf(spec.bdf), last: ridOf(spec.bdf) };
  }

  /** A bridge: all buses below. An SR-IOV PF: up to its last VF. Else the function alone. */
  #range(f: LaidOutFunction): RidRange {
    const buses = f.spec.buses;
    const segment = segmentOf(f.spec.bdf);
    if (buses !== undefined) {
      return { segment, first: buses[1] * 256, last: buses[2] * 256 + 255 };
    }
    return this.#own(f);
  }
}
