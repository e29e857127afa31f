/**
 * A second opinion on routing: slow, recursive, straight from registers, sharing no code with the
 * product's routing. Answers one line of text for each request.
 */
import type { Bus, Fabric, MemoryRequest, PciFunction } from "../../src/pcie/index.js";
import { PortType } from "../../src/pcie/index.js";
import { formatBdf } from "../../src/units/index.js";

export interface NaivePolicy {
  readonly functions: boolean;
  readonly root: boolean;
}

type Kind = "root" | "link" | "switch" | "shared";

/** `peer 0000:04:00.0 bar 0`, `agent 03:00.0`, `violation 0000:02:00.0`, … */
export function naiveRoute(
  fabric: Fabric,
  from: PciFunction,
  tlp: MemoryRequest,
  policy: NaivePolicy,
): string {
  return new Naive(fabric, tlp, policy).send(from);
}

class Naive {
  private rid: number;
  private at: string;
  private readonly address: bigint;
  private readonly fabric: Fabric;
  private readonly tlp: MemoryRequest;
  private readonly policy: NaivePolicy;

  constructor(fabric: Fabric, tlp: MemoryRequest, policy: NaivePolicy) {
    this.fabric = fabric;
    this.tlp = tlp;
    this.policy = policy;
    this.rid = tlp.requester;
    this.at = tlp.addressType;
    this.address = BigInt(tlp.pfn) * 4096n + BigInt(tlp.offset);
  }

  send(from: PciFunction): string {
    if (this.tlp.prefix && !from.isPcie) return `blocked ${formatBdf(from.bdf)}`;
    return this.present(from);
  }

  /** `fn` shows the request on the bus where it sits. */
  private present(fn: PciFunction): string {
    const bus = realBus(fn.bus);
    const kind = kindOf(bus);
    if (kind === "root") return this.atRoot(fn);
    const owner = this.owner(this.members(bus), bus, kind);
    if (owner !== undefined && owner !== fn) {
      if (kind === "shared") return this.down(owner);
      if (kind === "switch" || this.policy.functions) {
        const verdict = this.verdict(fn, owner);
        if (verdict === "direct") return this.down(owner);
        if (verdict === "violation") return `violation ${formatBdf(fn.bdf)}`;
      }
    } else if (owner === fn) {
      if (kind === "shared") return `unsupported ${formatBdf(fn.bdf)}`;
      const forwards = on(fn, 0x10);
      if (kind === "switch" && fn.isBridge && !forwards) return `unsupported ${formatBdf(fn.bdf)}`;
    } else if (kind !== "link" && bus.bridge && inWindows(bus.bridge, this.address)) {
      return `unsupported ${formatBdf(fn.bdf)}`;
    }
    return this.climb(fn, bus, kind);
  }

  private climb(fn: PciFunction, bus: Bus, kind: Kind): string {
    const up = bus.bridge;
    const { prefix } = this.tlp;
    const leaves = fn.portType === PortType.UpstreamPort;
    if (prefix && leaves && fn.express?.endEndPrefixBlocking) return `blocked ${formatBdf(fn.bdf)}`;
    if (up === undefined) return `agent ${this.rid}`;
    const refused = prefix && this.refusesPrefix(up);
    if (refused) return refused;
    if (kind === "link") {
      const number = this.rid >> 8;
      const outside =
        number < (up.secondaryBusNumber ?? 0) || number > (up.subordinateBusNumber ?? 255);
      if (on(up, 0x01) && outside) return `violation ${formatBdf(up.bdf)}`;
      if (on(up, 0x02) && this.at !== "untranslated") return `violation ${formatBdf(up.bdf)}`;
    }
    if (kind === "shared" || up.portType === PortType.PciToPcieBridge) {
      this.at = "untranslated";
      this.rid =
        up.portType === PortType.PcieToPciBridge ? (up.secondaryBusNumber ?? 0) * 256 : up.rid;
    }
    return this.present(up);
  }

  private atRoot(fn: PciFunction): string {
    const all = [...this.fabric.buses].filter(
      (b) => !b.bridge && !b.virtualOf && kindOf(b) === "root",
    );
    const owner = this.owner(
      all.flatMap((b) => this.members(b)),
      undefined,
      "root",
    );
    const agent = `agent ${this.rid}`;
    if (owner === undefined) return agent;
    if (owner === fn) {
      if (!inWindows(fn, this.address) || inBars(fn, this.address) !== undefined) return agent;
      const port = fn.portType === PortType.RootPort;
      return port && on(fn, 0x10) ? agent : `unsupported ${formatBdf(fn.bdf)}`;
    }
    const ports = [fn, owner].some((f) => f.portType === PortType.RootPort);
    const slot = (f: PciFunction): string =>
      `${(f.physfn ?? f).bus.number}/${(f.physfn ?? f).device}`;
    const siblings = !ports && realBus(fn.bus) === realBus(owner.bus) && slot(fn) === slot(owner);
    if (!(siblings ? this.policy.functions : this.policy.root)) return agent;
    const verdict = this.verdict(fn, owner);
    if (verdict === "direct") return this.down(owner);
    return verdict === "violation" ? `violation ${formatBdf(fn.bdf)}` : agent;
  }

  private down(fn: PciFunction): string {
    const refused = this.tlp.prefix && this.refusesPrefix(fn);
    if (refused) return refused;
    const bar = inBars(fn, this.address);
    if (bar !== undefined) return `peer ${formatBdf(fn.bdf)} bar ${bar}`;
    const faces = [
      PortType.RootPort,
      PortType.DownstreamPort,
      PortType.PciToPcieBridge,
    ] as number[];
    if (this.tlp.prefix && fn.express?.endEndPrefixBlocking && faces.includes(fn.portType ?? -1)) {
      return `blocked ${formatBdf(fn.bdf)}`;
    }
    const bus = fn.secondaryBus;
    const owner = bus && this.owner(this.members(bus), undefined, "link");
    return owner ? this.down(owner) : `unsupported ${formatBdf(fn.bdf)}`;
  }

  private refusesPrefix(fn: PciFunction): string | undefined {
    if (fn.express && fn.express.endEndPrefix === false) return `malformed ${formatBdf(fn.bdf)}`;
    const conventional =
      !fn.express ||
      fn.portType === PortType.PcieToPciBridge ||
      fn.portType === PortType.PciToPcieBridge;
    return conventional ? `blocked ${formatBdf(fn.bdf)}` : undefined;
  }

  private members(bus: Bus): PciFunction[] {
    return this.fabric.functions.filter((fn) => realBus(fn.bus) === bus);
  }

  private owner(members: PciFunction[], bus: Bus | undefined, kind: Kind): PciFunction | undefined {
    const found = members.find(
      (fn) => inBars(fn, this.address) !== undefined || inWindows(fn, this.address),
    );
    if (found !== undefined || kind !== "switch" || !bus?.bridge) return found;
    return inBars(bus.bridge, this.address) === undefined ? undefined : bus.bridge;
  }

  private verdict(fn: PciFunction, peer: PciFunction): "direct" | "up" | "violation" {
    if (this.at === "translated" && on(fn, 0x40)) return "direct";
    const bit = on(fn, 0x20) ? vectorBit(fn, peer) : undefined;
    if (bit === false) return "direct";
    if (redirects(fn)) return "up";
    return bit === true ? "violation" : "direct";
  }
}

function realBus(bus: Bus): Bus {
  return bus.virtualOf ? realBus(bus.virtualOf) : bus;
}

function kindOf(bus: Bus): Kind {
  const up = bus.bridge;
  if (up === undefined) {
    return bus.functions.some((f) => f.portType === PortType.DownstreamPort) ? "switch" : "root";
  }
  if (!up.express || up.portType === PortType.PcieToPciBridge) return "shared";
  return up.portType === PortType.UpstreamPort ? "switch" : "link";
}

function acsOf(fn: PciFunction) {
  return fn.acs === undefined && fn.isVirtual ? fn.physfn?.acs : fn.acs;
}

function on(fn: PciFunction, bit: number): boolean {
  const acs = acsOf(fn);
  return acs ? ((acs.capability ?? 0) & (acs.control ?? 0) & bit) !== 0 : false;
}

/** The bit is on; or left out by a function or root port, which then has no peers. */
function redirects(fn: PciFunction): boolean {
  const acs = acsOf(fn);
  const leftOut = acs && ((acs.capability ?? 0) & 4) === 0;
  return on(fn, 4) || (leftOut === true && fn.portType !== PortType.DownstreamPort);
}

function vectorBit(fn: PciFunction, peer: PciFunction): boolean | undefined {
  const isPort = (f: PciFunction): boolean =>
    f.portType === PortType.RootPort || f.portType === PortType.DownstreamPort;
  let number: number;
  if (isPort(fn)) {
    if (!isPort(peer)) return undefined;
    number = peer.express?.portNumber ?? 0;
  } else {
    const link = kindOf(realBus(fn.bus)) === "link";
    const sameSlot = (fn.physfn ?? fn).device === (peer.physfn ?? peer).device;
    if (realBus(fn.bus) !== realBus(peer.bus) || !(link || sameSlot)) return undefined;
    number = link ? peer.devFn : peer.fn;
  }
  const acs = acsOf(fn);
  if (!acs || number >= (acs.egressVectorBits ?? 256)) return false;
  const byte = (fn.acs === undefined ? (fn.physfn ?? fn) : fn).config.u8(
    acs.offset + 8 + (number >> 3),
  );
  return ((byte >> (number & 7)) & 1) === 1;
}

function inBars(fn: PciFunction, address: bigint): number | undefined {
  return fn.bars?.find(
    (b) =>
      b.kind !== "io" &&
      b.base !== undefined &&
      address >= b.base &&
      address < b.base + (b.size ?? 16n),
  )?.index;
}

function inWindows(fn: PciFunction, address: bigint): boolean {
  const windows = fn.windows;
  return [windows?.memory, windows?.prefetchable].some(
    (w) => w?.state === "open" && w.span.first <= address && address <= w.span.last,
  );
}
