/**
 * A captured function made from one block of lspci text, with or without a hex dump of the same
 * function.
 */
import {
  type BarHint,
  CONFIG_SIZE,
  type ConfigExtent,
  type ConfigSpace,
  configFromShown,
} from "../../../pcie/index.js";
import type { InputPlace } from "../../../units/index.js";
import type { CapturedFunction } from "../../capture.js";
import type { NameResolver } from "../names.js";
import {
  putBuses,
  putClosedWindow,
  putRegion,
  putWindow,
  readRegion,
  readRom,
  type WindowName,
} from "./address-registers.js";
import type { FunctionBlock } from "./block.js";
import { putChains } from "./capability-text.js";
import { putExpress } from "./express-registers.js";
import { EXTENDED_REGISTERS } from "./extended-registers.js";
import { readIds } from "./header-line.js";
import { putCommand, putInterrupt, putLatency, putStatus } from "./header-registers.js";
import { putMsi, putMsiX } from "./interrupt-registers.js";
import type { RegisterWriter } from "./registers.js";

/** A function and what the file as a whole still has to decide about it. */
export interface Draft {
  readonly captured: CapturedFunction;
  readonly group: number | undefined;
  readonly decoded: boolean;
  /** `Kernel driver in use` or `Kernel modules` was there: absence of a driver is knowledge. */
  readonly kernelLines: boolean;
  /** Offset where decoded text and hex dump disagree; -1 when nowhere. */
  readonly difference: number;
  readonly block: FunctionBlock;
}

export function draftFunction(
  block: FunctionBlock,
  out: RegisterWriter,
  place: InputPlace,
  names: NameResolver,
  listsComplete = false,
): Draft {
  const { header, properties } = block;
  dropSilentDump(block);
  out.reset();
  const layout = layoutOf(block, names);
  const identity = identify(block, names);
  const bars = layout === undefined ? hintsOnly(block) : putDecoded(out, block, layout);
  putIds(out, identity.ids, layout);
  const extent = extentOf(block, listsComplete);
  const dump = trimDump(block);
  const text = dump === undefined ? out.build(extent) : undefined;
  const config = text?.config ?? overlay(out, block, extent);
  const driver = properties.get("Kernel driver in use");
  const captured: CapturedFunction = {
    bdf: header.bdf,
    config,
    decided: text === undefined || text.decided.length === 0 ? undefined : text.decided,
    headerType: layout,
    ids: identity.ids,
    candidates: identity.candidates,
    idsFrom: identity.idsFrom,
    bars: bars.length === 0 ? undefined : bars,
    virtual: /\bVirtual Function\b/.test(header.name) ? true : undefined,
    driver,
    slot: properties.get("Physical Slot"),
    label: properties.get("DeviceName"),
    name: header.name === "" ? undefined : header.name,
    place,
    shown: shownOf(block),
  };
  return {
    captured: withoutUndefined(captured),
    group: groupOf(properties),
    decoded: block.decoded,
    kernelLines: driver !== undefined || properties.has("Kernel modules"),
    difference: dump === undefined ? -1 : out.firstDifference(dump),
    block,
  };
}

/** The dump, laid over the text where the text reaches further. */
function overlay(out: RegisterWriter, block: FunctionBlock, extent: ConfigExtent): ConfigSpace {
  const shown = block.hex?.subarray(0, block.hexLength) ?? new Uint8Array(0);
  return shown.length >= extent ? configFromShown(shown) : out.buildOver(shown, extent);
}

/** The dump without trailing zeros. */
function trimDump(block: FunctionBlock): Uint8Array | undefined {
  if (block.hex === undefined || block.hexLength < 64) return undefined;
  let n = block.hexLength;
  while (n > 0 && block.hex[n - 1] === 0) n--;
  return block.hex.slice(0, n);
}

const BRIDGE_CLASSES: ReadonlySet<number> = new Set([0x0604, 0x0609]);
const CARDBUS_CLASS = 0x0607;

/** Header layout 0, 1 or 2; undefined when the text shows no register. */
function layoutOf(block: FunctionBlock, names: NameResolver): number | undefined {
  const { properties, header } = block;
  if (block.dead) return undefined;
  const id = classIdOf(block, names);
  if (id === CARDBUS_CLASS) return 2;
  if (properties.has("Bus")) return properties.get("Bus")?.includes("secondary=") ? 1 : 0;
  if (properties.has("Control") || properties.has("Flags") || block.capabilities.length > 0) {
    return 0;
  }
  if (block.hexLength >= 16) return (block.hex?.[0x0e] ?? 0) & 0x7f;
  return id !== undefined && BRIDGE_CLASSES.has(id) && header.revision !== 0xff ? 1 : undefined;
}

function classIdOf(block: FunctionBlock, names: NameResolver): number | undefined {
  const { classId, className } = block.header;
  return classId ?? names.classId(className);
}

interface Identity {
  readonly ids: NonNullable<CapturedFunction["ids"]>;
  readonly candidates: CapturedFunction["candidates"];
  readonly idsFrom: CapturedFunction["idsFrom"];
}

function identify(block: FunctionBlock, names: NameResolver): Identity {
  const { header, properties } = block;
  const subsystem = properties.get("Subsystem");
  const numeric = header.vendor !== undefined && header.device !== undefined;
  const match = numeric
    ? { vendor: header.vendor, device: header.device, candidates: undefined }
    : names.device(header.name);
  const sub =
    header.subVendor !== undefined
      ? [header.subVendor, header.subDevice]
      : subsystem === undefined
        ? [undefined, undefined]
        : (readIds(subsystem) ?? names.subsystem(subsystem, match));
  const classId = classIdOf(block, names);
  const hex = block.hexLength >= 64 ? block.hex : undefined;
  const fromHex = hex !== undefined && !(hex[0] === 0xff && hex[1] === 0xff);
  const own = { vendor: match.vendor, device: match.device };
  // A VF's dump hides vendor and device only.
  const ids = fromHex
    ? {}
    : withoutUndefined(hex !== undefined ? own : { ...own, ...describedIds(block, classId, sub) });
  const idsFrom: Identity["idsFrom"] = fromHex
    ? "hex"
    : numeric
      ? "numeric"
      : match.candidates !== undefined
        ? "ambiguous-name"
        : match.vendor !== undefined
          ? "name"
          : "none";
  return { ids, candidates: fromHex ? undefined : match.candidates, idsFrom };
}

/** Ids beside vendor and device, as the header line and the subsystem line show them. */
function describedIds(
  { header, dead }: FunctionBlock,
  classId: number | undefined,
  [subVendor, subDevice]: readonly (number | undefined)[],
): Identity["ids"] {
  return {
    subVendor,
    subDevice,
    // A revision of zero is not printed.
    revision: dead ? undefined : (header.revision ?? 0),
    classCode: classId === undefined ? undefined : classId * 256 + (header.progIf ?? 0),
  };
}

function putIds(out: RegisterWriter, ids: Identity["ids"], layout: number | undefined): void {
  if (layout === undefined) return;
  if (ids.vendor !== undefined) out.put(0x00, 2, ids.vendor, 0);
  if (ids.device !== undefined) out.put(0x02, 2, ids.device, 0);
  if (ids.revision !== undefined) out.put(0x08, 1, ids.revision, 0xff);
  if (ids.classCode !== undefined) {
    out.put(0x09, 1, ids.classCode & 0xff, 0);
    out.put(0x0a, 2, ids.classCode >>> 8, 0xffff);
  }
  if (layout === 0 && ids.subVendor !== undefined) out.put(0x2c, 2, ids.subVendor, 0);
  if (layout === 0 && ids.subDevice !== undefined) out.put(0x2e, 2, ids.subDevice, 0);
}

const WINDOWS: readonly (readonly [WindowName, string])[] = [
  ["io", "I/O behind bridge"],
  ["memory", "Memory behind bridge"],
  ["prefetchable", "Prefetchable memory behind bridge"],
];

/** Writes everything the text states; returns the BAR hints. */
function putDecoded(out: RegisterWriter, block: FunctionBlock, layout: number): BarHint[] {
  const { properties, capabilities } = block;
  // The multi-function bit is not printed, so the byte stays open (see headerType).
  out.putOpen(0x0e, layout, 0x7f);
  const command = properties.get("Control");
  if (command !== undefined) putCommand(out, command);
  const status = properties.get("Status");
  if (status !== undefined) putStatus(out, `Status: ${status}`);
  else out.putOpen(0x06, capabilities.length > 0 || block.denied ? 0x10 : 0, 0x10);
  const latency = properties.get("Latency");
  if (latency !== undefined) putLatency(out, `Latency: ${latency}`);
  const interrupt = properties.get("Interrupt");
  if (interrupt !== undefined) putInterrupt(out, interrupt);
  if (layout !== 0) putBuses(out, properties.get("Bus") ?? "");
  if (layout === 1 && properties.has("Bus")) {
    for (const [name, key] of WINDOWS) {
      const text = properties.get(key);
      // Old versions leave out a closed window.
      if (text === undefined || !putWindow(out, name, text)) putClosedWindow(out, name);
    }
  }
  const bars = putBars(out, block, layout);
  if (!block.denied && capabilities.length > 0) {
    putChains(out, block, layout === 2 ? 0x14 : 0x34);
    for (const capability of capabilities) putCapability(out, capability);
  }
  return bars;
}

function putCapability(
  out: RegisterWriter,
  capability: FunctionBlock["capabilities"][number],
): void {
  const { id, extended } = capability;
  if (id === undefined) return;
  if (extended) EXTENDED_REGISTERS.get(id)?.(out, capability);
  else if (id === 0x10) putExpress(out, capability);
  else if (id === 0x11) putMsiX(out, capability);
  else if (id === 0x05) putMsi(out, capability);
}

function putBars(out: RegisterWriter, block: FunctionBlock, layout: number): BarHint[] {
  const hints: BarHint[] = [];
  const count = layout === 0 ? 6 : layout === 1 ? 2 : 0;
  let next = 0;
  let numbered = false;
  for (const line of block.regions) {
    const rom = readRom(line);
    if (rom !== undefined) {
      hints.push(rom);
      continue;
    }
    const region = readRegion(line);
    if (region === undefined) continue;
    const index = region.index ?? next;
    if (index >= count) continue;
    next = index + (region.wide ? 2 : 1);
    hints.push({ index, ...withoutUndefined(region.hint) });
    if (region.index === undefined) continue;
    numbered = true;
    // The kernel shows the fixed ports of an IDE controller that holds none in its registers.
    if (isLegacyIde(block, index)) continue;
    putRegion(out, 0x10 + 4 * index, region);
  }
  // With numbered regions, registers that are not mentioned hold zero.
  if (numbered || (block.regions.length === 0 && block.properties.has("Control"))) {
    for (let i = 0; i < count; i++) putEmptyBar(out, i, hints);
  }
  return hints;
}

/** PCI IDE Controller 1.0 § 2: regions 0 to 3 in compatibility mode. */
function isLegacyIde({ header }: FunctionBlock, index: number): boolean {
  return index < 4 && (header.classId === 0x0101 || header.className === "IDE interface");
}

/** Where the operating system put the regions of a function that does not answer. */
function hintsOnly(block: FunctionBlock): BarHint[] {
  const hints: BarHint[] = [];
  for (const line of block.regions) {
    const region = readRegion(line);
    if (region?.index === undefined || region.index > 5) continue;
    hints.push({ index: region.index, ...withoutUndefined(region.hint) });
  }
  return hints;
}

function putEmptyBar(out: RegisterWriter, index: number, hints: readonly BarHint[]): void {
  const taken = hints.some(
    (h) => h.index === index || (h.index === index - 1 && h.kind === "memory64"),
  );
  if (!taken) out.put(0x10 + 4 * index, 4, 0);
}

/** How far the text reaches; the hex dump may reach further. */
function extentOf(block: FunctionBlock, listsComplete: boolean): ConfigExtent {
  if (block.dead) return 0;
  const { properties, capabilities } = block;
  if (!properties.has("Control") && !properties.has("Flags")) {
    return capabilities.length > 0 ? CONFIG_SIZE : 0;
  }
  if (block.denied) return 64;
  if (capabilities.length > 0) return CONFIG_SIZE;
  // A list that the status bit announces and the text does not show was cut off, or has no entry.
  return missesList(block) && !listsComplete ? 64 : 256;
}

/** The status bit announces a capability list of which the text shows nothing. */
export function missesList(block: FunctionBlock): boolean {
  if (block.denied || block.capabilities.length > 0) return false;
  return block.properties.get("Status")?.includes("Cap+") === true;
}

/**
 * A function that does not answer (powered down) reads as ff throughout; such a dump says nothing.
 */
function dropSilentDump(block: FunctionBlock): void {
  const { hex, hexLength } = block;
  if (hex === undefined || hexLength < 64) return;
  for (let i = 0; i < 64; i++) if (hex[i] !== 0xff) return;
  block.dead = true;
  block.hex = undefined;
  block.hexLength = 0;
}

/** The group number a block names, in either form. */
export function groupOf(properties: ReadonlyMap<string, string>): number | undefined {
  const own =
    properties.get("IOMMU group") ?? /IOMMU group (\d+)/.exec(properties.get("Flags") ?? "")?.[1];
  if (own === undefined || !/^\d{1,9}$/.test(own)) return undefined;
  return Number(own);
}

function shownOf(block: FunctionBlock): Readonly<Record<string, string>> | undefined {
  const out: Record<string, string> = {};
  const { properties } = block;
  const keep = (name: string, value: string | undefined): void => {
    if (value !== undefined && value !== "") out[name] = value.trim().slice(0, 200);
  };
  keep("class", block.header.className);
  keep("subsystem", properties.get("Subsystem"));
  keep("interrupt", properties.get("Interrupt"));
  keep("numaNode", properties.get("NUMA node"));
  const express = block.capabilities.find((c) => !c.extended && c.id === 0x10);
  keep("linkCapability", express?.registers.get("LnkCap"));
  keep("linkStatus", express?.registers.get("LnkSta"));
  return Object.keys(out).length === 0 ? undefined : out;
}

type Defined<T> = { [K in keyof T]: T[K] };

/** A copy without the members that are undefined, so that captures stay small and comparable. */
export function withoutUndefined<T extends object>(value: T): Defined<T> {
  const out: Record<string, unknown> = {};
  for (const [key, member] of Object.entries(value)) if (member !== undefined) out[key] = member;
  return out as Defined<T>;
}
