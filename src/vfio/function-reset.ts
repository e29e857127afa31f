/**
 * How the kernel resets a function, and what it puts back afterwards. Linux pci.c:
 * pci_try_reset_function(), pci_reset_bus().
 *
 * Configuration space is as before after every reset; state behind it is gone.
 */
import type { Machine } from "../machine/index.js";
import { CapabilityId, findStandard, type PciFunction } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";

export type ResetMethod = "function-level" | "advanced-features" | "power" | "bus";

const EXPRESS_RESET = 0x8000;
const FLR_CAPABLE = 1 << 28;
const BRIDGE_CONTROL = 0x3e;
const BUS_RESET = 0x40;
const NO_SOFT_RESET = 8;
const D3_HOT = 3;

/** The first method that works, in the order in which the kernel tries them. */
export function resetMethodOf(machine: Machine, bdf: Bdf): ResetMethod | undefined {
  return resetMethodsOf(machine, bdf)[0];
}

/** The methods that work, in the order in which the kernel tries them. */
export function resetMethodsOf(machine: Machine, bdf: Bdf): readonly ResetMethod[] {
  const fn = machine.fabric.function(bdf);
  const out: ResetMethod[] = [];
  if (fn === undefined) return out;
  const express = standard(fn, CapabilityId.PciExpress);
  if (express !== undefined && (machine.configRead(bdf, express + 4, 4) & FLR_CAPABLE) !== 0) {
    out.push("function-level");
  }
  const advanced = standard(fn, CapabilityId.AdvancedFeatures);
  if (advanced !== undefined && (machine.configRead(bdf, advanced + 3, 1) & 3) === 3) {
    out.push("advanced-features");
  }
  const power = standard(fn, CapabilityId.PowerManagement);
  if (power !== undefined && (machine.configRead(bdf, power + 4, 2) & NO_SOFT_RESET) === 0) {
    out.push("power");
  }
  if (isAloneOnBus(fn)) out.push("bus");
  return out;
}

/**
 * @param method default: the first one.
 * @returns false when nothing resets the function.
 */
export function resetFunction(
  machine: Machine,
  bdf: Bdf,
  method: ResetMethod | undefined = resetMethodOf(machine, bdf),
): boolean {
  const fn = machine.fabric.function(bdf);
  if (method === undefined || fn === undefined) return false;
  withConfigKept(machine, [bdf], () => {
    runReset(machine, fn, method);
  });
  return true;
}

/** The bridge whose secondary bus a function is on, when it can reset that bus. */
export function busResetBridge(fn: PciFunction): PciFunction | undefined {
  return fn.isVirtual || fn.bus.bridge?.headerType !== 1 ? undefined : fn.bus.bridge;
}

/** Resets everything below a bridge. */
export function resetBus(machine: Machine, bridge: Bdf): void {
  const below = machine.below(bridge).filter((bdf) => bdf !== bridge);
  withConfigKept(machine, below, () => {
    const control = machine.configRead(bridge, BRIDGE_CONTROL, 2);
    machine.configWrite(bridge, BRIDGE_CONTROL, 2, control | BUS_RESET);
    machine.configWrite(bridge, BRIDGE_CONTROL, 2, control & ~BUS_RESET);
  });
}

function runReset(machine: Machine, fn: PciFunction, method: ResetMethod): void {
  const { bdf } = fn;
  switch (method) {
    case "function-level": {
      const at = (standard(fn, CapabilityId.PciExpress) ?? 0) + 8;
      machine.configWrite(bdf, at, 2, machine.configRead(bdf, at, 2) | EXPRESS_RESET);
      return;
    }
    case "advanced-features":
      machine.configWrite(bdf, (standard(fn, CapabilityId.AdvancedFeatures) ?? 0) + 4, 1, 1);
      return;
    case "power": {
      const at = (standard(fn, CapabilityId.PowerManagement) ?? 0) + 4;
      const control = machine.configRead(bdf, at, 2) & ~3;
      machine.configWrite(bdf, at, 2, control | D3_HOT);
      machine.configWrite(bdf, at, 2, control);
      return;
    }
    case "bus": {
      const bridge = busResetBridge(fn);
      if (bridge !== undefined) resetBus(machine, bridge.bdf);
    }
  }
}

function withConfigKept(machine: Machine, bdfs: readonly Bdf[], reset: () => void): void {
  const saved = bdfs.map((bdf) => machine.saveConfig(bdf));
  reset();
  bdfs.forEach((bdf, i) => {
    const bytes = saved[i];
    if (bytes !== undefined) machine.restoreConfig(bdf, bytes);
  });
}

function isAloneOnBus(fn: PciFunction): boolean {
  return busResetBridge(fn) !== undefined && fn.bus.functions.length === 1 && !fn.isBridge;
}

function standard(fn: PciFunction, id: number): number | undefined {
  return findStandard(fn.capabilities, id) ?? undefined;
}
