/**
 * VirtualConfig: configuration space as a user of VFIO reads and writes it. Linux
 * vfio_pci_config.c.
 *
 * Accesses are cut into naturally aligned pieces of 1, 2 or 4 bytes that lie in one capability. A
 * piece is made of the device's bits and of bits that are kept for the user; what a write sets off
 * beyond that (resets, interrupts, mappings of BARs that must go) is told to the device.
 */
import { UapiError } from "../abi/index.js";
import { CapabilityId } from "../pcie/index.js";
import { ConfigMap, type ConfigOwner, type PhysicalConfig } from "./config-map.js";
import {
  Advanced,
  Command,
  Express,
  ExpressControl,
  Header,
  isOpen,
  type Permissions,
  Power,
  permissionsOf,
} from "./config-permissions.js";

/** A BAR as the kernel has laid it out. */
export interface ConfigBar {
  /** Bytes; a power of two. */
  readonly size: bigint;
  /** Low bits of the register: kind and prefetchability. */
  readonly flags: number;
}

/** What the registers do to the device behind them. */
export interface ConfigEffects {
  /** MSI is what interrupts come by now, with so many vectors (log2). */
  msiQueue(): number | undefined;
  /** Memory decoding is about to go off: mappings of BARs go first. */
  memoryOff(): void;
  /** The command register was written. */
  commandWritten(): void;
  /** The interrupt pin is silenced or not. */
  intxDisabled(disabled: boolean): void;
  /** The user asks for a function-level reset. */
  reset(): void;
  /** D0 to D3hot, as 0 to 3. */
  setPowerState(state: number): void;
}

export interface ConfigIdentity {
  readonly size: number;
  /** What a VF's own registers do not say; undefined for other functions. */
  readonly virtual: { readonly vendor: number; readonly device: number } | undefined;
  /** By BAR index; 6 is the ROM. Undefined: not there. */
  readonly bars: readonly (ConfigBar | undefined)[];
}

const CITE = { cite: "Linux vfio_config_do_rw()" };
const BAR_COUNT = 6;
const ROM = 6;
const ROM_ENABLE = 1;

type Width = 1 | 2 | 4;

/** See the head of the file. */
export class VirtualConfig {
  readonly map: ConfigMap;
  readonly #config: PhysicalConfig;
  readonly #effects: ConfigEffects;
  readonly #identity: ConfigIdentity;
  readonly #permissions = new Map<ConfigOwner, Permissions | undefined>();
  /** Raw BARs and ROM as the kernel left them, to be put back after a reset by the back door. */
  readonly #realBars: readonly number[];
  #intxDisabled = false;

  constructor(config: PhysicalConfig, identity: ConfigIdentity, effects: ConfigEffects) {
    this.#config = config;
    this.#effects = effects;
    this.#identity = identity;
    this.map = new ConfigMap(config, identity.size);
    this.#realBars = [0, 1, 2, 3, 4, 5, 8].map((i) => config.read(Header.bar0 + 4 * i, 4));
    this.#start();
  }

  get size(): number {
    return this.map.size;
  }

  /** The interrupt pin that the user sees, 0 for none. */
  get pin(): number {
    return this.#virtual(Header.pin, 1);
  }

  /** @throws UapiError EFAULT beyond the end. */
  read(offset: number, length: number): Uint8Array {
    this.#check(offset, length);
    const out = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const width = this.#piece(offset + done, length - done);
      put(out, done, width, this.#read(offset + done, width));
      done += width;
    }
    return out;
  }

  /** @throws UapiError EFAULT beyond the end: pieces before are written. */
  write(offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const width = this.#piece(offset + done, bytes.length - done);
      this.#write(offset + done, width, get(bytes, done, width));
      done += width;
    }
  }

  #start(): void {
    const { bytes } = this.map;
    const { virtual } = this.#identity;
    this.#intxDisabled = (this.#virtual(Header.command, 2) & Command.intxDisable) !== 0;
    if (virtual !== undefined) {
      put(bytes, Header.vendor, 2, virtual.vendor);
      put(bytes, Header.device, 2, virtual.device);
      // A VF has no pin, and decodes memory whenever its PF lets it.
      bytes[Header.pin] = 0;
      bytes[Header.command] = (bytes[Header.command] ?? 0) | Command.memory;
    }
    this.#fixBars();
    const power = this.map.find(CapabilityId.PowerManagement)?.offset;
    if (power === undefined) return;
    put(bytes, power + Power.capabilities, 2, get(bytes, power + Power.capabilities, 2) & 0x07ff);
    put(bytes, power + Power.control, 2, get(bytes, power + Power.control, 2) & ~Power.pme);
  }

  #check(offset: number, length: number): void {
    if (offset >= 0 && offset + length <= this.map.size) return;
    throw new UapiError("EFAULT", "the access goes beyond the end of configuration space", CITE);
  }

  /** How many bytes the next piece has. */
  #piece(offset: number, left: number): Width {
    this.#check(offset, left);
    const count = Math.min(left, this.map.runAt(offset));
    if (count >= 4 && offset % 4 === 0) return 4;
    return count >= 2 && offset % 2 === 0 ? 2 : 1;
  }

  #read(offset: number, width: Width): number {
    const owner = this.map.ownerOf(offset);
    if (owner === undefined) return this.#config.read(offset, width);
    const permissions = this.#permissionsOf(owner);
    if (permissions === undefined) return this.#readShown(owner, offset, width);
    const at = offset - owner.offset;
    if (isHeader(owner) && isBar(offset)) this.#fixBars();
    const keep = get(permissions.virtual, at, width);
    const real = keep === allOf(width) ? 0 : this.#config.read(offset, width);
    let value = ((real & ~keep) | (this.#virtual(offset, width) & keep)) >>> 0;
    if (isHeader(owner) && offset === Header.command && this.#identity.virtual !== undefined) {
      value |= this.#virtual(Header.command, 2) & Command.memory;
    }
    if (owner.id === CapabilityId.Msi && !owner.extended) {
      value = this.#withMsiQueue(owner, offset, width, value);
    }
    return value;
  }

  /** A capability that is only shown: the links are the user's. */
  #readShown(owner: ConfigOwner, offset: number, width: Width): number {
    const real = this.#config.read(offset, width);
    const at = offset - owner.offset;
    if (owner.extended) return at < 4 ? this.#virtual(offset, width) : real;
    if (at > 1 || at + width <= 1) return real;
    const shift = 8 * (1 - at);
    return ((real & ~(0xff << shift)) | (this.#virtual(owner.offset + 1, 1) << shift)) >>> 0;
  }

  #write(offset: number, width: Width, value: number): void {
    const owner = this.map.ownerOf(offset);
    if (owner === undefined || isOpen(owner)) {
      this.#config.write(offset, width, value);
      return;
    }
    const permissions = this.#permissionsOf(owner);
    if (permissions === undefined) return;
    if (isHeader(owner)) this.#writeHeader(permissions, offset, width, value);
    else this.#writeCapability(owner, permissions, offset, width, value);
  }

  #writeHeader(permissions: Permissions, offset: number, width: Width, value: number): void {
    if (offset === Header.command) this.#beforeCommand(value);
    this.#store(permissions, offset, offset, width, value);
    if (offset !== Header.command && offset !== Header.command + 1) return;
    if (offset === Header.command) {
      const kept = this.#virtual(Header.command, 1) & ~(Command.io | Command.memory);
      this.map.bytes[Header.command] = kept | (value & (Command.io | Command.memory));
      this.#effects.commandWritten();
    }
    const disabled = (this.#virtual(Header.command, 2) & Command.intxDisable) !== 0;
    if (disabled === this.#intxDisabled) return;
    this.#intxDisabled = disabled;
    this.#effects.intxDisabled(disabled);
  }

  /** The device was reset behind our back: what was on is off, and BARs are put back first. */
  #beforeCommand(value: number): void {
    if ((value & Command.memory) === 0) this.#effects.memoryOff();
    const real = this.#config.read(Header.command, 2);
    const kept = this.#virtual(Header.command, 2);
    const isVirtual = this.#identity.virtual !== undefined;
    const lost = (bit: number): boolean =>
      (value & bit) !== 0 && (kept & bit) !== 0 && (real & bit) === 0;
    if ((lost(Command.memory) && !isVirtual) || lost(Command.io)) this.restoreBars();
  }

  /** Writes the real BARs, which a reset has cleared. */
  restoreBars(): void {
    [0, 1, 2, 3, 4, 5, 8].forEach((register, i) => {
      this.#config.write(Header.bar0 + 4 * register, 4, this.#realBars[i] ?? 0);
    });
  }

  #writeCapability(
    owner: ConfigOwner,
    permissions: Permissions,
    offset: number,
    width: Width,
    value: number,
  ): void {
    const before = this.#expressControl(owner);
    this.#store(permissions, offset, offset - owner.offset, width, value);
    if (owner.extended) return;
    switch (owner.id) {
      case CapabilityId.PowerManagement:
        if (offset === owner.offset + Power.control) {
          this.#effects.setPowerState(value & Power.stateMask);
        }
        return;
      case CapabilityId.PciExpress:
        this.#afterExpress(owner, before);
        return;
      case CapabilityId.AdvancedFeatures:
        this.#afterAdvanced(owner);
        return;
      case CapabilityId.Msi:
        this.#afterMsi(owner, offset, width);
        return;
      default:
    }
  }

  #expressControl(owner: ConfigOwner): number {
    const isExpress = owner.id === CapabilityId.PciExpress && !owner.extended;
    return isExpress ? this.#virtual(owner.offset + Express.control, 2) : 0;
  }

  #afterExpress({ offset }: ConfigOwner, before: number): void {
    const at = offset + Express.control;
    const control = this.#virtual(at, 2);
    if ((control & ExpressControl.reset) !== 0) {
      put(this.map.bytes, at, 2, control & ~ExpressControl.reset);
      const capabilities = this.#config.read(offset + Express.capabilities, 4);
      if ((capabilities & (1 << 28)) !== 0) this.#effects.reset();
    }
    if (((control ^ before) & ExpressControl.readRequest) === 0) return;
    // Reads are at least as large as the payload that the kernel has set.
    const real = this.#config.read(at, 2);
    const wanted = (control & ExpressControl.readRequest) >>> 12;
    const least = (real & ExpressControl.payload) >>> 5;
    const size = Math.min(Math.max(wanted, least), 5);
    this.#config.write(at, 2, (real & ~ExpressControl.readRequest) | (size << 12));
  }

  #afterAdvanced({ offset }: ConfigOwner): void {
    const at = offset + Advanced.control;
    if ((this.#virtual(at, 1) & 1) === 0) return;
    put(this.map.bytes, at, 1, this.#virtual(at, 1) & ~1);
    // Function-level reset and transactions pending: both, or none.
    if ((this.#config.read(offset + Advanced.capabilities, 1) & 3) === 3) this.#effects.reset();
  }

  /** MSI is switched on by a call, never by the register; the queue is not above what was given. */
  #afterMsi({ offset }: ConfigOwner, at: number, width: Width): void {
    if (at > offset + 2 || at + width <= offset + 2) return;
    const most = this.#effects.msiQueue();
    let flags = this.#virtual(offset + 2, 2);
    if (most === undefined) flags &= ~1;
    if (((flags >>> 4) & 7) > (most ?? 0)) flags = (flags & ~0x70) | ((most ?? 0) << 4);
    put(this.map.bytes, offset + 2, 2, flags);
    this.#config.write(offset + 2, 2, flags);
  }

  /** What the device can send is what the user was given, when MSI is on. */
  #withMsiQueue(owner: ConfigOwner, offset: number, width: Width, value: number): number {
    const most = this.#effects.msiQueue();
    const at = owner.offset + 2;
    if (most === undefined || at < offset || at >= offset + width) return value;
    const shift = 8 * (at - offset);
    return ((value & ~(0x0e << shift)) | (most << (shift + 1))) >>> 0;
  }

  /** Bits that may be written go to the user's copy or to the device. */
  #store(permissions: Permissions, offset: number, at: number, width: Width, value: number): void {
    const writable = get(permissions.writable, at, width);
    const keep = get(permissions.virtual, at, width);
    const own = writable & keep;
    if (own !== 0) {
      put(this.map.bytes, offset, width, (this.#virtual(offset, width) & ~own) | (value & own));
    }
    const real = writable & ~keep;
    if (real === 0) return;
    const old = this.#config.read(offset, width);
    this.#config.write(offset, width, ((old & ~real) | (value & real)) >>> 0);
  }

  /** Address bits below a BAR's size are what the BAR is; a BAR that is not there reads zero. */
  #fixBars(): void {
    const { bytes } = this.map;
    const { bars } = this.#identity;
    for (let i = 0; i < BAR_COUNT; i++) {
      const at = Header.bar0 + 4 * i;
      const bar = bars[i];
      if (bar === undefined) {
        put(bytes, at, 4, 0);
        continue;
      }
      const mask = ~(bar.size - 1n);
      const low =
        get(bytes, at, 4) & Number(BigInt.asUintN(32, mask)) & ~((bar.flags & 1) !== 0 ? 3 : 0xf);
      put(bytes, at, 4, low | bar.flags);
      if ((bar.flags & 7) !== 4) continue;
      put(bytes, at + 4, 4, get(bytes, at + 4, 4) & Number(BigInt.asUintN(32, mask >> 32n)));
      i++;
    }
    const rom = bars[ROM];
    const mask = rom === undefined ? 0 : Number(BigInt.asUintN(32, ~(rom.size - 1n))) | ROM_ENABLE;
    put(bytes, Header.rom, 4, get(bytes, Header.rom, 4) & mask);
  }

  #permissionsOf(owner: ConfigOwner): Permissions | undefined {
    if (this.#permissions.has(owner)) return this.#permissions.get(owner);
    const made = permissionsOf(owner, this.#config);
    this.#permissions.set(owner, made);
    return made;
  }

  #virtual(offset: number, width: Width): number {
    return get(this.map.bytes, offset, width);
  }
}

function isHeader(owner: ConfigOwner): boolean {
  return owner.offset === 0;
}

function isBar(offset: number): boolean {
  const inBars = offset >= Header.bar0 && offset < Header.bar0 + 4 * BAR_COUNT;
  return inBars || (offset >= Header.rom && offset < Header.rom + 4);
}

function allOf(width: Width): number {
  return width === 4 ? 0xffff_ffff : 2 ** (8 * width) - 1;
}

/** Little-endian, unsigned; bytes beyond the end are zero. */
function get(bytes: Uint8Array, at: number, width: Width): number {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] ?? 0);
  return value;
}

function put(bytes: Uint8Array, at: number, width: number, value: number): void {
  for (let i = 0; i < width; i++) bytes[at + i] = (value >>> (8 * i)) & 0xff;
}
