/**
 * Hosts for the hostile endpoint: small trees of ports with every number (buses, windows, BARs,
 * ACS words) chosen here, so that the oracle need not ask the code under test for any of them.
 *
 * Addresses are page frame numbers. The attacker is `a`; everything else with a BAR is a victim.
 */
import { type Bdf, formatBdf, makeBdf } from "../../src/units/index.js";
import { Random } from "./random.js";

export type HostileKind =
  | "root-port"
  | "switch-upstream"
  | "switch-downstream"
  | "pcie-to-pci-bridge"
  | "endpoint"
  /** A VF; its PF is an endpoint of the same bus list. */
  | "virtual"
  /** The function that sends for a segment of its own; it has no memory and sends nothing. */
  | "vmd"
  | "conventional";

/** Control bits of PCIe 6 § 7.7.11.3; the capability has all seven. */
export const AcsBit = { SV: 1, TB: 2, RR: 4, CR: 8, UF: 0x10, EC: 0x20, DT: 0x40 } as const;
export const ACS_STRICT = AcsBit.SV | AcsBit.RR | AcsBit.CR | AcsBit.UF;

export interface Pages {
  readonly first: number;
  /** Inclusive. */
  readonly last: number;
}

export interface HostileNode {
  readonly kind: HostileKind;
  readonly name: string;
  device: number;
  fn: number;
  /** Undefined: no capability. */
  readonly acs: number | undefined;
  /** Every bit of the egress control vector. */
  readonly egressBlocks: boolean;
  /** Takes and forwards PASID prefixes. */
  readonly takesPrefix: boolean;
  readonly ats: boolean;
  /** Bits; 0 without the capability. */
  readonly pasidWidth: number;
  readonly below: readonly HostileNode[];
  /** Of a PF. */
  readonly virtual: HostileVirtual | undefined;
  /** Of a VF. */
  readonly physfn: HostileNode | undefined;
  parent: HostileNode | undefined;
  /** 0, or that of the VMD. */
  segment: number;
  bus: number;
  secondary: number;
  subordinate: number;
  window: Pages | undefined;
  bar: Pages | undefined;
}

export interface HostileVirtual {
  readonly functions: HostileNode[];
  /** From the PF's requester ID to that of the first VF. */
  readonly offset: number;
  readonly stride: number;
}

export type HostileUnit = "scalable" | "legacy" | "single-table";

export interface HostileHost {
  readonly seed: number;
  readonly shape: string;
  /** Source validation, redirect and forwarding everywhere, ATS off, one function on the bus. */
  readonly strict: boolean;
  readonly roots: readonly HostileNode[];
  readonly attacker: HostileNode;
  /** The attacker first. */
  readonly functions: readonly HostileNode[];
  /** In front of the attacker. */
  readonly unit: HostileUnit;
  /** Ports on the root bus behind a second unit, and what that does; undefined: there is one. */
  readonly second:
    | { readonly roots: readonly HostileNode[]; readonly scalable: boolean }
    | undefined;
  /** Owner of the second segment. */
  readonly vmd: HostileNode | undefined;
  readonly remapping: boolean;
  /** The firmware's table puts the attacker behind the unit. */
  readonly covered: boolean;
  /** Some maps have pages of 2 MiB. */
  readonly largePages: boolean;
  /** Optional paths of the specification exist: between functions, between root ports. */
  readonly functionPeers: boolean;
  readonly rootPeers: boolean;
  /** Where memory-mapped I/O lies. */
  readonly mmio: Pages;
}

const MMIO_FIRST = 0x8_0000;
const WINDOW_PAGES = 256;
const ENGINE_PAGES = 8;
const STUB_PAGES = 4;
/** The root bus of the VMD's segment. */
const VMD_BUS = 0xe0;

export const SHAPES = [
  "direct",
  "switch",
  "nested",
  "bridge",
  "switch-bridge",
  "multi-function",
  "victim-bridge",
  "virtual",
  "vmd",
] as const;

/** Linux numbers the segments of VMDs from here on. */
export const VMD_SEGMENT = 0x1_0000;

export const ridOfNode = (node: HostileNode): number => node.bus * 256 + node.device * 8 + node.fn;

export const bdfOfNode = (node: HostileNode): Bdf =>
  makeBdf(node.segment, node.bus, node.device, node.fn);

/** As steps of a scenario name it: VFs have no names. */
export const stepNameOf = (node: HostileNode): string =>
  node.kind === "virtual" ? formatBdf(bdfOfNode(node)) : node.name;

/** Its requests reach the unit as those of the segment's owner. */
export const isOwned = (node: HostileNode): boolean => node.segment !== 0;

/** Some unit is in front of it; VFs go with their PF. */
export function isCovered({ attacker, covered }: HostileHost, node: HostileNode): boolean {
  return covered || (node.physfn ?? node) !== (attacker.physfn ?? attacker);
}

/** Behind the second unit. */
export function isBehindSecond({ second }: HostileHost, node: HostileNode): boolean {
  for (let at: HostileNode | undefined = node; at !== undefined; at = at.parent) {
    if (second?.roots.includes(at) === true) return true;
  }
  return false;
}

/** The host of a seed: the same for the same number. */
export function makeHostileHost(seed: number): HostileHost {
  return new HostMaker(seed).make();
}

class HostMaker {
  readonly #seed: number;
  readonly #random: Random;
  readonly #strict: boolean;
  readonly #acsStyle: "none" | "strict" | "random";
  readonly #ats: boolean;
  readonly #pasid: boolean;
  #names = 0;

  constructor(seed: number) {
    this.#seed = seed;
    const random = new Random(seed);
    this.#random = random;
    this.#strict = random.below(5) === 0;
    this.#acsStyle = this.#strict ? "strict" : random.pick(["none", "strict", "random", "random"]);
    this.#ats = !this.#strict && random.below(2) === 0;
    this.#pasid = random.below(3) > 0;
  }

  make(): HostileHost {
    const random = this.#random;
    const shape = this.#strict
      ? random.pick(["direct", "switch", "nested"] as const)
      : random.pick(SHAPES);
    const roots = this.#shape(shape);
    const mmio = layOut(roots);
    const functions = endpointsOf(roots).sort(
      (x, y) => Number(y.name === "a") - Number(x.name === "a"),
    );
    const [attacker] = functions;
    if (attacker === undefined) throw new Error("no attacker");
    const hasBridge = attacker.kind === "conventional";
    const vmd = roots.find(({ kind }) => kind === "vmd");
    const unit = this.#strict
      ? random.pick(["scalable", "legacy"] as const)
      : random.pick([
          "scalable",
          "scalable",
          "scalable",
          "legacy",
          "legacy",
          "single-table",
        ] as const);
    const covered =
      this.#strict ||
      vmd !== undefined ||
      unit === "single-table" ||
      hasBridge ||
      random.below(8) > 0;
    return {
      seed: this.#seed,
      vmd,
      second: unit === "single-table" ? undefined : this.#second(roots, attacker),
      shape,
      strict: this.#strict,
      roots,
      attacker,
      functions,
      unit,
      remapping: this.#strict || random.below(3) > 0,
      covered,
      largePages: random.below(8) === 0,
      functionPeers: random.below(2) === 0,
      rootPeers: random.below(4) === 0,
      mmio,
    };
  }

  /** Other root ports than the attacker's. */
  #second(roots: readonly HostileNode[], attacker: HostileNode): HostileHost["second"] {
    const random = this.#random;
    if (random.below(3) > 0) return undefined;
    let own = attacker;
    while (own.parent !== undefined) own = own.parent;
    const others = roots.filter((root) => root.kind === "root-port" && root !== own);
    const behind = others.filter((root) => root.segment === 0 && random.below(2) === 0);
    return behind.length === 0 ? undefined : { roots: behind, scalable: random.below(2) === 0 };
  }

  #shape(shape: (typeof SHAPES)[number]): HostileNode[] {
    const a = (fn = 0) => this.#node("endpoint", "a", 0, fn);
    const v = (name: string, fn = 0) => this.#node("endpoint", name, 0, fn);
    const down = (device: number, ...below: HostileNode[]) =>
      this.#node("switch-downstream", this.#name(), device, 0, below);
    const up = (...below: HostileNode[]) =>
      this.#node("switch-upstream", this.#name(), 0, 0, below);
    const root = (device: number, ...below: HostileNode[]) =>
      this.#node("root-port", this.#name(), device, 0, below);
    const bridge = (...names: readonly string[]) =>
      this.#node(
        "pcie-to-pci-bridge",
        this.#name(),
        0,
        0,
        names.map((name, i) => this.#node("conventional", name, i + 1, 0)),
      );
    switch (shape) {
      case "direct":
        return [root(1, a()), root(2, v("v1")), root(3, v("v2"))];
      case "switch":
        return [root(1, up(down(0, a()), down(1, v("v1")), down(2, v("v2")))), root(2, v("v3"))];
      case "nested":
        return [
          root(1, up(down(0, up(down(0, a()), down(1, v("v1")))), down(1, v("v2")))),
          root(2, v("v3")),
        ];
      case "bridge":
        return [root(1, bridge("a", "v1")), root(2, v("v2"))];
      case "switch-bridge":
        return [root(1, up(down(0, bridge("a", "v1")), down(1, v("v2")))), root(2, v("v3"))];
      case "victim-bridge":
        return [
          root(1, up(down(0, a()), down(1, bridge("v1", "v2")))),
          root(2, bridge("v3", "v4")),
        ];
      case "virtual":
        return [root(1, up(down(0, ...this.#withVirtual()), down(1, v("v1")))), root(2, v("v2"))];
      case "vmd": {
        const inside = [root(1, up(down(0, a()), down(1, v("v1")))), root(2, v("v2"))];
        for (const node of inside) inSegment(node, VMD_SEGMENT);
        return [this.#node("vmd", "vmd", 0xe, 0), root(3, v("v3")), root(4, v("v4")), ...inside];
      }
      default:
        return [root(1, up(down(0, v("v1", 0), a(1)), down(1, v("v2")))), root(2, v("v3"))];
    }
  }

  /** A PF and its VFs; the attacker is one of them. */
  #withVirtual(): HostileNode[] {
    const random = this.#random;
    const count = 1 + random.below(3);
    const attacker = random.below(count + 1) - 1;
    const virtual: HostileVirtual = {
      functions: [],
      // Beside the PF, or on the next bus.
      offset: random.pick([8, 0x10, 0x100, 0x103]),
      stride: random.pick([1, 2]),
    };
    const pf = this.#node("endpoint", attacker < 0 ? "a" : "pf", 0, 0, [], { virtual });
    const first = this.#node("virtual", "vf", 0, 0, [], { physfn: pf });
    for (let i = 0; i < count; i++) {
      const name = i === attacker ? "a" : `vf${i}`;
      virtual.functions.push({ ...first, name });
    }
    return [pf, ...virtual.functions];
  }

  #name(): string {
    return `p${++this.#names}`;
  }

  #node(
    kind: HostileKind,
    name: string,
    device: number,
    fn: number,
    below: readonly HostileNode[] = [],
    sriov: Partial<Pick<HostileNode, "virtual" | "physfn">> = {},
  ): HostileNode {
    const random = this.#random;
    const isEndpoint = kind === "endpoint" || kind === "virtual";
    const { physfn } = sriov;
    const isPort = kind === "root-port" || kind === "switch-downstream";
    // A VF uses PASIDs by its PF's capability (PCIe 6 § 9.3.7.14).
    const wantsPasid =
      physfn === undefined
        ? isEndpoint && this.#pasid && random.below(5) > 0
        : physfn.pasidWidth > 0;
    const node: HostileNode = {
      kind,
      name,
      device,
      fn,
      acs: isPort ? this.#acs() : isEndpoint ? this.#functionAcs() : undefined,
      egressBlocks: random.below(2) === 0,
      takesPrefix: isEndpoint
        ? wantsPasid
        : kind.startsWith("switch") || kind === "root-port"
          ? random.below(12) > 0
          : false,
      ats: isEndpoint && this.#ats && random.below(4) > 0,
      pasidWidth: wantsPasid ? (physfn?.pasidWidth ?? random.pick([4, 8, 16, 20])) : 0,
      below,
      virtual: sriov.virtual,
      physfn,
      segment: 0,
      parent: undefined,
      bus: 0,
      secondary: 0,
      subordinate: 0,
      window: undefined,
      bar: undefined,
    };
    for (const child of below) child.parent = node;
    return node;
  }

  #acs(): number | undefined {
    if (this.#acsStyle === "none") return undefined;
    if (this.#acsStyle === "strict") return ACS_STRICT;
    const choice = this.#random.below(7);
    if (choice === 0) return undefined;
    if (choice === 2) return AcsBit.RR | AcsBit.UF | AcsBit.DT;
    return choice === 1 ? ACS_STRICT : this.#random.below(0x80);
  }

  /** Of a function: redirect or not; egress control between functions is left out. */
  #functionAcs(): number | undefined {
    if (this.#random.below(2) === 0) return undefined;
    return this.#random.pick([0, AcsBit.RR, AcsBit.DT, AcsBit.RR | AcsBit.CR | AcsBit.DT]);
  }
}

const isFunction = ({ kind }: HostileNode): boolean =>
  kind === "endpoint" || kind === "virtual" || kind === "conventional";

function inSegment(node: HostileNode, segment: number): void {
  node.segment = segment;
  for (const child of node.below) inSegment(child, segment);
}

function endpointsOf(nodes: readonly HostileNode[]): HostileNode[] {
  return nodes.flatMap((node) => (isFunction(node) ? [node] : endpointsOf(node.below)));
}

/** Numbers buses depth first and places BARs and windows, one after the other. */
function layOut(roots: readonly HostileNode[]): Pages {
  const layout = new Layout();
  for (const node of roots) if (node.segment === 0) layout.visit(node, 0);
  layout.bus = VMD_BUS;
  for (const node of roots) if (node.segment !== 0) layout.visit(node, VMD_BUS);
  return { first: MMIO_FIRST, last: layout.page - 1 };
}

class Layout {
  /** The last that was given out. */
  bus = 0;
  /** The next that is free. */
  page = MMIO_FIRST;

  visit(node: HostileNode, on: number): void {
    if (node.kind === "virtual") return;
    node.bus = on;
    if (node.kind === "vmd") return;
    if (isFunction(node)) {
      node.bar = this.#take(node.name === "a" ? ENGINE_PAGES : STUB_PAGES);
      if (node.virtual !== undefined) this.#placeVirtual(node, node.virtual);
      return;
    }
    node.secondary = ++this.bus;
    this.#align(WINDOW_PAGES);
    const first = this.page;
    for (const child of node.below) this.visit(child, node.secondary);
    this.#align(WINDOW_PAGES);
    node.subordinate = this.bus;
    node.window = { first, last: this.page - 1 };
  }

  #placeVirtual(pf: HostileNode, { functions, offset, stride }: HostileVirtual): void {
    functions.forEach((vf, i) => {
      const rid = ridOfNode(pf) + offset + i * stride;
      vf.bus = rid >>> 8;
      vf.device = (rid >>> 3) & 31;
      vf.fn = rid & 7;
      vf.bar = this.#take(ENGINE_PAGES);
      this.bus = Math.max(this.bus, vf.bus);
    });
  }

  #take(count: number): Pages {
    this.#align(count);
    const first = this.page;
    this.page += count;
    return { first, last: first + count - 1 };
  }

  #align(to: number): void {
    this.page = Math.ceil(this.page / to) * to;
  }
}
