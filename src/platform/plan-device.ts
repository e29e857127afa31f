/** One device of a platform file becomes a planned function. */

import { ENGINE_BAR_BYTES, ENGINE_CLASS, ENGINE_DEVICE, ENGINE_VENDOR } from "../devices/index.js";
import { acsWord, type FunctionSpec } from "../pcie/index.js";
import { KINDS } from "./device-kind.js";
import type { InputPath } from "./line-map.js";
import type { PlannedFunction, PlannedSrIov } from "./plan.js";
import { planBars, planWindows, toBytes } from "./plan-address.js";
import type { Problems } from "./platform-error.js";
import type { CommonNode, DeviceNode, SrIovNode } from "./platform-shape.js";

/** What the kernel switches on where it can, and what modern ports implement. */
const ACS_FULL = { capability: 0x5f, control: 0x1d } as const;
const ACS_ENHANCED = 0x80;

/** Fields that only PCI Express functions have. */
const EXPRESS_ONLY = [
  "acs",
  "ats",
  "pri",
  "pasid",
  "sriov",
  "endEndPrefix",
  "flr",
  "phantomBits",
  "ari",
] as const;
const PORTS_ONLY = ["hotPlug", "ariForwarding"] as const;
const BRIDGES_ONLY = ["below", "windows", "buses"] as const;
const ENDPOINTS_ONLY = ["sriov", "phantomBits", "ari", "pasid", "pri", "ats"] as const;
const LEAVES_ONLY = ["engine", "mediated"] as const;
const ENGINE_VECTORS = 4;

/** `below`: the planned functions on the bus below, for bridges. */
export function planDevice(
  node: DeviceNode,
  devFn: number,
  multifunction: boolean,
  below: readonly PlannedFunction[] | undefined,
  path: InputPath,
  problems: Problems,
): PlannedFunction {
  const kind = KINDS[node.kind];
  const bridge = kind.below !== undefined;
  checkFields(node, path, problems);
  const engine = node.engine === "dma";
  const ids = splitIds(node.id) ?? (engine ? [ENGINE_VENDOR, ENGINE_DEVICE] : undefined);
  const sub = splitIds(node.subsystem);
  if (engine && node.bars !== undefined) checkEngineBar(node, path, problems);
  return {
    devFn,
    origin: path,
    handle: node.name,
    name: node.name,
    type: kind.type,
    bridge,
    vendor: ids?.[0],
    device: ids?.[1],
    subVendor: sub?.[0],
    subDevice: sub?.[1],
    revision: node.revision,
    classCode: classCode(node.class) ?? (engine ? ENGINE_CLASS : kind.classCode),
    multifunction: node.multifunction ?? multifunction,
    ...planCommon(node, path, problems),
    endEndPrefix: node.endEndPrefix ?? (bridge || node.pasid !== undefined),
    phantomBits: node.phantomBits,
    ari: node.ari ?? node.sriov !== undefined,
    ariForwarding: ariForwarding(node, below),
    hotPlug: node.hotPlug,
    externalFacing: node.externalFacing,
    untrusted: node.untrusted,
    slot: node.slot,
    label: node.label,
    bars: planBars(barsOf(node), bridge ? 2 : 6, [...path, "bars"], problems),
    engine,
    mediated: node.mediated,
    windows: planWindows(node.windows, [...path, "windows"], problems),
    secondary: number(node.buses?.secondary),
    subordinate: number(node.buses?.subordinate),
    pin: node.pin === undefined ? undefined : "ABCD".indexOf(node.pin) + 1,
    sriov: node.sriov && planSrIov(node.sriov, devFn, [...path, "sriov"], problems),
    below: bridge ? (below ?? []) : undefined,
  };
}

/** Facts that VFs have too. */
function planCommon(node: CommonNode, path: InputPath, problems: Problems): Partial<FunctionSpec> {
  return {
    acs: planAcs(node.acs, [...path, "acs"], problems),
    ats: switchable(node.ats),
    pri: switchable(node.pri),
    pasid: node.pasid,
    endEndPrefix: node.endEndPrefix ?? node.pasid !== undefined,
    flr: node.flr,
    msixVectors: node.msix ?? (node.engine === "dma" ? ENGINE_VECTORS : undefined),
    msiVectors: node.msi,
    driver: node.driver,
  };
}

function checkFields(node: DeviceNode, path: InputPath, problems: Problems): void {
  const kind = KINDS[node.kind];
  const facing = kind.type !== undefined && kind.below === "link";
  const refuse = (fields: readonly (keyof DeviceNode)[], why: string) => {
    for (const field of fields) {
      if (node[field] === undefined) continue;
      problems.add([...path, field], `a ${node.kind} has no ${field}`, why);
    }
  };
  if (kind.below === undefined) refuse(BRIDGES_ONLY, "the field on a bridge or port");
  else refuse(LEAVES_ONLY, "the field on a function without a bus below");
  if (!facing) refuse(PORTS_ONLY, "the field on a root port or switch downstream port");
  if (kind.type === undefined) refuse(EXPRESS_ONLY, "the field on a PCI Express function");
  else if (kind.below !== undefined) refuse(ENDPOINTS_ONLY, "the field on an endpoint");
}

function planAcs(acs: DeviceNode["acs"], path: InputPath, problems: Problems): FunctionSpec["acs"] {
  if (acs === undefined || acs === "none") return undefined;
  if (acs === "full") return ACS_FULL;
  const capability = acsWord(acs.capability);
  const control = acsWord(acs.enabled ?? []);
  for (const bit of acs.enabled ?? []) {
    if (acs.capability.includes(bit)) continue;
    problems.add([...path, "enabled"], `${bit} is on but not in the capability`, "the bit in both");
  }
  const vector = acs.egressVector;
  if (vector !== undefined && !acs.capability.includes("EC")) {
    problems.add([...path, "egressVector"], "needs egress control", "EC in the capability");
  }
  const bits = vector === undefined ? 0 : (vector.length * 32) & 0xff;
  return {
    capability: capability | (acs.enhanced === true ? ACS_ENHANCED : 0) | (bits << 8),
    control,
    egressVector: vector,
  };
}

function planSrIov(
  node: SrIovNode,
  devFn: number,
  path: InputPath,
  problems: Problems,
): PlannedSrIov {
  const total = node.total ?? node.vfs;
  if (node.vfs > total) {
    problems.add([...path, "vfs"], "is more than total", `at most ${total}`);
  }
  return {
    total,
    enabled: node.vfs,
    offset: node.offset ?? 8 - (devFn & 7) + (devFn & 7) * Math.max(total, 1),
    stride: node.stride ?? 1,
    vfDevice: number(node.device),
    vfBars: planBars(
      barsOf({ bars: node.bars, engine: node.each?.engine }),
      6,
      [...path, "bars"],
      problems,
    ),
    vfEngine: node.each?.engine === "dma",
    vf: { ari: true, ...planCommon(node.each ?? {}, [...path, "each"], problems) },
  };
}

function ariForwarding(
  node: DeviceNode,
  below: readonly PlannedFunction[] | undefined,
): boolean | undefined {
  const kind = KINDS[node.kind];
  if (kind.below !== "link" || kind.type === undefined) return undefined;
  return node.ariForwarding ?? (below ?? []).some((fn) => fn.ari === true);
}

function switchable(
  node: boolean | { readonly enabled?: boolean | undefined } | undefined,
): { readonly enabled: boolean } | undefined {
  if (node === undefined || node === false) return undefined;
  return node === true ? { enabled: true } : { enabled: node.enabled === true };
}

function splitIds(pair: string | undefined): readonly [number, number] | undefined {
  if (pair === undefined) return undefined;
  return [Number.parseInt(pair.slice(0, 4), 16), Number.parseInt(pair.slice(5), 16)];
}

function classCode(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number.parseInt(text.padEnd(6, "0"), 16);
}

function number(value: number | string | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

/** An engine's registers lie behind BAR 0. */
function barsOf(node: Pick<DeviceNode, "bars" | "engine">): DeviceNode["bars"] {
  if (node.bars !== undefined || node.engine !== "dma") return node.bars;
  return [{ size: ENGINE_BAR_BYTES }];
}

function checkEngineBar(node: DeviceNode, path: InputPath, problems: Problems): void {
  const bar = (node.bars ?? []).find((b, i) => (b.index ?? i) === 0);
  if (bar !== undefined && bar.kind !== "io" && toBytes(bar.size) >= ENGINE_BAR_BYTES) return;
  const expected = `BAR 0 with at least ${ENGINE_BAR_BYTES} bytes of memory, or no bars`;
  problems.add([...path, "bars"], "has no room for the registers of an engine", expected);
}
