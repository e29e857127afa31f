/**
 * Bdf: where a function sits. Rid: what its packets carry.
 *
 * A Bdf packs segment, bus, device and function as `segment * 65536 + rid`, exact for 32-bit
 * segments (Linux gives Intel VMD child domains numbers from 0x10000). Compare and sort Bdfs as
 * plain numbers.
 */
import type { Brand } from "./brand.js";

/** segment:bus:device.function, an address in the topology; 0 to 2^48 - 1. */
export type Bdf = Brand<number, "Bdf">;
/** Requester ID: bus, device, function as a TLP carries them; 16 bits. */
export type Rid = Brand<number, "Rid">;
/** Device and function inside one bus; 8 bits, device in bits 7:3. */
export type DevFn = Brand<number, "DevFn">;

const SEGMENT_LIMIT = 2 ** 32;

/** @throws RangeError when a part is out of range. */
export function makeBdf(segment: number, bus: number, device: number, fn: number): Bdf {
  if (!isBelow(segment, SEGMENT_LIMIT)) throw new RangeError(`segment ${segment} is not 0..2^32-1`);
  if (!isBelow(bus, 256)) throw new RangeError(`bus ${bus} is not 0..255`);
  if (!isBelow(device, 32)) throw new RangeError(`device ${device} is not 0..31`);
  if (!isBelow(fn, 8)) throw new RangeError(`function ${fn} is not 0..7`);
  return (segment * 65536 + bus * 256 + device * 8 + fn) as Bdf;
}

/**
 * The function with that requester ID in a segment. @throws RangeError when a part is out of range.
 */
export function bdfFromRid(segment: number, rid: number): Bdf {
  if (!isBelow(segment, SEGMENT_LIMIT)) throw new RangeError(`segment ${segment} is not 0..2^32-1`);
  if (!isBelow(rid, 65536)) throw new RangeError(`requester ID ${rid} is not 16 bits`);
  return (segment * 65536 + rid) as Bdf;
}

/** @throws RangeError when the value is not 16 bits. */
export function makeRid(value: number): Rid {
  if (!isBelow(value, 65536)) throw new RangeError(`requester ID ${value} is not 16 bits`);
  return value as Rid;
}

/** Segment, 0 to 2^32 - 1. */
export const segmentOf = (bdf: Bdf): number => Math.floor(bdf / 65536);
/** Bus, device and function: what the function's own packets carry. */
export const ridOf = (bdf: Bdf): Rid => (bdf % 65536) as Rid;
/** Bus, 0 to 255. */
export const busOf = (bdf: Bdf): number => (bdf % 65536) >>> 8;
/** Device and function as one 8-bit number. */
export const devFnOf = (bdf: Bdf): DevFn => (bdf % 256) as DevFn;
/** Device, 0 to 31. */
export const deviceOf = (bdf: Bdf): number => (bdf % 256) >>> 3;
/** Function, 0 to 7. */
export const functionOf = (bdf: Bdf): number => bdf % 8;

/**
 * `[segment:]bus:device.function` in hex; the segment is 0 when absent. Undefined when the text has
 * another form.
 */
export function parseBdf(text: string): Bdf | undefined {
  const m = BDF.exec(text);
  if (m === null) return undefined;
  const segment = m[1] === undefined ? 0 : Number.parseInt(m[1], 16);
  const device = Number.parseInt(m[3] as string, 16);
  if (device > 31) return undefined;
  return makeBdf(
    segment,
    Number.parseInt(m[2] as string, 16),
    device,
    Number.parseInt(m[4] as string, 10),
  );
}
const BDF = /^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/i;

/** `0000:03:00.0`; segments above ffff keep their digits. */
export function formatBdf(bdf: Bdf): string {
  return `${hex(segmentOf(bdf), 4)}:${formatRid(ridOf(bdf))}`;
}

/** `03:00.0` */
export function formatRid(rid: Rid | DevFn): string {
  return `${hex(rid >>> 8, 2)}:${hex((rid >>> 3) & 31, 2)}.${rid & 7}`;
}

/** Lower-case hex without prefix, zero-filled to `digits`. */
export function hex(value: number | bigint, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}

function isBelow(value: number, limit: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < limit;
}
