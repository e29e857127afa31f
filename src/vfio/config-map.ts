/**
 * Which capability owns each byte of a device's configuration space, as VFIO shows it to a user.
 * Linux vfio_pci_config.c: vfio_cap_init(), vfio_ecap_init().
 *
 * Capabilities that VFIO does not know are hidden: standard ones are taken out of their chain,
 * extended ones keep their place in it under id 0. Bytes that no shown capability owns are open:
 * reads and writes reach the device.
 */
import { CapabilityId, ExtendedCapabilityId } from "../pcie/index.js";

/** Configuration space of the device itself. */
export interface PhysicalConfig {
  read(offset: number, length: 1 | 2 | 4): number;
  write(offset: number, length: 1 | 2 | 4, value: number): void;
}

export const HEADER_BYTES = 64;
const STANDARD_END = 256;
const CHAIN_LIMIT = (STANDARD_END - HEADER_BYTES) / 4;
const STATUS = 0x06;
const STATUS_CAPABILITIES = 0x10;
const CAPABILITY_POINTER = 0x34;
/** No byte of its own. */
const OPEN = -1;

/** A capability that is shown; `offset` 0 and id 0 is the header. */
export interface ConfigOwner {
  readonly id: number;
  readonly extended: boolean;
  readonly offset: number;
}

const HEADER: ConfigOwner = { id: 0, extended: false, offset: 0 };

type Length = (config: PhysicalConfig, at: number) => number;

/** Bytes of capabilities; those that are missing are hidden. */
const STANDARD: Readonly<Record<number, number | Length>> = {
  [CapabilityId.PowerManagement]: 8,
  /** AGP */ 2: 8,
  /** Vital product data */ 3: 8,
  /** Slot identification */ 4: 4,
  [CapabilityId.Msi]: msiLength,
  /** Hot swap */ 6: 4,
  /** PCI-X */ 7: (config, at) => ((config.read(at + 2, 2) & 0x3000) === 0 ? 8 : 24),
  /** HyperTransport */ 8: (config, at) => ((config.read(at + 3, 1) & 0xe0) === 0 ? 28 : 8),
  /** Vendor specific */ 9: (config, at) => config.read(at + 2, 1),
  [CapabilityId.PciExpress]: expressLength,
  [CapabilityId.MsiX]: 12,
  /** SATA */ 18: (config, at) => ((config.read(at + 4, 1) & 0xf) === 0xf ? 16 : 8),
  [CapabilityId.AdvancedFeatures]: 6,
};

const EXTENDED: Readonly<Record<number, number | Length>> = {
  [ExtendedCapabilityId.Aer]: 0x2c,
  /** Virtual channels */ 2: channelLength,
  [ExtendedCapabilityId.Serial]: 12,
  /** Power budgeting */ 4: 16,
  /** Virtual channels, multifunction */ 8: channelLength,
  /** Virtual channels with MFVC */ 9: channelLength,
  [ExtendedCapabilityId.Vendor]: (config, at) => config.read(at + 4, 4) >>> 20,
  [ExtendedCapabilityId.Acs]: acsLength,
  [ExtendedCapabilityId.Ari]: 8,
  [ExtendedCapabilityId.Ats]: 8,
  [ExtendedCapabilityId.SrIov]: 64,
  /** Multicast */ 18: 44,
  [ExtendedCapabilityId.Pri]: 16,
  [ExtendedCapabilityId.ResizableBar]: (config, at) => 4 + (config.read(at + 8, 1) >>> 5) * 8,
  /** Dynamic power allocation */ 22: (config, at) => 17 + (config.read(at + 4, 1) & 0x1f),
  /** Processing hints */ 23: hintsLength,
  /** Latency tolerance */ 24: 8,
  [ExtendedCapabilityId.Dvsec]: (config, at) => config.read(at + 4, 4) >>> 20,
};

/** See the head of the file. */
export class ConfigMap {
  /** 256 or 4096. */
  readonly size: number;
  /** The bytes that the user's view starts with, where it is not the device's own. */
  readonly bytes: Uint8Array;
  readonly #owners: ConfigOwner[] = [HEADER];
  readonly #ownerOf: Int16Array;

  constructor(config: PhysicalConfig, size: number) {
    this.size = size;
    this.bytes = new Uint8Array(size);
    this.#ownerOf = new Int16Array(size).fill(OPEN);
    this.#ownerOf.fill(0, 0, HEADER_BYTES);
    this.#copy(config, 0, HEADER_BYTES);
    this.#standard(config);
    if (size > STANDARD_END) this.#extended(config);
  }

  /** Undefined: nobody's byte. */
  ownerOf(offset: number): ConfigOwner | undefined {
    return this.#owners[this.#ownerOf[offset] ?? OPEN];
  }

  find(id: number, extended = false): ConfigOwner | undefined {
    return this.#owners.find((o) => o.id === id && o.extended === extended && o !== HEADER);
  }

  /** Bytes from `offset` to the end of its doubleword that have the same owner, 1 to 4. */
  runAt(offset: number): number {
    const owner = this.#ownerOf[offset];
    let count = 1;
    while ((offset + count) % 4 !== 0 && this.#ownerOf[offset + count] === owner) count++;
    return count;
  }

  #standard(config: PhysicalConfig): void {
    if ((config.read(STATUS, 2) & STATUS_CAPABILITIES) === 0) return;
    let link = CAPABILITY_POINTER;
    let shown = 0;
    let at = config.read(CAPABILITY_POINTER, 1) & ~3;
    for (let i = 0; at >= HEADER_BYTES && i < CHAIN_LIMIT; i++) {
      const id = config.read(at, 1);
      const next = config.read(at + 1, 1);
      const bytes = lengthOf(STANDARD, id, config, at);
      if (bytes === 0) {
        this.bytes[link] = next;
      } else {
        this.#own({ id, extended: false, offset: at }, config, Math.min(bytes, STANDARD_END - at));
        link = at + 1;
        shown++;
      }
      at = next & ~3;
    }
    if (shown === 0) this.bytes[STATUS] = (this.bytes[STATUS] ?? 0) & ~STATUS_CAPABILITIES;
  }

  #extended(config: PhysicalConfig): void {
    let shown = 0;
    let at = STANDARD_END;
    for (let i = 0; at >= STANDARD_END && i < (this.size - STANDARD_END) / 4; i++) {
      const header = config.read(at, 4);
      if (header === 0 || header === 0xffff_ffff) break;
      const id = header & 0xffff;
      const bytes = lengthOf(EXTENDED, id, config, at);
      this.#own({ id, extended: true, offset: at }, config, Math.min(bytes || 4, this.size - at));
      // A hidden one is an anchor of the chain: id and version 0, only the link is left.
      if (bytes === 0) setWord(this.bytes, at, header & 0xffc0_0000);
      else shown++;
      at = (header >>> 20) & 0xffc;
    }
    if (shown === 0) setWord(this.bytes, STANDARD_END, 0);
  }

  #own(owner: ConfigOwner, config: PhysicalConfig, bytes: number): void {
    this.#ownerOf.fill(this.#owners.length, owner.offset, owner.offset + bytes);
    this.#owners.push(owner);
    this.#copy(config, owner.offset, bytes);
  }

  #copy(config: PhysicalConfig, at: number, bytes: number): void {
    for (let i = 0; i < bytes; i++) this.bytes[at + i] = config.read(at + i, 1);
  }
}

function lengthOf(
  table: Readonly<Record<number, number | Length>>,
  id: number,
  config: PhysicalConfig,
  at: number,
): number {
  const found = table[id] ?? 0;
  return typeof found === "number" ? found : found(config, at);
}

/** PCIe 6 § 7.7.1: 10 bytes, with 64-bit addresses 4 more, with masks 10 more. */
function msiLength(config: PhysicalConfig, at: number): number {
  const flags = config.read(at + 2, 2);
  return 10 + ((flags & 0x80) !== 0 ? 4 : 0) + ((flags & 0x100) !== 0 ? 10 : 0);
}

/** By version, and shorter for root complex integrated endpoints. */
function expressLength(config: PhysicalConfig, at: number): number {
  const flags = config.read(at + 2, 2);
  const isIntegrated = ((flags >>> 4) & 0xf) === 9;
  if ((flags & 0xf) === 1) return isIntegrated ? 0x0c : 0x14;
  return isIntegrated ? 0x2c : 0x3c;
}

function acsLength(config: PhysicalConfig, at: number): number {
  if ((config.read(at + 4, 1) & 0x20) === 0) return 8;
  const bits = config.read(at + 5, 1) || 256;
  return 8 + Math.ceil(bits / 32) * 4;
}

/** The table of tags lies in the capability when the location field says 1. */
function hintsLength(config: PhysicalConfig, at: number): number {
  const capability = config.read(at + 4, 4);
  if ((capability & 0x600) !== 0x200) return 12;
  return 12 + (((capability >>> 16) & 0x7ff) + 1) * 2;
}

/** Header, one block for each channel, arbitration tables: the furthest end of these. */
function channelLength(config: PhysicalConfig, at: number): number {
  const first = config.read(at + 4, 4);
  const channels = (first & 7) + 1;
  const plain = 0x10 + channels * 12;
  const arbitration = config.read(at + 8, 4);
  const tableAt = (arbitration >>> 24) * 16;
  if (tableAt === 0) return plain;
  const phases = (arbitration & 8) !== 0 ? 128 : (arbitration & 4) !== 0 ? 64 : 32;
  return Math.max(plain, tableAt + phases / 2);
}

function setWord(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = (value >>> (8 * i)) & 0xff;
}
