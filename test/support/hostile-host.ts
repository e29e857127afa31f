/**
 * Hosts for the hostile endpoint: small trees of ports with every number (buses, windows, BARs,
 * ACS words) chosen here, so that the oracle need not ask the code under test for any of them.
 *
 * Addresses are page frame numbers. The attacker is `a`; everything else with a BAR is a victim.
 */
import { Random } from "./random.js";

export type HostileKind =
  | "root-port"
  | "switch-upstream"
  | "switch-downstream"
  | "pcie-to-pci-bridge"
  | "endpoint"
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
  readonly device: number;
  readonly fn: number;
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
  parent: HostileNode | undefined;
  bus: number;
  secondary: number;
  subordinate: number;
  window: Pages | undefined;
  bar: Pages | undefined;
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
  readonly unit: HostileUnit;
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

export const SHAPES = [
  "direct",
  "switch",
  "nested",
  "bridge",
  "switch-bridge",
  "multi-function",
  "victim-bridge",
] as const;

export const ridOfNode = (node: HostileNode): number => node.bus * 256 + node.device * 8 + node.fn;

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
    return {
      seed: this.#seed,
      shape,
      strict: this.#strict,
      roots,
      attacker,
      functions,
      unit,
      remapping: this.#strict || random.below(3) > 0,
      covered: this.#strict || unit === "single-table" || hasBridge || random.below(8) > 0,
      largePages: random.below(8) === 0,
      functionPeers: random.below(2) === 0,
      rootPeers: random.below(4) === 0,
      mmio,
    };
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
      default:
        return [root(1, up(down(0, v("v1", 0), a(1)), down(1, v("v2")))), root(2, v("v3"))];
    }
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
  ): HostileNode {
    const random = this.#random;
    const isEndpoint = kind === "endpoint";
    const isPort = kind === "root-port" || kind === "switch-downstream";
    const wantsPasid = isEndpoint && this.#pasid && random.below(5) > 0;
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
      pasidWidth: wantsPasid ? random.pick([4, 8, 16, 20]) : 0,
      below,
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

function endpointsOf(nodes: readonly HostileNode[]): HostileNode[] {
  return nodes.flatMap((node) =>
    node.kind === "endpoint" || node.kind === "conventional" ? [node] : endpointsOf(node.below),
  );
}

/** Numbers buses depth first and places BARs and windows, one after the other. */
function layOut(roots: readonly HostileNode[]): Pages {
  let bus = 0;
  let page = MMIO_FIRST;
  const align = (to: number) => {
    page = Math.ceil(page / to) * to;
  };
  const visit = (node: HostileNode, on: number) => {
    node.bus = on;
    if (node.kind === "endpoint" || node.kind === "conventional") {
      const count = node.name === "a" ? ENGINE_PAGES : STUB_PAGES;
      align(count);
      node.bar = { first: page, last: page + count - 1 };
      page += count;
      return;
    }
    node.secondary = ++bus;
    align(WINDOW_PAGES);
    const first = page;
    for (const child of node.below) visit(child, node.secondary);
    align(WINDOW_PAGES);
    node.subordinate = bus;
    node.window = { first, last: page - 1 };
  };
  for (const node of roots) visit(node, 0);
  return { first: MMIO_FIRST, last: page - 1 };
}

/** The same host as a platform file. */
export function platformOf(host: HostileHost): object {
  const { unit, remapping } = host;
  const scalable = unit === "scalable";
  const victims = host.functions.filter((node) => node !== host.attacker);
  return {
    schema: "ioasis/platform/1",
    roots: [{ bus: 0, devices: host.roots.map(deviceOfNode) }],
    iommu: {
      kind: "intel",
      ...(host.covered ? {} : { covers: victims.map((node) => node.name) }),
      scalable,
      pasid: scalable,
      interruptRemapping: remapping,
      requesterMatching: unit !== "single-table",
    },
  };
}

const NAMES = ["SV", "TB", "RR", "CR", "UF", "EC", "DT"] as const;

function deviceOfNode(node: HostileNode): object {
  const isBridge = node.window !== undefined;
  const isExpress = node.kind !== "conventional";
  const at = `${node.device.toString(16).padStart(2, "0")}.${node.fn}`;
  const bits = (word: number) => NAMES.filter((_, i) => ((word >>> i) & 1) !== 0);
  const { acs, window, bar } = node;
  return {
    kind: node.kind,
    name: node.name,
    at,
    ...(isExpress ? { endEndPrefix: node.takesPrefix } : {}),
    ...(acs === undefined
      ? {}
      : {
          acs: {
            capability: NAMES,
            enabled: bits(acs),
            egressVector: [node.egressBlocks ? 0xffff_ffff : 0],
          },
        }),
    ...(node.ats ? { ats: { enabled: false } } : {}),
    ...(node.pasidWidth > 0
      ? { pasid: { width: node.pasidWidth, execute: true, privileged: true } }
      : {}),
    ...(node.name === "a" ? { engine: "dma" } : {}),
    ...(bar === undefined
      ? {}
      : { bars: [{ size: hex((bar.last - bar.first + 1) * 4096), base: hex(bar.first * 4096) }] }),
    ...(window === undefined
      ? {}
      : {
          windows: {
            io: "closed",
            prefetchable: "closed",
            memory: { first: hex(window.first * 4096), last: hex(window.last * 4096 + 4095) },
          },
          buses: { secondary: node.secondary, subordinate: node.subordinate },
        }),
    ...(isBridge ? { below: node.below.map(deviceOfNode) } : {}),
  };
}

const hex = (value: number): string => `0x${value.toString(16)}`;

/** For messages: the configuration on few lines. */
export function describeHost(host: HostileHost): string {
  const line = (node: HostileNode, depth: number): string => {
    const acs = node.acs === undefined ? "-" : `0x${node.acs.toString(16)}`;
    const facts = [
      `${" ".repeat(depth)}${node.name} ${node.kind} ${hex(ridOfNode(node))}`,
      `acs ${acs}${node.egressBlocks ? " egress" : ""}`,
      node.takesPrefix ? "prefix" : "no-prefix",
      ...(node.ats ? ["ats"] : []),
      ...(node.pasidWidth > 0 ? [`pasid ${node.pasidWidth}`] : []),
      ...(node.bar === undefined ? [] : [`bar ${hex(node.bar.first)}000`]),
      ...(node.window === undefined
        ? []
        : [`buses ${node.secondary}-${node.subordinate} window ${hex(node.window.first)}000`]),
    ];
    return [facts.join(" "), ...node.below.map((child) => line(child, depth + 1))].join("\n");
  };
  const { unit, remapping, covered, functionPeers, rootPeers, shape } = host;
  const head = JSON.stringify({
    seed: host.seed,
    shape,
    unit,
    remapping,
    covered,
    functionPeers,
    rootPeers,
  });
  return [head, ...host.roots.map((node) => line(node, 1))].join("\n");
}
