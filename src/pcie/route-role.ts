/**
 * Roles: what a function does with transactions, and what kind of place the bus below it is.
 *
 * Port types come from the PCI Express capability. Where a capture does not show them (captures by
 * non-root), a bridge's place decides and the role is marked as guessed: on a root bus a root port,
 * below a link an upstream port, on a switch's inner bus a downstream port.
 */
import { PortType } from "./capability/express.js";
import type { Bus, PciFunction } from "./function.js";

export const Role = {
  /** Not a bridge, or a bridge without a bus below. */
  Endpoint: 0,
  RootPort: 1,
  UpstreamPort: 2,
  DownstreamPort: 3,
  PcieToPci: 4,
  PciToPcie: 5,
  /** Conventional or PCI-X bridge, CardBus bridge. */
  PciBridge: 6,
} as const;
export type Role = (typeof Role)[keyof typeof Role];

/**
 * Where functions meet.
 * Root      a root bus, inside the root complex
 * Link      the far end of a link: the functions of one device
 * Switch    the inner bus of a switch
 * Shared    a conventional bus
 */
export const Place = { Root: 0, Link: 1, Switch: 2, Shared: 3 } as const;
export type Place = (typeof Place)[keyof typeof Place];

/**
 * What a function does where it sits. `guessed`: its port type is not known, so the place decided.
 */
export function roleOf(fn: PciFunction, at: Place): { role: Role; guessed: boolean } {
  if (!fn.isBridge) return { role: Role.Endpoint, guessed: false };
  if (fn.headerType === 2) return { role: Role.PciBridge, guessed: false };
  const known = fn.express === null ? Role.PciBridge : roleOfType(fn.portType);
  if (known !== undefined) return { role: known, guessed: false };
  return { role: roleByPlace(at), guessed: true };
}

function roleOfType(type: PortType | undefined): Role | undefined {
  switch (type) {
    case PortType.RootPort:
      return Role.RootPort;
    case PortType.UpstreamPort:
      return Role.UpstreamPort;
    case PortType.DownstreamPort:
      return Role.DownstreamPort;
    case PortType.PcieToPciBridge:
      return Role.PcieToPci;
    case PortType.PciToPcieBridge:
      return Role.PciToPcie;
    default:
      return undefined;
  }
}

function roleByPlace(at: Place): Role {
  if (at === Place.Root) return Role.RootPort;
  if (at === Place.Link) return Role.UpstreamPort;
  return at === Place.Switch ? Role.DownstreamPort : Role.PciBridge;
}

/** The kind of bus below a bridge. */
export function placeBelow(role: Role): Place {
  if (role === Role.UpstreamPort) return Place.Switch;
  return role === Role.PcieToPci || role === Role.PciBridge ? Place.Shared : Place.Link;
}

/**
 * A bus without a bridge is a root bus, unless switch ports on it show that its bridge is not in
 * the capture.
 */
export function placeWithoutBridge(bus: Bus): Place {
  const inner = bus.functions.some((fn) => fn.portType === PortType.DownstreamPort);
  return inner ? Place.Switch : Place.Root;
}

/** Forwards requests from a link below it: the ports where ACS judges what comes up. */
export function facesDownstream(role: Role): boolean {
  return role === Role.RootPort || role === Role.DownstreamPort || role === Role.PciToPcie;
}
