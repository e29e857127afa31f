/**
 * Base address registers and bridge windows from text.
 *
 * lspci prints the addresses the operating system uses. Where they differ from the registers (host
 * bridges with an offset) only the dump is right, so address bits are written but never "decided".
 */
import type { BarHint } from "../../../pcie/index.js";
import type { RegisterWriter } from "./registers.js";

const ADDRESS = "([0-9a-f]{1,16}|<[a-z0-9-]{1,40}>)";
const REGION = new RegExp(
  `^(?:Region (\\d+): )?(?:\\[virtual\\] )?(Memory|I/O ports|I/O memory) at ${ADDRESS}`,
  "i",
);
const ROM = new RegExp(`^(?:\\[virtual\\] )?Expansion ROM at ${ADDRESS}`, "i");
const SIZE = /\[size=(\d{1,9})([KMGTP]?)\]/;
const UNITS: Readonly<Record<string, bigint>> = {
  "": 1n,
  K: 1n << 10n,
  M: 1n << 20n,
  G: 1n << 30n,
  T: 1n << 40n,
  P: 1n << 50n,
};
export const ROM_INDEX = 6;

export interface Region {
  /** Undefined in `lspci -v`, which does not number regions. */
  readonly index: number | undefined;
  readonly hint: Omit<BarHint, "index">;
  /** Low and high register; undefined when the text does not tell what the register holds. */
  readonly low: number | undefined;
  readonly high: number | undefined;
  readonly wide: boolean;
  readonly virtual: boolean;
}

/** `Region 0: Memory at f7f00000 (64-bit, non-prefetchable) [virtual] [disabled] [size=16K]` */
export function readRegion(text: string): Region | undefined {
  const m = REGION.exec(text);
  if (m === null) return undefined;
  const io = (m[2] as string).startsWith("I/O p") || (m[2] as string).startsWith("I/O m");
  const address = m[3] as string;
  const assigned = !address.startsWith("<");
  const virtual = text.includes("[virtual]");
  const wide = !io && text.includes("(64-bit");
  const prefetchable = !io && /[( ]prefetchable/.test(text);
  const base = assigned ? BigInt(`0x${address}`) : undefined;
  const type = io ? 1 : (wide ? 4 : text.includes("(low-1M") ? 2 : 0) | (prefetchable ? 8 : 0);
  const shown = !virtual && address !== "<ignored>";
  const low = shown ? (Number((base ?? 0n) & 0xffffffffn) | type) >>> 0 : undefined;
  return {
    index: m[1] === undefined ? undefined : Number(m[1]),
    hint: {
      size: readSize(text),
      base,
      kind: io ? "io" : wide ? "memory64" : "memory32",
      prefetchable,
      ...(assigned ? {} : { unassigned: true }),
    },
    low,
    high: shown && wide ? Number((base ?? 0n) >> 32n) : undefined,
    wide,
    virtual,
  };
}

export function readSize(text: string): bigint | undefined {
  const m = SIZE.exec(text);
  return m === null ? undefined : BigInt(m[1] as string) * (UNITS[m[2] ?? ""] ?? 1n);
}

/** Low type bits are stated by the text, address bits are not (see above). */
export function putRegion(out: RegisterWriter, at: number, region: Region): void {
  if (region.low === undefined) return;
  const io = region.hint.kind === "io";
  out.put(at, 4, region.low, io ? 1 : 0xf);
  if (region.wide && region.high !== undefined) out.put(at + 4, 4, region.high);
}

export function readRom(text: string): BarHint | undefined {
  const m = ROM.exec(text);
  if (m === null) return undefined;
  const address = m[1] as string;
  const assigned = !address.startsWith("<");
  return {
    index: ROM_INDEX,
    size: readSize(text),
    kind: "memory32",
    prefetchable: false,
    ...(assigned ? { base: BigInt(`0x${address}`) } : { unassigned: true }),
  };
}

const BUS = /primary=([0-9a-f]{2}), secondary=([0-9a-f]{2}), subordinate=([0-9a-f]{2})/i;

/**
 * `Bus: primary=00, secondary=01, subordinate=03, sec-latency=0`; false when the line has another
 * form.
 */
export function putBuses(out: RegisterWriter, text: string): boolean {
  const m = BUS.exec(text);
  if (m === null) return false;
  for (let i = 0; i < 3; i++) {
    out.put(0x18 + i, 1, Number.parseInt(m[i + 1] as string, 16), i === 0 ? 0 : 0xff);
  }
  return true;
}

export type WindowName = "io" | "memory" | "prefetchable";

const RANGE = /([0-9a-f]{4,16})-([0-9a-f]{4,16})/i;

/**
 * `I/O behind bridge: 0000f000-00000fff [disabled] [32-bit]` and its two sisters, in all spellings.
 */
export function putWindow(out: RegisterWriter, name: WindowName, text: string): boolean {
  const m = RANGE.exec(text);
  if (m === null) {
    if (!/\[disabled\]|None|<none>/i.test(text)) return false;
    putClosedWindow(out, name);
    return true;
  }
  const first = BigInt(`0x${m[1] as string}`);
  const last = BigInt(`0x${m[2] as string}`);
  if (name === "io") putIo(out, first, last, text);
  else putMemory(out, name, first, last, (m[1] as string).length > 8 || text.includes("[64-bit]"));
  return true;
}

/** Base above limit. Which such values the registers hold is not known. */
export function putClosedWindow(out: RegisterWriter, name: WindowName): void {
  if (name === "io") out.put(0x1c, 1, 0xf0).put(0x1d, 1, 0).put(0x30, 4, 0);
  else if (name === "memory") out.put(0x20, 2, 0xfff0).put(0x22, 2, 0);
  else out.put(0x24, 2, 0xfff1).put(0x26, 2, 1).put(0x28, 4, 0).put(0x2c, 4, 0);
}

function putIo(out: RegisterWriter, first: bigint, last: bigint, text: string): void {
  const wide = first > 0xffffn || last > 0xffffn || text.includes("[32-bit]");
  const type = wide ? 1 : 0;
  out.put(0x1c, 1, Number((first >> 8n) & 0xf0n) | type, 0xf0);
  out.put(0x1d, 1, Number((last >> 8n) & 0xf0n) | type, 0xf0);
  out.put(0x30, 2, Number((first >> 16n) & 0xffffn));
  out.put(0x32, 2, Number((last >> 16n) & 0xffffn));
}

function putMemory(
  out: RegisterWriter,
  name: "memory" | "prefetchable",
  first: bigint,
  last: bigint,
  wide: boolean,
): void {
  const at = name === "memory" ? 0x20 : 0x24;
  const type = name === "prefetchable" && wide ? 1 : 0;
  out.put(at, 2, Number((first >> 16n) & 0xfff0n) | type, 0xfff0);
  out.put(at + 2, 2, Number((last >> 16n) & 0xfff0n) | type, 0xfff0);
  if (name !== "prefetchable") return;
  out.put(0x28, 4, Number((first >> 32n) & 0xffffffffn));
  out.put(0x2c, 4, Number((last >> 32n) & 0xffffffffn));
}
