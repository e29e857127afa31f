/** Attributes of a function that take writes. Linux drivers/pci/pci-sysfs.c, drivers/pci/iov.c. */
import { UapiError } from "../abi/index.js";
import { CapabilityId, type PciFunction } from "../pcie/index.js";
import { type HostSystem, isVfioDriver } from "../system/index.js";
import type { Bdf } from "../units/index.js";
import { type ResetMethod, resetFunction, resetMethodsOf } from "../vfio/index.js";
import type { FunctionSettings } from "./function-settings.js";
import type { FunctionState } from "./function-state.js";
import { standardCapability } from "./function-text.js";
import { storedNumber, storedSwitch } from "./stored-number.js";
import { attribute, type TreeNode } from "./tree-node.js";

type Put = (name: string, node: TreeNode) => void;

const MOST = Number.MAX_SAFE_INTEGER;
/** What sysfs calls resets. */
const METHOD_NAMES: Readonly<Record<ResetMethod, string>> = {
  "function-level": "flr",
  "advanced-features": "af_flr",
  power: "pm",
  bus: "bus",
};
const POWER_STATES = ["D0", "D1", "D2", "D3hot"];

/** `enable`, `remove`, `rescan`, `driver_override`, `reset` and switches. */
export function putControls(
  state: FunctionState,
  system: HostSystem,
  settings: FunctionSettings,
  put: Put,
): void {
  const { fn } = state;
  const { bdf } = fn;
  put("enable", enableNode(state, system, settings));
  put("irq", attribute(0o444, { show: () => `${irqOf(system, bdf)}\n` }));
  put("remove", attribute(0o200, { store: (t) => ifNotZero(t, () => system.remove(bdf)) }));
  put("rescan", attribute(0o200, { store: (t) => ifNotZero(t, () => system.rescan()) }));
  put("driver_override", overrideNode(system, bdf));
  put("power_state", attribute(0o444, { show: () => `${powerState(system, fn)}\n` }));
  const toggle = (name: string, key: "broken" | "d3cold" | "msi"): void =>
    put(
      name,
      attribute(0o644, {
        show: () => `${settings.get(bdf)[key] ? 1 : 0}\n`,
        store: (written) => settings.set(bdf, { [key]: storedNumber(written, MOST) !== 0 }),
      }),
    );
  toggle("broken_parity_status", "broken");
  toggle("d3cold_allowed", "d3cold");
  toggle("msi_bus", "msi");
  if (resetMethodsOf(system.machine, bdf).length > 0) putReset(fn, system, settings, put);
}

/** `sriov_*` of a PF. */
export function putSriov(state: FunctionState, system: HostSystem, put: Put): void {
  const { fn } = state;
  const { bdf, sriov } = fn;
  if (!sriov) return;
  const show = (name: string, value: () => string): void =>
    put(name, attribute(0o444, { show: () => `${value()}\n` }));
  show("sriov_totalvfs", () => String(sriov.totalVfs ?? 0));
  show("sriov_offset", () => String(sriov.firstVfOffset ?? 0));
  show("sriov_stride", () => String(sriov.vfStride ?? 0));
  show("sriov_vf_device", () => (sriov.vfDeviceId ?? 0).toString(16));
  put(
    "sriov_numvfs",
    attribute(0o644, {
      show: () => `${system.virtualOf(bdf).length}\n`,
      store: (written) => system.setVirtualCount(bdf, storedNumber(written, 0xffff)),
    }),
  );
  put(
    "sriov_drivers_autoprobe",
    attribute(0o644, {
      show: () => `${system.autoprobesVirtual(bdf) ? 1 : 0}\n`,
      store: (written) => system.setAutoprobeVirtual(bdf, storedSwitch(written)),
    }),
  );
}

function enableNode(
  { fn }: FunctionState,
  system: HostSystem,
  settings: FunctionSettings,
): TreeNode {
  const { bdf } = fn;
  // A driver of the kernel has switched its function on; VFIO does so when a user opens it.
  const byDriver = (): number => {
    const driver = system.drivers.of(bdf);
    if (driver === undefined) return 0;
    return isVfioDriver(driver) && !system.drivers.isOpen(bdf) ? 0 : 1;
  };
  return attribute(0o644, {
    show: () => `${settings.get(bdf).enabled + byDriver()}\n`,
    store: (written) => {
      const on = storedNumber(written, MOST) !== 0;
      const cite = "Linux enable_store()";
      if (system.drivers.of(bdf) !== undefined) {
        throw new UapiError("EBUSY", "a driver has the function", {
          evidence: [{ kind: "driver-bound", at: bdf, driver: system.drivers.of(bdf) }],
          cite,
        });
      }
      const { enabled } = settings.get(bdf);
      if (!on && enabled === 0) throw new UapiError("EIO", "the function is not on", { cite });
      settings.set(bdf, { enabled: enabled + (on ? 1 : -1) });
      const decode = decodeBits(fn);
      const command = system.machine.configRead(bdf, 0x04, 2);
      if (on) system.machine.configWrite(bdf, 0x04, 2, command | decode);
      else if (enabled === 1) system.machine.configWrite(bdf, 0x04, 2, command & ~0x4);
    },
  });
}

/** I/O and memory decoding, as far as the function has BARs of the kind. */
function decodeBits(fn: PciFunction): number {
  let bits = 0;
  for (const bar of fn.bars ?? []) bits |= bar.kind === "io" ? 1 : 2;
  return bits;
}

function overrideNode(system: HostSystem, bdf: Bdf): TreeNode {
  return attribute(0o644, {
    show: () => `${system.drivers.overrideOf(bdf) ?? "(null)"}\n`,
    store: (written) => {
      if (written.length >= 4094) {
        throw new UapiError("EINVAL", "the name is too long", {
          cite: "Linux driver_set_override()",
        });
      }
      system.drivers.setOverride(bdf, written.split("\n")[0] ?? "");
    },
  });
}

function putReset(fn: PciFunction, system: HostSystem, settings: FunctionSettings, put: Put): void {
  const { bdf } = fn;
  const all = resetMethodsOf(system.machine, bdf);
  const chosen = (): readonly ResetMethod[] => settings.get(bdf).resets ?? all;
  const reset = (written: string): void => {
    if (storedNumber(written, MOST) !== 1) {
      throw new UapiError("EINVAL", "a reset is asked for with 1", {
        cite: "Linux reset_store()",
      });
    }
    const [method] = chosen();
    if (method === undefined) {
      throw new UapiError("ENOTTY", "all reset methods are switched off", {
        cite: "Linux pci_reset_function()",
      });
    }
    const at = system.function(bdf).bdf;
    system.aroundReset(at, () => resetFunction(system.machine, at, method));
  };
  const choose = (written: string): void => {
    const names = written.split(/\s+/).filter((name) => name !== "");
    if (names.length === 1 && names[0] === "default") {
      settings.set(bdf, { resets: undefined });
      return;
    }
    const known = names.flatMap((name) => all.filter((method) => METHOD_NAMES[method] === name));
    if (known.length !== names.length) {
      throw new UapiError("EINVAL", "the function has no such reset method", {
        cite: "Linux reset_method_store()",
      });
    }
    settings.set(bdf, { resets: known });
  };
  const show = (): string => {
    const list = chosen().map((method) => METHOD_NAMES[method]);
    return list.length === 0 ? "" : `${list.join(" ")}\n`;
  };
  put("reset", attribute(0o200, { store: reset }));
  put("reset_method", attribute(0o644, { show, store: choose }));
}

function powerState(system: HostSystem, fn: PciFunction): string {
  const at = standardCapability(fn, CapabilityId.PowerManagement);
  if (at === undefined) return "unknown";
  return POWER_STATES[system.machine.configRead(fn.bdf, at + 4, 1) & 3] ?? "unknown";
}

/** The interrupt line; 0 without a pin. */
function irqOf(system: HostSystem, bdf: Bdf): number {
  const pin = system.machine.configRead(bdf, 0x3d, 1);
  return pin === 0 || pin === 0xff ? 0 : system.machine.configRead(bdf, 0x3c, 1);
}

function ifNotZero(written: string, then: () => void): void {
  if (storedNumber(written, MOST) !== 0) then();
}
