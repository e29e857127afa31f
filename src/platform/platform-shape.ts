/**
 * The format of platform files: `ioasis/platform/1`.
 *
 * A platform is a tree: root buses hold devices, bridges hold the devices below them. What is left
 * out is chosen: device numbers, bus numbers, addresses and windows. Fields named `x-…` are free
 * for everyone. Instead of `roots` a platform may start `from` a capture of a real host; its
 * functions stand there as stubs, and the ones named in `engines` get a DMA test engine.
 */
import { ACS_BITS } from "../pcie/index.js";
import {
  either,
  flag,
  integer,
  type JsonSchema,
  list,
  nothing,
  type Read,
  record,
  reference,
  type Shape,
  text,
  word,
} from "./shape.js";

export const PLATFORM_SCHEMA = "ioasis/platform/1";
const MAX_SAFE = Number.MAX_SAFE_INTEGER;

const u16 = either(integer(0, 0xffff), text('a string such as "0x1af4"', "^0x[0-9a-fA-F]{1,4}$"));
const bus = either(integer(0, 255), text('a string such as "0x3a"', "^0x[0-9a-fA-F]{1,2}$"));
const segment = either(
  integer(0, 0xffff_ffff),
  text('a string such as "0x10000"', "^0x[0-9a-fA-F]{1,8}$"),
);
const address = either(
  integer(0, MAX_SAFE),
  text('a string such as "0xfe000000"', "^0x[0-9a-fA-F]{1,16}$"),
);
const bytes = either(
  integer(4, MAX_SAFE),
  text("a size such as 16K, 1M or 32G", "^(0x[0-9a-fA-F]{1,16}|[1-9][0-9]{0,3}[KMGT])$"),
);
const words = text("a text on one line", "^[^\\u0000-\\u001f]{1,200}$");
const name = text("a name of letters, digits, - and _", "^[A-Za-z][A-Za-z0-9_-]{0,63}$");
const pair = text('vendor and device id such as "8086:1592"', "^[0-9a-fA-F]{4}:[0-9a-fA-F]{4}$");
const on = word(["full", "none"]);

const acsBit = word(ACS_BITS);
const acsFacts = record(
  "an object with capability and enabled",
  { capability: list(acsBit, { max: 7, description: "Bits the capability register offers." }) },
  {
    enabled: list(acsBit, {
      max: 7,
      description: "Bits on in the control register; default none.",
    }),
    enhanced: flag("ACS Enhanced is implemented."),
    egressVector: list(integer(0, 0xffff_ffff), { max: 8, description: "Egress control vector." }),
  },
);
const acs = either(on, acsFacts);

const switchable = either(flag(), record("an object with enabled", {}, { enabled: flag() }));

const pasid = record(
  "an object with width",
  { width: integer(0, 20, "Max PASID width in bits.") },
  { execute: flag(), privileged: flag(), enabled: flag() },
);

const bar = record(
  "an object with a size",
  { size: bytes },
  {
    index: integer(0, 5, "BAR number; default the next free one."),
    kind: word(["memory32", "memory64", "io"] as const, "Default memory32."),
    prefetchable: flag(),
    base: either(address, word(["unassigned"] as const)),
  },
);
const bars = list(bar, { max: 6 });

const window = either(
  word(["closed"] as const),
  record("an object with first and last", { first: address, last: address }, {}),
);

/** Facts that functions and VFs share. */
const commonFields = {
  acs,
  ats: switchable,
  pri: switchable,
  pasid,
  endEndPrefix: flag("Forwards or accepts end-end TLP prefixes, which carry PASIDs."),
  flr: flag("Function-level reset."),
  msix: integer(1, 2048, "MSI-X vectors."),
  msi: integer(1, 32, "MSI vectors; rounded up to a power of two."),
  driver: either(
    nothing(),
    text(
      "a text on one line",
      "^[^\\u0000-\\u001f]{1,200}$",
      "Kernel driver that has the function. A running platform gives endpoints without one, or " +
        "with null, to vfio-pci at its start.",
    ),
  ),
  engine: word(["dma"] as const, "What operates it: the DMA test engine. Default: a stub."),
};

const sriov = record(
  "an object with the number of vfs",
  { vfs: integer(0, 0xffff, "VFs that are on.") },
  {
    total: integer(0, 0xffff, "TotalVFs; default as many as are on."),
    offset: integer(1, 0xffff, "First VF offset; default 8 on."),
    stride: integer(1, 0xffff),
    device: u16,
    bars,
    each: record("an object with facts of every VF", {}, commonFields),
  },
);

export const DEVICE_KINDS = [
  "root-port",
  "switch-upstream",
  "switch-downstream",
  "pcie-to-pci-bridge",
  "pci-to-pcie-bridge",
  "pci-bridge",
  "endpoint",
  "legacy-endpoint",
  "integrated-endpoint",
  "event-collector",
  "conventional",
] as const;

const deviceFields = {
  name: name,
  at: text("device.function in hex, such as 1c.0", "^(0?[0-9a-fA-F]|1[0-9a-fA-F])\\.[0-7]$"),
  id: pair,
  subsystem: pair,
  revision: integer(0, 255),
  class: text('class code in hex, such as "0200" or "010802"', "^[0-9a-fA-F]{4}([0-9a-fA-F]{2})?$"),
  ...commonFields,
  pin: word(["A", "B", "C", "D"] as const, "Interrupt pin. Default: none."),
  sriov,
  bars,
  windows: record(
    "an object with io, memory, prefetchable",
    {},
    {
      io: window,
      memory: window,
      prefetchable: window,
    },
  ),
  buses: record("an object with secondary, subordinate", {}, { secondary: bus, subordinate: bus }),
  multifunction: flag("Default: whether the slot has more functions."),
  phantomBits: integer(0, 3),
  ari: flag("Has the ARI capability."),
  ariForwarding: flag(),
  hotPlug: flag(),
  externalFacing: flag(),
  untrusted: flag(),
  slot: words,
  label: words,
  mediated: list(
    record(
      "an object with name and kind",
      {
        name,
        kind: word(
          ["hardware", "software"] as const,
          "A slice of the device with a PASID of its own, or one whose DMA is done by software.",
        ),
      },
      { pasid: integer(1, 0xfffff, "Requests without a PASID always use this one of the parent.") },
    ),
    { max: 64, description: "Mediated devices that the driver of this device makes." },
  ),
};

type DeviceBase = Read<typeof base>;
const base = record("an object with a kind", { kind: word(DEVICE_KINDS) }, deviceFields);
export type DeviceNode = DeviceBase & { readonly below?: readonly DeviceNode[] | undefined };

export const deviceShape: Shape<DeviceNode> = record(
  base.expected,
  { kind: word(DEVICE_KINDS, "What the function is.") },
  {
    ...deviceFields,
    below: list(
      reference("device", base.expected, () => deviceShape),
      { description: "Functions on the bus below a bridge.", max: 256 },
    ),
  },
);

const host = record(
  "an object",
  {},
  {
    kernel: words,
    architecture: word(["x86", "arm64", "riscv64", "other"] as const),
    commandLine: text("a kernel command line", "^[^\\u0000-\\u001f]{0,4096}$"),
    firmware: word(["acpi", "device-tree"] as const),
    rules: word(["device-centric", "linux-6.1", "linux-6.12", "linux-7.2"] as const),
    selftest: word(["linux-6.12", "linux-7.2"] as const),
    absentAcs: word(
      ["shares", "isolates"] as const,
      "What functions of one device do to each other when they have no ACS.",
    ),
  },
);

const reserved = record(
  "an object with devices, first and last",
  { devices: list(name, { min: 1 }), first: address, last: address },
  {},
);

const unitFields = {
  covers: either(word(["all"] as const), list(name)),
  scalable: flag("Scalable mode: tables by PASID. Default true."),
  pasid: flag("Matches PASIDs; default as scalable."),
  nested: flag("Nested translation; default as scalable."),
  pageRequests: flag("Page requests; default as scalable."),
  deviceTlb: flag("Translation requests and translated requests; default true."),
  snoopControl: flag("Can force snooping; default true."),
  pages1G: flag("1 GiB pages; default true."),
  addressWidth: integer(39, 57, "Bits of addresses: 39, 48 or 57. Default 48."),
};

const unit = record(
  "an object with covers",
  { covers: unitFields.covers },
  { ...unitFields, name },
  "One IOMMU unit and the devices behind it.",
);

const iommu = record(
  "an object with a kind",
  { kind: word(["intel", "amd", "smmuv3", "virtio", "none"] as const) },
  {
    ...unitFields,
    function: name,
    reserved: list(reserved),
    ats: flag("Root ports may pass ATS traffic; default true."),
    interruptRemapping: flag("Default true."),
    requesterMatching: flag(
      "False: one table for all, whoever asks; such a unit knows no PASID. Default true.",
    ),
    units: list(unit, {
      min: 1,
      max: 64,
      description: "Several units instead of one; kind intel.",
    }),
  },
);

const root = record(
  "an object with devices",
  {
    devices: list(
      reference("device", base.expected, () => deviceShape),
      { max: 256 },
    ),
  },
  { segment, bus, name, vmd: name },
);

const bdf = text(
  "an address such as 0000:03:00.0",
  "^([0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[01][0-9a-fA-F]\\.[0-7]$",
);

export const platformShape = record(
  "an object with roots, or from",
  { schema: word([PLATFORM_SCHEMA] as const) },
  {
    roots: list(root, { min: 1, max: 65_536 }),
    from: either(
      text("a path, from the directory of this file", "^[^\\u0000-\\u001f]{1,4096}$"),
      list(text("a path", "^[^\\u0000-\\u001f]{1,4096}$"), { min: 1, max: 64 }),
    ),
    engines: list(bdf, { max: 1024, description: "With from: functions with a DMA test engine." }),
    name: words,
    host,
    iommu,
  },
);

export type PlatformNode = Read<typeof platformShape>;
export type RootNode = Read<typeof root>;
export type BarNode = Read<typeof bar>;
export type WindowNode = Read<typeof window>;
export type IommuNode = Read<typeof iommu>;
export type UnitNode = Read<typeof unit>;
export type CommonNode = Pick<DeviceNode, keyof typeof commonFields>;
export type SrIovNode = Read<typeof sriov>;

/** The published JSON Schema (draft 2020-12). */
export function platformJsonSchema(): JsonSchema {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: "https://ioasis.dev/schemas/platform.schema.json",
    title: PLATFORM_SCHEMA,
    description: "A host written down by hand: devices, bridges, what they can do, and its IOMMU.",
    ...platformShape.schema(),
    $defs: { device: deviceShape.schema() },
  };
}
