/**
 * RouteModel: a fabric compiled for routing, all facts as numbers in typed arrays.
 *
 * A *domain* is a place where functions meet and addresses are decoded: one bus with the virtual
 * buses of its VFs. Functions and domains have dense indices; -1 is "none". All root domains share
 * decoder table 0, since bus addresses are one space for the whole root complex; each other domain
 * has its own table.
 *
 * A model is a snapshot: build a new one when registers change. Cost: O(n log n) in functions and
 * claims.
 */
import { Acs } from "./capability/acs.js";
import { AddressDecoder, type Claim } from "./decoder.js";
import type { Fabric } from "./fabric.js";
import type { Bus, PciFunction } from "./function.js";
import { type AcsInEffect, acsInEffect, egressVectorBit } from "./route-acs.js";
import { barClaims, windowClaims } from "./route-claims.js";
import { Egress } from "./route-decide.js";
import type { RouteOptions } from "./route-options.js";
import { Place, placeBelow, placeWithoutBridge, Role, roleOf } from "./route-role.js";

export const NONE = -1;

/** Bits of `RouteModel.flags`. */
export const Flag = {
  AcsUnknown: 0x01,
  /** The role was guessed from the place. */
  RoleGuessed: 0x02,
  /** Receives or forwards no end-end prefix. */
  NoPrefix: 0x04,
  PrefixUnknown: 0x08,
  /** Blocks end-end prefixes at its egress. */
  BlocksPrefix: 0x10,
  BusMasterOff: 0x20,
  MemoryOff: 0x40,
  /** Bus in PCI-X mode: requests keep their requester ID. */
  KeepsRequester: 0x80,
} as const;

/** Domain-independent facts; see the fields. */
export class RouteModel {
  readonly fabric: Fabric;
  readonly options: RouteOptions;
  readonly functions: readonly PciFunction[];
  readonly buses: readonly Bus[];

  // By function.
  readonly role: Uint8Array;
  readonly flags: Uint8Array;
  readonly acs: Uint8Array;
  readonly rid: Uint16Array;
  /** Secondary and subordinate bus; 0 and 255 when not known. */
  readonly secondary: Uint8Array;
  readonly subordinate: Uint8Array;
  readonly domain: Int32Array;
  /** Domain below a bridge. */
  readonly below: Int32Array;
  /** Functions with equal numbers are one device. */
  readonly device: Int32Array;

  // By domain.
  readonly place: Uint8Array;
  /** The bridge above. */
  readonly bridge: Int32Array;
  readonly table: Int32Array;
  /** The endpoint that the domain's segment hangs below. */
  readonly owner: Int32Array;
  readonly depth: Int32Array;
  readonly members: readonly (readonly number[])[];

  readonly decoder: AddressDecoder;
  readonly acsInEffect: readonly AcsInEffect[];

  constructor(fabric: Fabric, options: RouteOptions = {}) {
    this.fabric = fabric;
    this.options = options;
    const functions = fabric.functions;
    const n = functions.length;
    this.functions = functions;
    this.role = new Uint8Array(n);
    this.flags = new Uint8Array(n);
    this.acs = new Uint8Array(n);
    this.rid = Uint16Array.from(functions, (fn) => fn.rid);
    this.secondary = Uint8Array.from(functions, (fn) => fn.secondaryBusNumber ?? 0);
    this.subordinate = Uint8Array.from(functions, (fn) => fn.subordinateBusNumber ?? 255);
    this.domain = new Int32Array(n).fill(NONE);
    this.below = new Int32Array(n).fill(NONE);
    const domains = new DomainList(this);
    this.buses = domains.buses;
    this.place = Uint8Array.from(domains.place);
    this.bridge = Int32Array.from(domains.bridge);
    this.depth = Int32Array.from(domains.depth);
    this.members = domains.members;
    this.owner = Int32Array.from(this.buses, (bus) => {
      const owner = options.segmentOwner?.(bus.segment);
      return owner === undefined ? NONE : this.indexOf(owner);
    });
    this.device = numberDevices(this);
    this.acsInEffect = functions.map((fn, i) => acsInEffect(fn, this.role[i] as Role, options));
    this.acsInEffect.forEach((acs, i) => {
      this.acs[i] = acs.word;
      if (acs.basis === "unknown") this.flags[i] = (this.flags[i] as number) | Flag.AcsUnknown;
    });
    functions.forEach((fn, i) => {
      this.flags[i] = (this.flags[i] as number) | flagsOf(fn, options);
    });
    this.table = new Int32Array(this.buses.length);
    this.decoder = new AddressDecoder(this.#claims());
  }

  /** @throws RangeError when the function belongs to another fabric. */
  indexOf(fn: PciFunction): number {
    const { index } = fn;
    if (index < 0 || this.functions[index] !== fn) {
      throw new RangeError("the function is not one of this fabric's");
    }
    return index;
  }

  /** What the egress control vector of `source` says of `target`. */
  egress(source: number, target: number): Egress {
    if (((this.acs[source] as number) & Acs.EC) === 0) return Egress.NotNamed;
    const number = this.#egressNumber(source, target);
    if (number === NONE) return Egress.NotNamed;
    const bit = egressVectorBit(this.functions[source] as PciFunction, number);
    return bit ? Egress.Set : Egress.Clear;
  }

  /**
   * Ports name ports by port number, functions the functions of their device (ARI: 8 bits); §
   * 7.7.11.4.
   */
  #egressNumber(source: number, target: number): number {
    const peer = this.functions[target] as PciFunction;
    if (isPort(this.role[source])) {
      return isPort(this.role[target]) ? (peer.express?.portNumber ?? NONE) : NONE;
    }
    if (this.device[source] !== this.device[target]) return NONE;
    return this.place[this.domain[target] as number] === Place.Link ? peer.devFn : peer.fn;
  }

  #claims(): Claim[][] {
    const roots: Claim[] = [];
    const tables = [roots];
    this.members.forEach((members, domain) => {
      const isRoot = this.place[domain] === Place.Root;
      const claims = isRoot ? roots : [];
      if (!isRoot) this.table[domain] = tables.push(claims) - 1;
      for (const i of members) {
        const fn = this.functions[i] as PciFunction;
        barClaims(fn, i, claims);
        if (this.role[i] !== Role.Endpoint) windowClaims(fn, i, claims);
      }
      // The registers of an upstream port are within reach of the ports below it.
      const bridge = this.bridge[domain] as number;
      if (this.place[domain] === Place.Switch && bridge !== NONE) {
        barClaims(this.functions[bridge] as PciFunction, bridge, claims);
      }
    });
    return tables;
  }
}

/** Numbers the domains, parents before children, and notes the roles on the way. */
class DomainList {
  readonly buses: Bus[] = [];
  readonly place: Place[] = [];
  readonly bridge: number[] = [];
  readonly depth: number[] = [];
  readonly members: number[][] = [];
  readonly #byBus: Int32Array;

  constructor(model: RouteModel) {
    const { functions, role, flags, domain, below } = model;
    this.#byBus = new Int32Array(model.fabric.busCount).fill(NONE);
    functions.forEach((fn, i) => {
      const at = this.#domainOf(fn.bus);
      const found = roleOf(fn, this.place[at] as Place);
      role[i] = found.role;
      if (found.guessed) flags[i] = Flag.RoleGuessed;
      domain[i] = at;
      this.members[at]?.push(i);
      const bus = fn.secondaryBus;
      if (bus === undefined || this.#byBus[bus.index] !== NONE) return;
      const depth = (this.depth[at] as number) + 1;
      below[i] = this.#add(bus, placeBelow(found.role), i, depth);
    });
    for (const bus of model.fabric.buses) this.#domainOf(bus);
  }

  #domainOf(bus: Bus): number {
    let real = bus;
    // Virtual buses may point at each other in a broken capture; 256 buses are the most there can
    // be.
    for (let n = 0; real.virtualOf !== undefined && n < 256; n++) real = real.virtualOf;
    const known = this.#byBus[real.index] as number;
    if (known !== NONE) return known;
    return this.#add(real, placeWithoutBridge(real), NONE, 0);
  }

  #add(bus: Bus, place: Place, bridge: number, depth: number): number {
    const domain = this.buses.push(bus) - 1;
    this.#byBus[bus.index] = domain;
    this.place.push(place);
    this.bridge.push(bridge);
    this.depth.push(depth);
    this.members.push([]);
    return domain;
  }
}

/**
 * At the end of a link all functions are one device; elsewhere those of one device number, and VFs
 * with their PF.
 */
function numberDevices(model: RouteModel): Int32Array {
  const { functions, domain, place } = model;
  const device = new Int32Array(functions.length).fill(NONE);
  const numbers = new Map<number, number>();
  functions.forEach((fn, i) => {
    const pf = fn.isVirtual && fn.physfn !== undefined ? fn.physfn : fn;
    const at = domain[i] as number;
    const slot = place[at] === Place.Link ? 32 : pf.device;
    const key = at * 64 + slot;
    const number = numbers.get(key) ?? numbers.size;
    numbers.set(key, number);
    device[i] = number;
  });
  return device;
}

function flagsOf(fn: PciFunction, options: RouteOptions): number {
  let flags = 0;
  const prefix = fn.express === null ? false : fn.express?.endEndPrefix;
  if (prefix === false) flags |= Flag.NoPrefix;
  if (prefix === undefined) {
    flags |= options.unknownPrefix === "unsupported" ? Flag.NoPrefix : Flag.PrefixUnknown;
  }
  if (fn.express?.endEndPrefixBlocking === true) flags |= Flag.BlocksPrefix;
  const command = options.honourCommand === true ? fn.config.knownU16(0x04) : undefined;
  if (command !== undefined && (command & 4) === 0) flags |= Flag.BusMasterOff;
  // A VF's own bit reads 0: its PF's VF Memory Space Enable decides (§ 9.3.4.1.3, § 9.3.3.3.4).
  const memory = fn.isVirtual || command === undefined ? undefined : (command & 2) !== 0;
  if (memory === false) flags |= Flag.MemoryOff;
  if (isPciX(fn)) flags |= Flag.KeepsRequester;
  return flags;
}

const PCI_X = 0x07;
const PCI_X_SECONDARY_FREQUENCY = 0x1c0;

/**
 * A bridge whose secondary bus runs in PCI-X mode (PCI-X Protocol 2.0 § 8.3.2: secondary status
 * bits 8:6).
 */
function isPciX(fn: PciFunction): boolean {
  const at = fn.isBridge ? fn.capabilities.standard?.get(PCI_X) : undefined;
  if (at === undefined) return false;
  return ((fn.config.knownU16(at + 2) ?? 0) & PCI_X_SECONDARY_FREQUENCY) !== 0;
}

function isPort(role: number | undefined): boolean {
  return role === Role.RootPort || role === Role.DownstreamPort;
}
