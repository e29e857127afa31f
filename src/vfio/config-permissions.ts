/**
 * What a user of VFIO may change in configuration space, and which bits are kept for the user
 * instead of the device. Linux vfio_pci_config.c: init_pci_cap_*_perm().
 *
 * Each bit is one of: the device's, read only; the device's, writable; virtual, read only; virtual,
 * writable. Capabilities without a table are the device's and read only, but for their links.
 */
import { CapabilityId, ExtendedCapabilityId } from "../pcie/index.js";
import type { ConfigOwner, PhysicalConfig } from "./config-map.js";

/** Masks for each byte of a capability; bytes beyond their end have none. */
export interface Permissions {
  readonly virtual: Uint8Array;
  readonly writable: Uint8Array;
}

const ALL = 0xffff_ffff;
const NONE = 0;

export const Command = { io: 1, memory: 2, busMaster: 4, intxDisable: 0x400 } as const;
/** Offsets in the header. */
export const Header = {
  vendor: 0x00,
  device: 0x02,
  command: 0x04,
  status: 0x06,
  bar0: 0x10,
  rom: 0x30,
  capabilities: 0x34,
  line: 0x3c,
  pin: 0x3d,
} as const;
/** Offsets in the PCI Express capability. */
export const Express = { capabilities: 4, control: 8, control2: 0x28 } as const;
export const ExpressControl = { payload: 0x00e0, readRequest: 0x7000, reset: 0x8000 } as const;
export const Power = { capabilities: 2, control: 4, stateMask: 3, pme: 0x8100 } as const;
export const Advanced = { capabilities: 3, control: 4 } as const;

class Table implements Permissions {
  readonly virtual: Uint8Array;
  readonly writable: Uint8Array;

  constructor(bytes: number) {
    this.virtual = new Uint8Array(bytes);
    this.writable = new Uint8Array(bytes);
  }

  set(at: number, width: 1 | 2 | 4, virtual: number, writable: number): this {
    for (let i = 0; i < width; i++) {
      this.virtual[at + i] = (virtual >>> (8 * i)) & 0xff;
      this.writable[at + i] = (writable >>> (8 * i)) & 0xff;
    }
    return this;
  }
}

/** Permissions of a capability; undefined for one that is only shown. */
export function permissionsOf(owner: ConfigOwner, config: PhysicalConfig): Permissions | undefined {
  if (owner.extended) return EXTENDED[owner.id];
  if (owner.id === CapabilityId.Msi) return msi(config.read(owner.offset + 2, 2));
  return STANDARD[owner.id];
}

/** Writes to all of it reach the device. */
export function isOpen(owner: ConfigOwner): boolean {
  if (!owner.extended) return owner.id === VENDOR_SPECIFIC;
  return owner.id === ExtendedCapabilityId.Vendor || owner.id === ExtendedCapabilityId.Dvsec;
}

const VENDOR_SPECIFIC = 9;

function header(): Table {
  const table = new Table(64)
    .set(Header.vendor, 2, ALL, NONE)
    .set(Header.device, 2, ALL, NONE)
    .set(Header.command, 2, Command.intxDisable, ALL)
    .set(Header.status, 2, 0x10, NONE)
    .set(0x0c, 1, NONE, ALL)
    .set(0x0d, 1, NONE, ALL)
    .set(0x0f, 1, NONE, ALL)
    .set(Header.rom, 4, ALL, ALL)
    .set(Header.capabilities, 1, ALL, NONE)
    .set(Header.line, 1, ALL, ALL)
    .set(Header.pin, 1, ALL, NONE);
  for (let bar = 0; bar < 6; bar++) table.set(Header.bar0 + 4 * bar, 4, ALL, ALL);
  return table;
}

/** A standard capability of `bytes` bytes whose link is the user's. */
const standard = (bytes: number): Table => new Table(bytes).set(1, 1, ALL, NONE);
/** An extended capability whose first doubleword is the user's. */
const extended = (bytes: number): Table => new Table(bytes).set(0, 4, ALL, NONE);

const POWER_WRITABLE = ALL & ~(Power.pme | Power.stateMask);

const STANDARD: Readonly<Record<number, Permissions>> = {
  0: header(),
  [CapabilityId.PowerManagement]: standard(8)
    .set(Power.capabilities, 2, 0xf800, NONE)
    .set(Power.control, 4, Power.pme, POWER_WRITABLE),
  /** Vital product data: address and data are the user's. */
  3: standard(8).set(2, 2, ALL, ALL).set(4, 4, ALL, ALL),
  /** PCI-X: command, error correction. */
  7: standard(24).set(2, 2, NONE, ALL).set(8, 4, NONE, ALL),
  // Payload size, read request size and reset are the user's; phantom functions are not to be had.
  [CapabilityId.PciExpress]: standard(0x3c)
    .set(
      Express.control,
      2,
      ExpressControl.reset | ExpressControl.payload | ExpressControl.readRequest,
      ALL & ~0x0200,
    )
    .set(Express.control2, 2, NONE, ALL & ~0x0020),
  [CapabilityId.AdvancedFeatures]: standard(6).set(Advanced.control, 1, 1, 1),
};

const UNCORRECTABLE = 0x0fff_f030;
const CORRECTABLE = 0x0000_f1c1;

const EXTENDED: Readonly<Record<number, Permissions>> = {
  [ExtendedCapabilityId.Aer]: extended(0x2c)
    .set(0x04, 4, NONE, UNCORRECTABLE)
    .set(0x08, 4, NONE, UNCORRECTABLE)
    .set(0x0c, 4, NONE, UNCORRECTABLE)
    .set(0x10, 4, NONE, CORRECTABLE)
    .set(0x14, 4, NONE, CORRECTABLE)
    .set(0x18, 4, NONE, 0x140),
  /** Power budgeting: which budget is shown. */
  4: extended(16).set(4, 1, NONE, ALL),
};

/** Address, data and the low half of the control are the user's; masks are the device's. */
function msi(flags: number): Table {
  const isWide = (flags & 0x80) !== 0;
  const data = isWide ? 0x0c : 0x08;
  const table = standard(24).set(2, 1, ALL, ALL).set(4, 4, ALL, ALL).set(data, 2, ALL, ALL);
  if (isWide) table.set(8, 4, ALL, ALL);
  if ((flags & 0x100) !== 0) {
    table.set(data + 4, 4, NONE, ALL).set(data + 8, 4, NONE, ALL);
  }
  return table;
}
