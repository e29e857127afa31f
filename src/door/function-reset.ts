/**
 * Resets of one function by software: which there are, and how the kernel does them.
 *
 * Configuration is saved before and written back afterwards, as Linux pci_reset_function() does.
 */
import { UapiError } from "../abi/index.js";
import type { Machine } from "../machine/index.js";
import { CapabilityId, type PciFunction } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import { standardCapability } from "./function-text.js";

export type ResetMethod = "flr" | "af_flr" | "pm" | "bus";

/** In the order in which they are tried. */
export function resetMethods(fn: PciFunction): readonly ResetMethod[] {
  const out: ResetMethod[] = [];
  if (fn.express?.flr === true) out.push("flr");
  const af = standardCapability(fn, CapabilityId.AdvancedFeatures);
  // Function level reset and transactions pending (Advanced Features ECN).
  if (af !== undefined && (fn.config.u8(af + 3) & 3) === 3) out.push("af_flr");
  const pm = standardCapability(fn, CapabilityId.PowerManagement);
  if (pm !== undefined && (fn.config.u8(pm + 4) & 8) === 0) out.push("pm");
  const alone = fn.bus.functions.every((each) => each === fn);
  if (!fn.isBridge && !fn.isVirtual && fn.upstreamBridge !== undefined && alone) out.push("bus");
  return out;
}

const COMMAND = 0x04;
const BRIDGE_CONTROL = 0x3e;
const SECONDARY_RESET = 0x40;
const DEVICE_CONTROL = 0x08;
const INITIATE_FLR = 0x8000;

/** @throws UapiError ENOTTY when the function has no reset. */
export function resetFunction(machine: Machine, fn: PciFunction, method: ResetMethod): void {
  const saved = saveState(machine, fn);
  const { bdf } = fn;
  machine.configWrite(bdf, COMMAND, 2, 0x0400);
  switch (method) {
    case "flr":
      setBits(machine, bdf, (fn.express?.offset ?? 0) + DEVICE_CONTROL, INITIATE_FLR);
      break;
    case "af_flr": {
      const at = standardCapability(fn, CapabilityId.AdvancedFeatures) ?? 0;
      machine.configWrite(bdf, at + 4, 1, 1);
      break;
    }
    case "pm": {
      const at = (standardCapability(fn, CapabilityId.PowerManagement) ?? 0) + 4;
      const state = machine.configRead(bdf, at, 2) & ~3;
      machine.configWrite(bdf, at, 2, state | 3);
      machine.configWrite(bdf, at, 2, state);
      break;
    }
    default: {
      const bridge = fn.upstreamBridge;
      if (bridge === undefined) throw new UapiError("ENOTTY", "the function has no reset");
      const control = machine.configRead(bridge.bdf, BRIDGE_CONTROL, 2);
      machine.configWrite(bridge.bdf, BRIDGE_CONTROL, 2, control | SECONDARY_RESET);
      machine.configWrite(bridge.bdf, BRIDGE_CONTROL, 2, control & ~SECONDARY_RESET);
    }
  }
  for (const [at, value] of saved) machine.configWrite(bdf, at, 4, value);
}

function setBits(machine: Machine, bdf: Bdf, at: number, bits: number): void {
  machine.configWrite(bdf, at, 2, machine.configRead(bdf, at, 2) | bits);
}

/** Header registers, upwards; the command register, which switches decoding on, comes last. */
function saveState(machine: Machine, fn: PciFunction): [number, number][] {
  const out: [number, number][] = [];
  for (let at = 0x3c; at >= 0x0c; at -= 4) {
    out.push([at, machine.configRead(fn.bdf, at, 4)]);
  }
  const express = fn.express?.offset;
  if (express !== undefined) {
    const at = express + DEVICE_CONTROL;
    // Status bits clear when ones are written to them.
    out.push([at, machine.configRead(fn.bdf, at, 2) & ~INITIATE_FLR]);
  }
  out.push([COMMAND, machine.configRead(fn.bdf, COMMAND, 2)]);
  return out;
}
