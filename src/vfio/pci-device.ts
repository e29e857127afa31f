/**
 * PciDevice: a function that vfio-pci has, as its users meet it: configuration space, regions,
 * interrupts, resets. Linux vfio_pci_core.c.
 *
 * It is open while at least one file of it is. The first open finds a device that decodes memory,
 * has its bus mastering off and was reset; the last close leaves one that does nothing.
 */
import { UapiError } from "../abi/index.js";
import type { Machine } from "../machine/index.js";
import { type AccessLength, CapabilityId, type PciFunction } from "../pcie/index.js";
import { type Bdf, formatBdf } from "../units/index.js";
import type { BarMemories } from "./bar-memories.js";
import { HEADER_BYTES } from "./config-map.js";
import { Command, Header } from "./config-permissions.js";
import { resetFunction, resetMethodOf } from "./function-reset.js";
import { DeviceInterrupts } from "./interrupts.js";
import { IoEventFds } from "./io-event-fds.js";
import { LowPower } from "./low-power.js";
import type { VfioPlatform } from "./platform-ports.js";
import { DeviceRegions } from "./regions.js";
import { VirtualConfig } from "./virtual-config.js";

const D3_HOT = 3;
const EXTENDED_EXTENT = 4096;
/** The PCI Express capability of an endpoint (PCIe 6 § 7.5.3). */
const EXPRESS_BYTES = 0x3c;

/** Memory of a device that must not be reached while the device does not decode memory. */
export interface Revocable {
  setRevoked(revoked: boolean): void;
}

/** See the head of the file. */
export class PciDevice {
  readonly bdf: Bdf;
  readonly fn: PciFunction;
  readonly platform: VfioPlatform;
  readonly regions: DeviceRegions;
  readonly interrupts: DeviceInterrupts;
  readonly ioEventFds: IoEventFds;
  readonly lowPower: LowPower;
  /** Parts of BARs that others were given. */
  readonly shared = new Set<Revocable>();
  #config: VirtualConfig | undefined;
  #first: Uint8Array | undefined;
  #stopPin: (() => void) | undefined;
  #opens = 0;
  #powerState = 0;
  #isPinDisabled = false;

  /** @throws UapiError ENODEV the function is not there. */
  constructor(platform: VfioPlatform, memories: BarMemories, bdf: Bdf) {
    const fn = platform.machine.isPresent(bdf) ? platform.machine.fabric.function(bdf) : undefined;
    if (fn === undefined) {
      throw new UapiError("ENODEV", "the function is not there", {
        evidence: [{ kind: "device-gone", at: bdf }],
      });
    }
    this.bdf = bdf;
    this.fn = fn;
    this.platform = platform;
    this.regions = new DeviceRegions(platform, memories, fn, this);
    this.interrupts = new DeviceInterrupts({
      platform,
      fn,
      table: this.regions.table,
      pin: () => this.#config?.pin ?? 0,
      isPinDisabled: () => this.#isPinDisabled,
    });
    this.ioEventFds = new IoEventFds(this.regions);
    this.lowPower = new LowPower(() => this.#gateMoved());
  }

  get machine(): Machine {
    return this.platform.machine;
  }

  get label(): string {
    return formatBdf(this.bdf);
  }

  get isOpen(): boolean {
    return this.#opens > 0;
  }

  /** While it is open. @throws RangeError otherwise. */
  get config(): VirtualConfig {
    if (this.#config === undefined) throw new RangeError("the device is not open");
    return this.#config;
  }

  /** Something resets the function. */
  get canReset(): boolean {
    return resetMethodOf(this.machine, this.bdf) !== undefined;
  }

  /** BARs answer. */
  get memoryEnabled(): boolean {
    if (this.#powerState >= D3_HOT || this.lowPower.isEntered) return false;
    const command = this.machine.configRead(this.bdf, Header.command, 2);
    return this.fn.isVirtual || (command & Command.memory) !== 0;
  }

  open(): void {
    if (this.#opens++ > 0) return;
    this.#enable();
  }

  /** The last one closes everything that its users had set up. */
  close(): void {
    if (--this.#opens > 0) return;
    this.ioEventFds.close();
    this.#stopPin?.();
    this.interrupts.close();
    this.lowPower.close();
    this.#setPowerState(0);
    this.#revoke(true);
    this.#setCommand(0, Command.busMaster);
    resetFunction(this.machine, this.bdf);
    this.#restoreFirst();
    this.#config = undefined;
  }

  /** Header and PCI Express controls as the first open left them; the bus is not mastered. */
  #restoreFirst(): void {
    const now = this.machine.saveConfig(this.bdf);
    const first = this.#first;
    if (now === undefined || first === undefined) return;
    const express = this.#config?.map.find(CapabilityId.PciExpress)?.offset;
    now.set(first.subarray(Header.command, HEADER_BYTES), Header.command);
    if (express !== undefined) {
      now.set(first.subarray(express, express + EXPRESS_BYTES), express);
    }
    now[Header.command] = (now[Header.command] ?? 0) & ~Command.busMaster;
    this.machine.restoreConfig(this.bdf, now);
  }

  /**
   * VFIO_DEVICE_RESET. Configuration space is as before; mappings of BARs and shared parts of them
   * go, and those that were given out come back.
   * @throws UapiError EINVAL nothing resets it.
   */
  reset(): void {
    if (!this.canReset) {
      throw new UapiError("EINVAL", "nothing resets the function", {
        evidence: [{ kind: "no-reset-method", at: this.bdf }],
        cite: "Linux vfio_pci_ioctl_reset()",
      });
    }
    this.beforeReset();
    this.#setPowerState(0);
    resetFunction(this.machine, this.bdf);
    this.afterReset();
  }

  /** A reset that also takes others begins. */
  beforeReset(): void {
    this.#revoke(true);
  }

  afterReset(): void {
    this.#powerState = 0;
    this.interrupts.restore();
    this.#gateMoved();
  }

  #enable(): void {
    this.#stopPin = this.platform.interrupts.watchPin(this.bdf, (up) => {
      this.interrupts.pinChanged(up);
    });
    this.#enablePath();
    this.#setCommand(this.#decoders(), Command.busMaster);
    if (resetFunction(this.machine, this.bdf)) this.#setCommand(this.#decoders(), 0);
    this.#first = this.machine.saveConfig(this.bdf);
    this.#setCommand(0, Command.intxDisable);
    this.#powerState = 0;
    const { bdf, machine } = this;
    const ids = this.fn.ids;
    const virtual = this.fn.isVirtual
      ? { vendor: ids.vendor ?? 0xffff, device: ids.device ?? 0xffff }
      : undefined;
    this.#config = new VirtualConfig(
      {
        read: (at, length) => machine.configRead(bdf, at, length),
        write: (at, length, value) => machine.configWrite(bdf, at, length as AccessLength, value),
      },
      {
        size: this.fn.config.extent === EXTENDED_EXTENT ? 4096 : 256,
        virtual,
        bars: this.regions.resources,
      },
      {
        msiQueue: () => this.interrupts.msiQueue,
        memoryOff: () => this.#revoke(true),
        commandWritten: () => this.#gateMoved(),
        intxDisabled: (disabled) => {
          this.#isPinDisabled = disabled;
          this.interrupts.pinDisabled(disabled);
        },
        reset: () => {
          this.beforeReset();
          resetFunction(machine, bdf);
          this.afterReset();
        },
        setPowerState: (state) => this.#setPowerState(state),
      },
    );
    this.#gateMoved();
  }

  /** Bridges above pass memory on and requests up. */
  #enablePath(): void {
    for (let up = this.fn.upstreamBridge; up !== undefined; up = up.upstreamBridge) {
      const on = Command.memory | Command.busMaster;
      const old = this.machine.configRead(up.bdf, Header.command, 2);
      if ((old & on) !== on) this.machine.configWrite(up.bdf, Header.command, 2, old | on);
    }
  }

  /** What the device has BARs for. */
  #decoders(): number {
    const { resources } = this.regions;
    let on = 0;
    for (const resource of resources.slice(0, 6)) {
      if (resource !== undefined) on |= resource.isMemory ? Command.memory : Command.io;
    }
    return this.fn.isVirtual ? 0 : on;
  }

  #setCommand(on: number, off: number): void {
    const old = this.machine.configRead(this.bdf, Header.command, 2);
    const next = (old & ~off) | on;
    if (next !== old) this.machine.configWrite(this.bdf, Header.command, 2, next);
  }

  #setPowerState(state: number): void {
    const at = this.#config?.map.find(CapabilityId.PowerManagement)?.offset;
    if (at === undefined || state === this.#powerState) return;
    if (state >= D3_HOT) this.#revoke(true);
    const saved = this.machine.saveConfig(this.bdf);
    const control = this.machine.configRead(this.bdf, at + 4, 2);
    this.machine.configWrite(this.bdf, at + 4, 2, (control & ~3) | state);
    const reached = this.machine.configRead(this.bdf, at + 4, 2) & 3;
    const woke = this.#powerState >= D3_HOT && reached === 0;
    this.#powerState = reached;
    if (woke && saved !== undefined) this.#restoreAfterSleep(at, saved);
    this.#gateMoved();
  }

  /** Leaving D3hot may have lost the registers: they are as before, but for the state itself. */
  #restoreAfterSleep(power: number, saved: Uint8Array): void {
    saved[power + 4] = (saved[power + 4] ?? 0) & ~3;
    this.machine.restoreConfig(this.bdf, saved);
    this.interrupts.restore();
  }

  /** Memory went off or came back. */
  #gateMoved(): void {
    this.#revoke(!this.memoryEnabled);
  }

  #revoke(revoked: boolean): void {
    for (const part of this.shared) part.setRevoked(revoked);
  }
}
