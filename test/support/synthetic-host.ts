/**
 * Large synthetic hosts, the same for the same size: for benchmarks and limits.
 *
 * One tile is 100 functions below one root port of a big server:
 *
 *   root port ─ switch upstream port ─┬─ downstream port ─ accelerator (1 function)      x 8
 *                                     ├─ downstream port ─ 4-function network card       x 4
 *                                     └─ downstream port ─ PF with 15 VFs (ARI)          x 3
 *
 * plus a PCIe-to-PCI bridge with two conventional functions and integrated endpoints that fill up
 * the hundred. Eight tiles make a segment. Every other tile has ACS throughout; the rest have it on
 * root ports only.
 */

import { once } from "node:events";
import { createWriteStream } from "node:fs";
import {
  describeFunction,
  type FunctionDescription,
  type FunctionSpec,
  PortType,
} from "../../src/pcie/index.js";
import { layOut, type PlannedFunction, type PlannedRoot } from "../../src/platform/index.js";
import { formatBdf, hex } from "../../src/units/index.js";

const TILES_PER_SEGMENT = 8;
const FULL = { capability: 0x5f, control: 0x1d } as const;

/** Exactly `count` functions, in enumeration order. */
export function syntheticHost(count: number): FunctionDescription[] {
  return syntheticSpecs(count).map(describeFunction);
}

/** The same before the bytes are made. */
export function syntheticSpecs(count: number): FunctionSpec[] {
  const roots: PlannedRoot[] = [];
  let planned = 0;
  for (let segment = 0; planned < count; segment++) {
    const functions: PlannedFunction[] = [];
    for (let t = 0; t < TILES_PER_SEGMENT && planned < count; t++) {
      const budget = new Budget(Math.min(100, count - planned));
      functions.push(...tile(t, budget));
      planned += budget.spent;
    }
    roots.push({ segment, functions });
  }
  return layOut(roots).functions.map((f) => f.spec);
}

/** How many functions may still be made; the parts of a tile that no longer fit are left out. */
class Budget {
  spent = 0;
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get left(): number {
    return this.#limit - this.spent;
  }

  take(count: number): boolean {
    if (this.left < count) return false;
    this.spent += count;
    return true;
  }
}

/** Slots 2t+1 and 2t+2 (root ports) and 20+t (integrated endpoints) of the root bus. */
function tile(t: number, budget: Budget): PlannedFunction[] {
  const acs = t % 2 === 0 ? FULL : undefined;
  const out: PlannedFunction[] = [];
  if (budget.take(2)) out.push(rootPort(2 * t + 1, switchPort(acs, budget)));
  if (budget.take(4)) out.push(rootPort(2 * t + 2, legacyBridge()));
  for (let fn = 0; fn < 8 && budget.take(1); fn++) {
    const multifunction = fn > 0 || budget.left > 0;
    const devFn = (20 + t) * 8 + fn;
    const ids = { vendor: 0x8086, device: 0x3400 + fn };
    out.push({ devFn, type: PortType.RcIntegratedEndpoint, multifunction, ...ids });
  }
  return out;
}

function rootPort(device: number, below: PlannedFunction): PlannedFunction {
  return {
    devFn: device * 8,
    type: PortType.RootPort,
    vendor: 0x8086,
    device: 0x347a,
    acs: FULL,
    endEndPrefix: true,
    hotPlug: true,
    below: [below],
  };
}

function switchPort(acs: FunctionSpec["acs"], budget: Budget): PlannedFunction {
  const below: PlannedFunction[] = [];
  const add = (cost: number, make: () => PlannedFunction[]) => {
    if (below.length < 32 && budget.take(cost)) {
      below.push(downstreamPort(below.length, acs, make()));
    }
  };
  for (let i = 0; i < 3; i++) add(17, virtualised);
  for (let i = 0; i < 4; i++) add(5, networkCard);
  for (let i = 0; i < 8; i++) add(2, accelerator);
  return {
    devFn: 0,
    type: PortType.UpstreamPort,
    vendor: 0x10b5,
    device: 0x9797,
    endEndPrefix: true,
    below,
  };
}

function downstreamPort(
  device: number,
  acs: FunctionSpec["acs"],
  below: PlannedFunction[],
): PlannedFunction {
  return {
    devFn: device * 8,
    type: PortType.DownstreamPort,
    vendor: 0x10b5,
    device: 0x9797,
    acs,
    ariForwarding: true,
    endEndPrefix: true,
    below,
  };
}

function accelerator(): PlannedFunction[] {
  return [
    {
      devFn: 0,
      type: PortType.Endpoint,
      vendor: 0x10de,
      device: 0x2330,
      classCode: 0x030200,
      ats: { enabled: true },
      pasid: { width: 20, execute: true, enabled: true },
      pri: {},
      endEndPrefix: true,
      flr: true,
      msixVectors: 64,
      bars: [{ index: 0, kind: "memory64", prefetchable: true, size: 0x1000_0000n }],
    },
  ];
}

function networkCard(): PlannedFunction[] {
  return [0, 1, 2, 3].map((fn) => ({
    devFn: fn,
    type: PortType.Endpoint,
    vendor: 0x14e4,
    device: 0x165f,
    multifunction: true,
    flr: true,
    msixVectors: 17,
    bars: [{ index: 0, kind: "memory64", prefetchable: true, size: 0x1_0000n }],
  }));
}

function virtualised(): PlannedFunction[] {
  return [
    {
      devFn: 0,
      type: PortType.Endpoint,
      vendor: 0x8086,
      device: 0x1592,
      ari: true,
      flr: true,
      acs: { capability: 0, control: 0 },
      ats: {},
      msixVectors: 512,
      bars: [{ index: 0, kind: "memory64", prefetchable: true, size: 0x200_0000n }],
      sriov: {
        total: 64,
        enabled: 15,
        offset: 8,
        stride: 1,
        vfDevice: 0x1889,
        vfBars: [{ index: 0, kind: "memory64", prefetchable: true, size: 0x2_0000n }],
        vf: { ari: true, flr: true, acs: { capability: 0, control: 0 }, msixVectors: 5 },
      },
    },
  ];
}

function legacyBridge(): PlannedFunction {
  return {
    devFn: 0,
    type: PortType.PcieToPciBridge,
    vendor: 0x1a03,
    device: 0x1150,
    below: [
      { devFn: 0, vendor: 0x1a03, device: 0x2000, classCode: 0x030000 },
      { devFn: 8, vendor: 0x1b36, device: 0x0005 },
    ],
  };
}

/** One function as `lspci -xxxx` prints it: a title line, 256 rows of 16 bytes, an empty line. */
export function hexDumpOf(fn: FunctionDescription, length: 64 | 256 | 4096 = 4096): string {
  const { config } = fn;
  const classCode = hex(config.u16(0x0a), 4);
  const ids = `${hex(config.u16(0), 4)}:${hex(config.u16(2), 4)}`;
  const rows = [`${formatBdf(fn.bdf)} Class ${classCode}: ${ids}`];
  for (let at = 0; at < length; at += 16) {
    let row = `${hex(at, at < 0x100 ? 2 : 3)}:`;
    for (let i = 0; i < 16; i++) row += ` ${BYTE[config.u8(at + i)]}`;
    rows.push(row);
  }
  return `${rows.join("\n")}\n\n`;
}

const BYTE = Array.from({ length: 256 }, (_, i) => hex(i, 2));

/** Writes a dump of all functions to a file, a function at a time. Returns the number of bytes. */
export async function writeHexDump(
  file: string,
  functions: Iterable<FunctionDescription>,
  length: 64 | 256 | 4096 = 4096,
): Promise<number> {
  const stream = createWriteStream(file);
  let bytes = 0;
  for (const fn of functions) {
    const text = hexDumpOf(fn, length);
    bytes += text.length;
    if (!stream.write(text)) await once(stream, "drain");
  }
  stream.end();
  await once(stream, "finish");
  return bytes;
}
