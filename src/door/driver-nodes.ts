/** Drivers of PCI functions below /sys/bus/pci/drivers, and the bus itself. */
import { UapiError } from "../abi/index.js";
import type { DeviceId, HostSystem } from "../system/index.js";
import { type Bdf, parseBdf } from "../units/index.js";
import { relative } from "./paths.js";
import { storedNumber } from "./stored-number.js";
import { attribute, DIRECTORY, link, type Nodes, type TreeNode } from "./tree-node.js";

const ANY_ID = 0xffff_ffff;

/** Module of a driver: names in /sys/module have no dashes. */
export function moduleOf(driver: string): string {
  return driver.replaceAll("-", "_");
}

/** By absolute path. */
export function driverNodes(system: HostSystem, name: string): Nodes {
  const at = `/sys/bus/pci/drivers/${name}`;
  const out = new Map<string, TreeNode>();
  const bdf = (written: string) => addressOf(written, "Linux bind_store()");
  out.set(at, DIRECTORY);
  out.set(`${at}/bind`, attribute(0o200, { store: (t) => system.bind(name, bdf(t)) }));
  out.set(`${at}/unbind`, attribute(0o200, { store: (t) => system.unbind(name, bdf(t)) }));
  out.set(`${at}/new_id`, attribute(0o200, { store: (t) => system.newId(name, newId(t)) }));
  out.set(
    `${at}/remove_id`,
    attribute(0o200, {
      store: (t) => {
        const [vendor, device] = hexFields(t, "Linux remove_id_store()");
        system.drivers.removeId(name, vendor ?? 0, device ?? 0);
      },
    }),
  );
  out.set(`${at}/uevent`, attribute(0o200, { store: () => {} }));
  const module = `/sys/module/${moduleOf(name)}`;
  out.set(`${at}/module`, link(relative(`${at}/module`, module)));
  out.set(`${module}/drivers/pci:${name}`, link(`../../../bus/pci/drivers/${name}`));
  return out;
}

/** /sys/bus/pci beside devices and drivers. */
export function busNodes(system: HostSystem, bus: { autoprobe: boolean }): Nodes {
  const at = "/sys/bus/pci";
  const out = new Map<string, TreeNode>();
  out.set(`${at}/devices`, DIRECTORY);
  out.set(`${at}/drivers`, DIRECTORY);
  out.set(`${at}/slots`, DIRECTORY);
  out.set(
    `${at}/rescan`,
    attribute(0o200, {
      store: (t) => {
        if (storedNumber(t, Number.MAX_SAFE_INTEGER) !== 0) system.rescan();
      },
    }),
  );
  out.set(
    `${at}/drivers_probe`,
    attribute(0o200, {
      store: (t) => {
        const bdf = addressOf(t, "Linux drivers_probe_store()");
        if (!system.machine.isPresent(bdf)) throw noDevice("Linux drivers_probe_store()");
        system.probe(bdf);
      },
    }),
  );
  out.set(
    `${at}/drivers_autoprobe`,
    attribute(0o644, {
      show: () => `${bus.autoprobe ? 1 : 0}\n`,
      store: (t) => {
        bus.autoprobe = t.slice(0, 1) !== "0";
      },
    }),
  );
  out.set(`${at}/uevent`, attribute(0o200, { store: () => {} }));
  return out;
}

function noDevice(cite: string): UapiError {
  return new UapiError("ENODEV", "the bus has no function of this name", { cite });
}

/** @throws UapiError ENODEV: what is written names nothing. */
function addressOf(written: string, cite: string): Bdf {
  const bdf = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/.test(written)
    ? parseBdf(written)
    : undefined;
  if (bdf === undefined) throw noDevice(cite);
  return bdf;
}

/** Hexadecimal words as sscanf("%x %x ...") reads them. @throws UapiError EINVAL: less than two. */
function hexFields(written: string, cite: string): number[] {
  const out: number[] = [];
  for (const word of written.trim().split(/\s+/)) {
    if (!/^(0x)?[0-9a-fA-F]{1,8}$/.test(word)) break;
    out.push(Number.parseInt(word, 16));
  }
  if (out.length < 2) throw new UapiError("EINVAL", "vendor and device are needed", { cite });
  return out;
}

/** vendor device [subvendor subdevice class mask]. */
function newId(written: string): DeviceId {
  const [vendor = 0, device = 0, subVendor = ANY_ID, subDevice = ANY_ID, classCode = 0, mask = 0] =
    hexFields(written, "Linux new_id_store()");
  return {
    vendor,
    device,
    subVendor: subVendor === ANY_ID ? undefined : subVendor,
    subDevice: subDevice === ANY_ID ? undefined : subDevice,
    classCode,
    classMask: mask,
  };
}
