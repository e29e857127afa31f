/**
 * Reads a parsed platform file: its shape first, then what it means. Reports every problem, each
 * with a line.
 */
import { BUS_IN_WORDS, type BusKind, KINDS } from "./device-kind.js";
import { type InputPath, type LineMap, noLines } from "./line-map.js";
import type { PlannedFunction, PlannedRoot } from "./plan.js";
import { planDevice } from "./plan-device.js";
import { Problems } from "./platform-error.js";
import {
  type DeviceNode,
  type IommuNode,
  type PlatformNode,
  platformShape,
  type RootNode,
} from "./platform-shape.js";

export interface PlatformDescription {
  /** As written. */
  readonly node: PlatformNode;
  readonly lines: LineMap;
  /** What is to be numbered and built. */
  readonly roots: readonly PlannedRoot[];
}

/**
 * @param value what a YAML or JSON reader made of the file
 * @throws PlatformError (an InputError) that names file, line, field and what would be right, for
 * all problems.
 */
export function readPlatform(value: unknown, lines: LineMap = noLines()): PlatformDescription {
  const problems = new Problems(lines);
  const node = platformShape.read(value, [], problems);
  problems.throwIfAny();
  if (node === undefined) throw new Error("a shape reported nothing and read nothing");
  const reader = new Reader(problems);
  reader.source(node);
  const roots = (node.roots ?? []).map((root, i) => reader.root(root, ["roots", i]));
  reader.vmd(roots);
  reader.iommu(node.iommu);
  problems.throwIfAny();
  return { node, lines, roots };
}

class Reader {
  readonly #problems: Problems;
  readonly #names = new Set<string>();

  constructor(problems: Problems) {
    this.#problems = problems;
  }

  /** Exactly one of `roots` and `from`; a capture brings its own tables. */
  source(node: PlatformNode): void {
    if ((node.roots === undefined) === (node.from === undefined)) {
      this.#problems.add([], "has both roots and from, or neither", "one of them");
    }
    if (node.from === undefined && node.engines !== undefined) {
      const expected = "engine: dma on the devices";
      this.#problems.add(["engines"], "names functions of a capture", expected);
    }
    if (node.from === undefined) return;
    for (const field of ["covers", "function", "reserved", "units"] as const) {
      if (node.iommu?.[field] === undefined) continue;
      this.#problems.add(["iommu", field], "is what the capture says", "the field with roots");
    }
  }

  root(node: RootNode, path: InputPath): PlannedRoot {
    return {
      segment: Number(node.segment ?? 0),
      bus: node.bus === undefined ? undefined : Number(node.bus),
      vmd: node.vmd,
      functions: this.#bus(node.devices, "root", [...path, "devices"]),
      origin: path,
    };
  }

  #bus(nodes: readonly DeviceNode[], bus: BusKind, path: InputPath): PlannedFunction[] {
    const addresses = this.#place(nodes, bus, path);
    const slots = new Map<number, number>();
    for (const at of addresses) slots.set(at >>> 3, (slots.get(at >>> 3) ?? 0) + 1);
    return nodes.map((node, i) => {
      const here = [...path, i];
      const devFn = addresses[i] ?? 0;
      const kind = KINDS[node.kind];
      this.#name(node.name, here);
      if (!kind.on.includes(bus)) {
        const places = kind.on.map((b) => BUS_IN_WORDS[b]).join(" or ");
        const problem = `a ${node.kind} cannot sit on ${BUS_IN_WORDS[bus]}`;
        this.#problems.add([...here, "kind"], problem, places);
      }
      const below =
        kind.below === undefined
          ? undefined
          : this.#bus(node.below ?? [], kind.below, [...here, "below"]);
      const many = (slots.get(devFn >>> 3) ?? 0) > 1;
      return planDevice(node, devFn, many, below, here, this.#problems);
    });
  }

  /**
   * Device and function of each; without `at` the next free device number, on a link the next
   * function.
   */
  #place(nodes: readonly DeviceNode[], bus: BusKind, path: InputPath): number[] {
    const taken = new Set<number>();
    const slots = new Set<number>();
    const given = nodes.map((node) => (node.at === undefined ? undefined : parseAt(node.at)));
    given.forEach((at, i) => {
      if (at === undefined) return;
      const here = [...path, i, "at"];
      if (taken.has(at)) this.#problems.add(here, "is taken already", "another address");
      if (bus === "link" && at >= 8 && nodes[i]?.ari !== true && nodes[i]?.sriov === undefined) {
        this.#problems.add(here, "a link leads to one device", "device 0, or ari: true");
      }
      taken.add(at);
      slots.add(at >>> 3);
    });
    const out = given.map((at, i) => {
      const found = at ?? nextFree(bus, taken, slots);
      if (found === undefined) {
        this.#problems.add([...path, i], "no device number is left on this bus", "fewer devices");
        return 0;
      }
      taken.add(found);
      slots.add(found >>> 3);
      return found;
    });
    out.forEach((at, i) => {
      if (at % 8 === 0 || taken.has(at - (at % 8)) || nodes[i]?.ari === true) return;
      this.#problems.add([...path, i], "software never finds it", "a function 0 in its slot");
    });
    return out;
  }

  #name(name: string | undefined, path: InputPath): void {
    if (name === undefined) return;
    if (this.#names.has(name)) {
      this.#problems.add([...path, "name"], `"${name}" is taken already`, "a name of its own");
    }
    this.#names.add(name);
  }

  /** Segments of volume management devices name their owner, in another segment. */
  vmd(roots: readonly PlannedRoot[]): void {
    roots.forEach(({ vmd, segment }, i) => {
      if (vmd === undefined) return;
      const owner = roots.find((root) => contains(root.functions, vmd));
      if (owner !== undefined && owner.segment !== segment) return;
      const problem = owner === undefined ? `no device is named "${vmd}"` : "owns itself";
      this.#problems.add(["roots", i, "vmd"], problem, "the name of a device in another segment");
    });
  }

  iommu(node: IommuNode | undefined): void {
    if (node === undefined) return;
    const known = (name: string, path: InputPath) => {
      if (!this.#names.has(name)) {
        this.#problems.add(path, `no device is named "${name}"`, "the name of a device");
      }
    };
    if (typeof node.covers === "object") {
      node.covers.forEach((name, i) => {
        known(name, ["iommu", "covers", i]);
      });
    }
    this.#units(node, known);
    const own = node.kind === "amd" || node.kind === "virtio";
    if (own && node.function === undefined) {
      const expected = "the name of the device that is the IOMMU";
      this.#problems.add(["iommu"], `an ${node.kind} IOMMU is a function: name it`, expected);
    }
    if (!own && node.function !== undefined) {
      const problem = `an IOMMU of kind ${node.kind} is not a function`;
      this.#problems.add(["iommu", "function"], problem, "the field with kind amd or virtio");
    }
    if (node.function !== undefined) known(node.function, ["iommu", "function"]);
    (node.reserved ?? []).forEach((region, i) => {
      const at = ["iommu", "reserved", i];
      region.devices.forEach((name, n) => {
        known(name, [...at, "devices", n]);
      });
      if (BigInt(region.last) < BigInt(region.first)) {
        this.#problems.add([...at, "last"], "lies before first", "first or more");
      }
      if (node.kind !== "intel" && node.kind !== "amd") {
        this.#problems.add(at, `${node.kind} tables hold no such region`, "kind intel or amd");
      }
    });
    if (node.kind === "none" && node.covers !== undefined) {
      this.#problems.add(["iommu", "covers"], "without an IOMMU nothing is covered", "no field");
    }
  }

  #units(node: IommuNode, known: (name: string, path: InputPath) => void): void {
    checkWidth(node.addressWidth, ["iommu", "addressWidth"], this.#problems);
    if (node.requesterMatching === false && (node.pasid === true || node.scalable === true)) {
      const problem = "cannot match PASIDs without matching requesters";
      this.#problems.add(["iommu", "requesterMatching"], problem, "no pasid, no scalable");
    }
    if (node.units === undefined) return;
    if (node.kind !== "intel") {
      this.#problems.add(["iommu", "units"], "describes VT-d units", "kind intel");
    }
    if (node.covers !== undefined) {
      this.#problems.add(["iommu", "covers"], "belongs to each of the units", "one or the other");
    }
    node.units.forEach((unit, i) => {
      checkWidth(unit.addressWidth, ["iommu", "units", i, "addressWidth"], this.#problems);
      if (typeof unit.covers !== "object") return;
      unit.covers.forEach((name, n) => {
        known(name, ["iommu", "units", i, "covers", n]);
      });
    });
    if (node.units.filter((unit) => unit.covers === "all").length > 1) {
      this.#problems.add(["iommu", "units"], "two units cover all", "at most one");
    }
  }
}

function checkWidth(width: number | undefined, path: InputPath, problems: Problems): void {
  if (width === undefined || width === 39 || width === 48 || width === 57) return;
  problems.add(path, `${width} is no address width of a table`, "39, 48 or 57");
}

function contains(functions: readonly PlannedFunction[], handle: string): boolean {
  return functions.some((fn) => fn.handle === handle || contains(fn.below ?? [], handle));
}

/** `1c.3` */
function parseAt(at: string): number {
  const [device = "0", fn = "0"] = at.split(".");
  return Number.parseInt(device, 16) * 8 + Number(fn);
}

function nextFree(
  bus: BusKind,
  taken: ReadonlySet<number>,
  slots: ReadonlySet<number>,
): number | undefined {
  if (bus === "link") {
    for (let fn = 0; fn < 8; fn++) if (!taken.has(fn)) return fn;
    return undefined;
  }
  // Slot 0 of a root bus is left to the host bridge, as on real machines.
  for (let slot = bus === "root" ? 1 : 0; slot < 32; slot++) if (!slots.has(slot)) return slot * 8;
  return undefined;
}
