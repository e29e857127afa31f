/**
 * Transaction layer packets as the fabric sees them: PCIe 6 § 2.2 (headers), § 6.20 (PASID), § 10.2
 * (address type).
 *
 * Only what routing and translation look at is kept: no tags, no data. An address is a page frame
 * number and an offset inside the 4 KiB page, so that all 64 bits fit into exact numbers without
 * bigints. A request never leaves its page (§ 2.2.7), so that pair is enough for its last byte too.
 */
import { PASID_LIMIT, type Pasid, type Rid } from "../units/index.js";

/**
 * The AT field of a memory request (§ 10.2.2).
 * `untranslated` is the default value; `translation-request` asks the translation agent for a
 * translation and is itself routed by its address; `translated` carries an address that the agent
 * gave before.
 */
export type AddressType = "untranslated" | "translation-request" | "translated";

export type MemoryAccess = "read" | "write" | "atomic";

/** The PASID prefix: an end-end TLP prefix (§ 6.20.2). */
export interface PasidPrefix {
  readonly pasid: Pasid;
  /** Privileged Mode Requested. */
  readonly privileged: boolean;
  /** Execute Requested. */
  readonly execute: boolean;
}

export interface MemoryRequest {
  readonly access: MemoryAccess;
  readonly requester: Rid;
  readonly addressType: AddressType;
  /** Page frame number, 0 to 2^52 - 1. */
  readonly pfn: number;
  /** Byte in the page, 0 to 4095. */
  readonly offset: number;
  /** Bytes, 1 to 4096, not past the end of the page. */
  readonly length: number;
  readonly relaxedOrdering: boolean;
  readonly noSnoop: boolean;
  readonly idOrdering: boolean;
  readonly prefix: PasidPrefix | undefined;
}

export interface CompletionTlp {
  /** Where it goes: the requester ID of the request it answers. */
  readonly requester: Rid;
  readonly completer: Rid;
  readonly relaxedOrdering: boolean;
}

export const PFN_LIMIT = 2 ** 52;
export const PAGE_BYTES = 4096;

/** What {@link memoryRequest} fills in. */
export type MemoryRequestSpec = Pick<MemoryRequest, "requester"> &
  Partial<Omit<MemoryRequest, "pfn" | "offset">> & {
    /** Bus address, 0 to 2^64 - 1; instead of `pfn` and `offset`. */
    readonly address: bigint;
  };

/**
 * A read of four bytes, untranslated, without attributes or prefix, unless the specification says
 * otherwise.
 * @throws RangeError when a field is out of its range.
 */
export function memoryRequest(spec: MemoryRequestSpec): MemoryRequest {
  const { address } = spec;
  if (address < 0n || address >= 1n << 64n)
    throw new RangeError(`address ${address} is not 64 bits`);
  const tlp: MemoryRequest = {
    access: spec.access ?? "read",
    requester: spec.requester,
    addressType: spec.addressType ?? "untranslated",
    pfn: Number(address >> 12n),
    offset: Number(address & 0xfffn),
    length: spec.length ?? 4,
    relaxedOrdering: spec.relaxedOrdering ?? false,
    noSnoop: spec.noSnoop ?? false,
    idOrdering: spec.idOrdering ?? false,
    prefix: spec.prefix,
  };
  const { prefix, length } = tlp;
  if (!Number.isInteger(length) || length < 1 || length > PAGE_BYTES) {
    throw new RangeError(`length ${length} is not 1..4096`);
  }
  if (prefix !== undefined && !(prefix.pasid >= 0 && prefix.pasid < PASID_LIMIT)) {
    throw new RangeError(`PASID ${prefix.pasid} is not 0..0xfffff`);
  }
  return tlp;
}

/** The bus address of the first byte. */
export function addressOf(tlp: { readonly pfn: number; readonly offset: number }): bigint {
  return (BigInt(tlp.pfn) << 12n) | BigInt(tlp.offset);
}

/** Its shape is legal: integers in their ranges, and the bytes stay inside one page (§ 2.2.7). */
export function isWellFormed(tlp: MemoryRequest): boolean {
  const { pfn, offset, length } = tlp;
  return (
    Number.isInteger(pfn) &&
    pfn >= 0 &&
    pfn < PFN_LIMIT &&
    Number.isInteger(offset) &&
    offset >= 0 &&
    Number.isInteger(length) &&
    length >= 1 &&
    offset + length <= PAGE_BYTES
  );
}

/** Writes are posted: nobody answers them, so an error drops them (§ 2.2.9, § 2.4). */
export function isPosted(access: MemoryAccess): boolean {
  return access === "write";
}
