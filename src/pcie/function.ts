/**
 * One PCI function: its address, its configuration space and the facts read from it; and the bus it
 * sits on.
 *
 * Facts are read once, here, so that every layer above asks a named field and never an offset.
 * `undefined` = not known, `null` = known to be absent (see config-space.ts).
 */
import {
  type Bdf,
  busOf,
  type DevFn,
  devFnOf,
  deviceOf,
  functionOf,
  ridOf,
  segmentOf,
} from "../units/index.js";
import { type Bar, type BarHint, readBars } from "./bar.js";
import { type BridgeWindows, readBridgeWindows } from "./bridge-window.js";
import { type AcsFacts, readAcs } from "./capability/acs.js";
import {
  type AtsFacts,
  type PasidFacts,
  type PriFacts,
  readAts,
  readPasid,
  readPri,
} from "./capability/ats.js";
import { type ExpressFacts, PortType, readExpress } from "./capability/express.js";
import {
  CapabilityId,
  type CapabilityList,
  ExtendedCapabilityId,
  findExtended,
  findStandard,
  readCapabilities,
} from "./capability/list.js";
import { readSrIov, readVfBars, type SrIovFacts } from "./capability/sriov.js";
import type { ConfigSpace } from "./config-space.js";

export interface FunctionIds {
  readonly vendor: number | undefined;
  readonly device: number | undefined;
  readonly subVendor: number | undefined;
  readonly subDevice: number | undefined;
  readonly revision: number | undefined;
  /** Base class, sub-class, programming interface: 24 bits. */
  readonly classCode: number | undefined;
}

/** What a capture or a platform description says of one function. */
export interface FunctionDescription {
  readonly bdf: Bdf;
  readonly config: ConfigSpace;
  /**
   * For captures whose header type byte is not known whole: text shows the layout, not the
   * multi-function bit.
   */
  readonly headerType?: number | undefined;
  /** Overrides what the bytes say (a VF shows ffff:ffff there), or fills it in. */
  readonly ids?: { readonly [K in keyof FunctionIds]?: number | undefined } | undefined;
  readonly bars?: readonly BarHint[] | undefined;
  /** A PF's VF BARs: VF 0's addresses, and the size of one VF. */
  readonly vfBars?: readonly BarHint[] | undefined;
  /** Without numeric ids: every id the captured name may stand for. */
  readonly candidates?: readonly { readonly vendor: number; readonly device: number }[] | undefined;
  /** The physical function, when the capture names it (sysfs `physfn`). */
  readonly physfn?: Bdf | undefined;
  /** Known to be a VF although its PF is not named (a device name that says "Virtual Function"). */
  readonly virtual?: boolean | undefined;
  /**
   * The bridge directly above, when the capture names it (sysfs path, `lspci -t`); null = on a root
   * bus.
   */
  readonly parent?: Bdf | null | undefined;
  /** The VMD function that owns this function's domain, when the capture names it (sysfs path). */
  readonly behindVmd?: Bdf | undefined;
  /** Bound kernel driver; null = known to have none. */
  readonly driver?: string | null | undefined;
  /** Physical slot or board label. */
  readonly slot?: string | undefined;
  readonly label?: string | undefined;
  /** Device name in words, as the capture shows it. */
  readonly name?: string | undefined;
  /** Firmware marks the port as leading outside the case. */
  readonly externalFacing?: boolean | undefined;
  readonly untrusted?: boolean | undefined;
}

/** A function and its facts; fields that the fabric sets say so. */
export class PciFunction {
  readonly bdf: Bdf;
  readonly config: ConfigSpace;
  readonly description: FunctionDescription;
  readonly ids: FunctionIds;
  /** 0 endpoint, 1 bridge, 2 CardBus bridge. */
  readonly headerType: number | undefined;
  /**
   * Header type bit 7 as captured. The flag the kernel uses also depends on siblings: see {@link
   * multifunction}.
   */
  readonly multifunctionBit: boolean | undefined;
  readonly capabilities: CapabilityList;
  readonly express: ExpressFacts | null | undefined;
  readonly acs: AcsFacts | null | undefined;
  readonly ats: AtsFacts | null | undefined;
  readonly pri: PriFacts | null | undefined;
  readonly pasid: PasidFacts | null | undefined;
  readonly sriov: SrIovFacts | null | undefined;

  /** Set by the fabric: its place in `Fabric.functions`; -1 outside one. */
  index = -1;
  /**
   * Set by the fabric. Port type after the correction for mislabelled switch ports; undefined for
   * non-PCIe or unknown.
   */
  portType: PortType | undefined;
  /**
   * Set by the fabric: function 0's header bit, or on for functions above 0; never for a VF;
   * undefined when not known.
   */
  multifunction: boolean | undefined;
  /** Set by the fabric: the bus this function sits on. */
  bus!: Bus;
  /** Set by the fabric: the bus below this bridge. */
  secondaryBus: Bus | undefined;
  /** Set by the fabric: the PF of a VF. */
  physfn: PciFunction | undefined;
  /** Set by the fabric: this is a VF (its PF may be outside the capture). */
  isVirtual = false;

  #bars: readonly Bar[] | undefined;
  #windows: BridgeWindows | undefined;

  constructor(description: FunctionDescription) {
    const { bdf, config } = description;
    this.bdf = bdf;
    this.config = config;
    this.description = description;
    const header = config.knownU8(0x0e);
    this.headerType = header === undefined ? description.headerType : header & 0x7f;
    this.multifunctionBit = header === undefined ? undefined : (header & 0x80) !== 0;
    const list = readCapabilities(config);
    this.capabilities = list;
    this.ids = readIds(config, list, description.ids);
    this.express = map(findStandard(list, CapabilityId.PciExpress), (at) =>
      readExpress(config, at),
    );
    this.acs = map(findExtended(list, ExtendedCapabilityId.Acs), (at) => readAcs(config, at));
    this.ats = map(findExtended(list, ExtendedCapabilityId.Ats), (at) => readAts(config, at));
    this.pri = map(findExtended(list, ExtendedCapabilityId.Pri), (at) => readPri(config, at));
    this.pasid = map(findExtended(list, ExtendedCapabilityId.Pasid), (at) => readPasid(config, at));
    this.sriov = map(findExtended(list, ExtendedCapabilityId.SrIov), (at) => readSrIov(config, at));
    this.portType = this.express?.portType;
  }

  /** Has a PCI Express capability; undefined when the capability list is not known. */
  get isPcie(): boolean | undefined {
    return this.express === undefined ? undefined : this.express !== null;
  }

  /** A bridge with a bus below: type 1 or 2 header. */
  get isBridge(): boolean {
    return this.headerType === 1 || this.headerType === 2;
  }

  get isDownstreamFacing(): boolean {
    return this.portType === PortType.RootPort || this.portType === PortType.DownstreamPort;
  }

  get primaryBusNumber(): number | undefined {
    return this.isBridge ? this.config.knownU8(0x18) : undefined;
  }

  get secondaryBusNumber(): number | undefined {
    return this.isBridge ? this.config.knownU8(0x19) : undefined;
  }

  get subordinateBusNumber(): number | undefined {
    return this.isBridge ? this.config.knownU8(0x1a) : undefined;
  }

  /**
   * The bridge directly above, or undefined on a root bus. VFs on a virtual bus: the bridge above
   * their PF.
   */
  get upstreamBridge(): PciFunction | undefined {
    return this.bus.bridge;
  }

  get bars(): readonly Bar[] | undefined {
    this.#bars ??= readBars(this.config, this.headerType, this.description.bars);
    return this.#bars;
  }

  /** VF 0's BARs; VF n is n sizes further on. Undefined for functions without SR-IOV. */
  get vfBars(): readonly Bar[] | undefined {
    if (!this.sriov) return undefined;
    return readVfBars(this.config, this.sriov.offset, this.description.vfBars);
  }

  /** Undefined for functions that are not type 1 bridges. */
  get windows(): BridgeWindows | undefined {
    if (this.headerType !== 1) return undefined;
    this.#windows ??= readBridgeWindows(this.config);
    return this.#windows;
  }

  get segment(): number {
    return segmentOf(this.bdf);
  }
  get rid() {
    return ridOf(this.bdf);
  }
  get busNumber(): number {
    return busOf(this.bdf);
  }
  get device(): number {
    return deviceOf(this.bdf);
  }
  get fn(): number {
    return functionOf(this.bdf);
  }
  get devFn() {
    return devFnOf(this.bdf);
  }
}

function map<T>(at: number | null | undefined, read: (at: number) => T): T | null | undefined {
  return typeof at === "number" ? read(at) : at;
}

function readIds(
  config: ConfigSpace,
  list: CapabilityList,
  given: FunctionDescription["ids"],
): FunctionIds {
  const revision = config.knownU8(0x08);
  const classCode = config.isKnown(0x09, 3) ? config.u16(0x0a) * 256 + config.u8(0x09) : undefined;
  const sub = subsystemAt(config, list);
  return {
    vendor: given?.vendor ?? config.knownU16(0x00),
    device: given?.device ?? config.knownU16(0x02),
    subVendor: given?.subVendor ?? (sub === undefined ? undefined : config.knownU16(sub)),
    subDevice: given?.subDevice ?? (sub === undefined ? undefined : config.knownU16(sub + 2)),
    revision: given?.revision ?? revision,
    classCode: given?.classCode ?? classCode,
  };
}

/**
 * Where the subsystem ids are: in a type 0 header at 2Ch, in bridges in a capability of their own
 * (PCI-to-PCI Bridge 1.2 § 3.2.5.13), in CardBus bridges at 40h.
 */
function subsystemAt(config: ConfigSpace, list: CapabilityList): number | undefined {
  const header = config.knownU8(0x0e);
  if (header === undefined) return undefined;
  if ((header & 0x7f) === 0) return 0x2c;
  if ((header & 0x7f) === 2) return 0x40;
  const at = findStandard(list, CapabilityId.PciBridgeSubsystem);
  return typeof at === "number" ? at + 4 : undefined;
}

/**
 * One bus of a fabric. A root bus has no bridge. A virtual bus carries VFs whose numbers run past
 * their PF's bus: it has no bridge of its own, `virtualOf` is the PF's bus, and `bridge` is that
 * bus's bridge.
 */
export class Bus {
  readonly segment: number;
  readonly number: number;
  /** Sorted by device and function. */
  readonly functions: PciFunction[] = [];
  /** Set by the fabric: a number below `Fabric.busCount`; -1 outside one. */
  index = -1;
  bridge: PciFunction | undefined;
  virtualOf: Bus | undefined;

  constructor(segment: number, number: number) {
    this.segment = segment;
    this.number = number;
  }

  get isRoot(): boolean {
    return this.bridge === undefined && this.virtualOf === undefined;
  }

  /** Functions come in order of their numbers. */
  add(fn: PciFunction): void {
    this.functions.push(fn);
  }

  at(devFn: DevFn | number): PciFunction | undefined {
    let low = 0;
    let high = this.functions.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const fn = this.functions[middle] as PciFunction;
      const found = fn.bdf & 0xff;
      if (found === devFn) return fn;
      if (found < devFn) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }
}
