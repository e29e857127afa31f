/**
 * Addresses of a function: `resource`, and the files of configuration space, BARs and ROM.
 *
 * Flags are those of Linux include/linux/ioport.h with the type bits of the register below them.
 */
import { UapiError } from "../abi/index.js";
import type { MappedRegion, MmapRequest } from "../files/index.js";
import type { Machine } from "../machine/index.js";
import type { AccessLength, Bar, BridgeWindow, PciFunction } from "../pcie/index.js";
import type { Bdf } from "../units/index.js";
import { hex } from "./bytes.js";
import type { FunctionSettings } from "./function-settings.js";
import { binary, type TreeNode, text } from "./tree-node.js";

type Put = (name: string, node: TreeNode) => void;

/** Memory behind a BAR that programs may map; undefined: it cannot be mapped. */
export type BarMemory = (
  device: Bdf,
  bar: number,
  request: MmapRequest,
) => MappedRegion | undefined;

const IO = 0x100;
const MEM = 0x200;
const PREFETCH = 0x2000;
const READONLY = 0x4000;
const SIZE_ALIGN = 0x40000;
const MEM_64 = 0x10_0000;
const ROM_BAR = 6;

const NONE = `${hex(0, 16)} ${hex(0, 16)} ${hex(0, 16)}\n`;

/** The files of addresses of a function. */
export function putResources(
  fn: PciFunction,
  machine: Machine,
  settings: FunctionSettings,
  bars: BarMemory,
  put: Put,
): void {
  put("resource", text(resourceText(fn)));
  const { bdf } = fn;
  const size = fn.isPcie === true ? 4096 : 256;
  put(
    "config",
    binary(0o644, size, {
      read: (offset, length) => readConfig(machine, bdf, offset, Math.min(length, size - offset)),
      write: (offset, bytes) => writeConfig(machine, bdf, offset, bytes),
    }),
  );
  for (const bar of fn.bars ?? []) {
    if (bar.size === undefined || bar.base === undefined) continue;
    if (bar.index === ROM_BAR) {
      put("rom", romNode(bdf, Number(bar.size), settings));
      continue;
    }
    const node = barNode(machine, bdf, bar, bars);
    put(`resource${bar.index}`, node);
    if (bar.kind !== "io" && bar.prefetchable) put(`resource${bar.index}_wc`, node);
  }
}

/** Bytes of configuration space; none beyond its end. */
export function readConfig(machine: Machine, bdf: Bdf, offset: number, length: number): Uint8Array {
  const out = new Uint8Array(Math.max(0, length));
  for (let i = 0; i < out.length; i++) out[i] = machine.configRead(bdf, offset + i, 1);
  return out;
}

/** As the kernel does it: single bytes until aligned, then words and double words. */
export function writeConfig(machine: Machine, bdf: Bdf, offset: number, bytes: Uint8Array): number {
  let at = 0;
  while (at < bytes.length) {
    const where = offset + at;
    const left = bytes.length - at;
    const length: AccessLength =
      where % 4 === 0 && left >= 4 ? 4 : where % 2 === 0 && left >= 2 ? 2 : 1;
    let value = 0;
    for (let i = length - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] ?? 0);
    machine.configWrite(bdf, where, length, value);
    at += length;
  }
  return bytes.length;
}

/** A line for each BAR, the ROM and each VF BAR; bridges have their windows too. */
export function resourceText(fn: PciFunction): string {
  const lines = new Array<string>(fn.isBridge ? 17 : 13).fill(NONE);
  for (const bar of fn.bars ?? []) {
    lines[bar.index] = barLine(bar, bar.size);
  }
  const total = BigInt(fn.sriov ? (fn.sriov.totalVfs ?? 0) : 0);
  for (const bar of fn.vfBars ?? []) {
    lines[7 + bar.index] = barLine(bar, bar.size === undefined ? undefined : bar.size * total);
  }
  const { windows } = fn;
  if (windows !== undefined) {
    lines[13] = windowLine(windows.io, IO | 0x1);
    lines[14] = windowLine(windows.memory, MEM);
    lines[15] = windowLine(windows.prefetchable, MEM | PREFETCH | MEM_64 | 0x1);
  }
  return lines.join("");
}

function barLine(bar: Bar, size: bigint | undefined): string {
  if (bar.base === undefined || size === undefined || size === 0n) return NONE;
  const last = bar.base + size - 1n;
  return `${hex(bar.base, 16)} ${hex(last, 16)} ${hex(barFlags(bar), 16)}\n`;
}

function barFlags(bar: Bar): number {
  if (bar.kind === "io") return SIZE_ALIGN | IO | 0x1;
  if (bar.index === ROM_BAR) return SIZE_ALIGN | READONLY | PREFETCH | MEM;
  const prefetch = bar.prefetchable ? PREFETCH | 0x8 : 0;
  return SIZE_ALIGN | MEM | prefetch | (bar.kind === "memory64" ? MEM_64 | 0x4 : 0);
}

function windowLine(window: BridgeWindow, flags: number): string {
  if (window.state !== "open") return NONE;
  return `${hex(window.span.first, 16)} ${hex(window.span.last, 16)} ${hex(flags, 16)}\n`;
}

/** Memory can be mapped, I/O read and written in units of 1, 2 and 4 bytes. */
function barNode(machine: Machine, bdf: Bdf, bar: Bar, bars: BarMemory): TreeNode {
  const size = Number(bar.size ?? 0n);
  if (bar.kind !== "io") {
    return binary(0o600, size, {
      mmap: (request) => {
        const region = bars(bdf, bar.index, request);
        if (region !== undefined) return region;
        throw new UapiError("EINVAL", "the BAR cannot be mapped", {
          evidence: [{ kind: "bar-not-mappable", at: bdf, bar: bar.index }],
          cite: "Linux pci_mmap_resource()",
        });
      },
    });
  }
  const check = (offset: number, length: number): void => {
    if ((length === 1 || length === 2 || length === 4) && offset + length <= size) return;
    throw new UapiError("EINVAL", "I/O is read and written 1, 2 or 4 bytes at a time", {
      cite: "Linux pci_resource_io()",
    });
  };
  return binary(0o600, size, {
    read: (offset, length) => {
      check(offset, length);
      return machine.endpoint(bdf)?.readBar(bar.index, offset, length) ?? new Uint8Array(length);
    },
    write: (offset, bytes) => {
      check(offset, bytes.length);
      machine.endpoint(bdf)?.writeBar(bar.index, offset, bytes);
      return bytes.length;
    },
  });
}

/** Nothing says what a ROM holds: the kernel finds no image in it. */
function romNode(bdf: Bdf, size: number, settings: FunctionSettings): TreeNode {
  return binary(0o600, size, {
    read: () => {
      const isOn = settings.get(bdf).rom;
      const problem = isOn ? "the ROM holds no image" : "the ROM is not switched on";
      throw new UapiError(isOn ? "EIO" : "EINVAL", problem, { cite: "Linux pci_read_rom()" });
    },
    write: (offset, bytes) => {
      const isOff = offset === 0 && bytes[0] === 0x30;
      settings.set(bdf, { rom: !isOff });
      return bytes.length;
    },
  });
}
