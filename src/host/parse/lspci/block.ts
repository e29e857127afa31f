/**
 * One function's lines, gathered: header line, properties, capability paragraphs, hex rows.
 *
 * A block takes lines that blocks.ts gives it. It keeps
 * text only where a register or a fact will be read from it.
 */

import { type CapabilityText, RegisterCollector, readCapabilityLine } from "./capability-text.js";
import type { HeaderLine } from "./header-line.js";

export class FunctionBlock {
  header: HeaderLine;
  /** Index of the header line. */
  readonly index: number;
  /** Property → its text (first occurrence), for the properties in {@link PROPERTY}. */
  readonly properties = new Map<string, string>();
  readonly regions: string[] = [];
  readonly capabilities: CapabilityText[] = [];
  denied = false;
  broken = false;
  /** Notices such as "!!! Unknown header type 7f". */
  dead = false;
  /** Last line of the block that showed a decoded register; for messages. */
  last: number;
  hex: Uint8Array | undefined;
  /** Bytes of `hex` that were given, from 0 on. */
  hexLength = 0;
  /** Index of the first hex row. */
  hexIndex = -1;
  #collector: RegisterCollector | undefined;
  #inCapabilities = false;

  constructor(header: HeaderLine, index: number) {
    this.header = header;
    this.index = index;
    this.last = index;
  }

  /** The same lines as another object; not to be added to. */
  copy(): FunctionBlock {
    const out = new FunctionBlock(this.header, this.index);
    for (const [key, value] of this.properties) out.properties.set(key, value);
    out.regions.push(...this.regions);
    out.capabilities.push(...this.capabilities);
    out.denied = this.denied;
    out.broken = this.broken;
    out.dead = this.dead;
    out.last = this.last;
    out.hex = this.hex;
    out.hexLength = this.hexLength;
    out.hexIndex = this.hexIndex;
    return out;
  }

  /** Has decoded lines, more than the header line. */
  get decoded(): boolean {
    return this.properties.size > 0 || this.capabilities.length > 0 || this.denied;
  }

  /** Shows registers, decoded or as bytes: more than a listing with drivers. */
  get showsRegisters(): boolean {
    const { properties, capabilities, hexIndex } = this;
    const decoded = properties.has("Control") || properties.has("Flags");
    return decoded || capabilities.length > 0 || hexIndex >= 0;
  }

  /** The last line added was of a capability. */
  get inCapabilities(): boolean {
    return this.#inCapabilities;
  }

  /** Takes a trimmed property or register line. */
  add(line: string, index: number): void {
    this.last = index;
    if (line.startsWith("Capabilities:")) {
      this.#capability(line);
      return;
    }
    const key = propertyOf(line);
    if (key === "Kernel driver in use" || key === "Kernel modules") {
      this.#inCapabilities = false;
      this.#collector = undefined;
    }
    if (this.#inCapabilities) {
      this.#collector?.add(line);
      return;
    }
    if (line.startsWith("!!!")) this.dead ||= line.includes("Unknown header type");
    if (key === undefined) return;
    if (key === "Region") {
      if (this.regions.length < 16) this.regions.push(line);
    } else if (!this.properties.has(key)) this.properties.set(key, valueAfter(line, key));
  }

  #capability(line: string): void {
    this.#inCapabilities = true;
    this.#collector = undefined;
    const read = readCapabilityLine(line);
    if (read.kind === "denied") this.denied = true;
    else if (read.kind === "broken") this.broken = true;
    else if (read.kind === "capability" && this.capabilities.length < 1024) {
      const { capability } = read;
      if (this.capabilities.some((c) => c.offset === capability.offset)) {
        this.broken = true;
        return;
      }
      this.capabilities.push(capability);
      this.#collector = new RegisterCollector(capability);
    }
  }
}

/**
 * Properties whose value follows their name; `Region` and `Flags` stand for lines with several
 * forms.
 */
export const PROPERTY: readonly string[] = [
  "Subsystem",
  "Control",
  "Status",
  "Flags",
  "Latency",
  "Interrupt",
  "NUMA node",
  "IOMMU group",
  "Physical Slot",
  "DeviceName",
  "Bus",
  "I/O behind bridge",
  "Memory behind bridge",
  "Prefetchable memory behind bridge",
  "Secondary status",
  "BridgeCtl",
  "Kernel driver in use",
  "Kernel modules",
  "BIST",
  "Device tree node",
];

const BY_FIRST = new Map<number, string[]>();
for (const name of PROPERTY) {
  const first = name.charCodeAt(0);
  BY_FIRST.set(first, [...(BY_FIRST.get(first) ?? []), name]);
}

const REGION_START =
  /^(?:Region \d|\[virtual\] |(?:Memory|I\/O ports|I\/O memory|Expansion ROM) at )/;

/** The property a line shows; `Region` for address lines; undefined for other lines. */
export function propertyOf(line: string): string | undefined {
  for (const name of BY_FIRST.get(line.charCodeAt(0)) ?? []) {
    if (line.charCodeAt(name.length) === 0x3a && line.startsWith(name)) return name;
  }
  return REGION_START.test(line) ? "Region" : undefined;
}

function valueAfter(line: string, key: string): string {
  return line.slice(key.length + 1).trim();
}
