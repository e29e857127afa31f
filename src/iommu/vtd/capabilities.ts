/**
 * What a VT-d unit can do: its capability registers, and what the translating code reads from them.
 *
 * The registers are the truth; {@link VtdCapabilities} is decoded from them. A feature that this
 * model lacks (posted interrupts, performance monitoring) has no bit.
 */
import {
  type BitField,
  buildWords,
  getField,
  VTD_CAPABILITY,
  VTD_EXTENDED_CAPABILITY,
} from "../../formats/index.js";

/** What differs from unit to unit. Everything absent takes the value of a recent server. */
export interface VtdOptions {
  /** Bits of a physical address, 39 to 52; default 52. */
  readonly hostAddressWidth?: number;
  /** Bits of an input address (MGAW), 39 to 57 and not above the deepest table; default 57. */
  readonly inputAddressWidth?: number;
  /** Depths of stage-2 tables; default 4 and 5. */
  readonly stage2Levels?: readonly (3 | 4 | 5)[];
  /** Bits of a domain id, even, 4 to 16; default 16. */
  readonly domainIdBits?: number;
  readonly pages2M?: boolean;
  readonly pages1G?: boolean;
  /** Fault records, 1 to 256; default 8. */
  readonly faultRecords?: number;
  readonly zeroLengthRead?: boolean;
  readonly cachingMode?: boolean;
  readonly passThrough?: boolean;
  readonly snoopControl?: boolean;
  readonly deviceTlb?: boolean;
  readonly interruptRemapping?: boolean;
  readonly extendedInterrupts?: boolean;
  /** Scalable mode; without it none of the rest counts. */
  readonly scalable?: boolean;
  readonly stage1?: boolean;
  readonly stage1Levels5?: boolean;
  readonly stage1Pages1G?: boolean;
  readonly stage2?: boolean;
  readonly nested?: boolean;
  readonly pasid?: boolean;
  /** Bits of a PASID, 1 to 20; default 20. */
  readonly pasidBits?: number;
  readonly ridPasid?: boolean;
  readonly ridPrivileged?: boolean;
  readonly pageRequests?: boolean;
  readonly executeRequests?: boolean;
  readonly supervisorRequests?: boolean;
  readonly extendedAccessed?: boolean;
  readonly stage2AccessedDirty?: boolean;
  readonly abortDma?: boolean;
  /** Invalidation by registers, which units of version 6 and later lack; default no. */
  readonly registerInvalidation?: boolean;
  /** Protected memory regions below 4 GiB, and of any address; default no. */
  readonly protectedLowMemory?: boolean;
  readonly protectedHighMemory?: boolean;
}

/** Byte offset of the fault records. */
export const FAULT_RECORDS_OFFSET = 0x400;
/** Byte offset of the IOTLB invalidation registers, unless the fault records reach there. */
const IOTLB_REGISTERS_OFFSET = 0x500;

const FAULT_RECORD_BYTES = 16;

/** A unit's capability registers, and the host's address width, which no register tells. */
export interface VtdRegisters {
  readonly capability: Uint32Array;
  readonly extendedCapability: Uint32Array;
  readonly hostAddressWidth: number;
  /** Major version in bits 7:4, minor in 3:0. */
  readonly version: number;
}

/** § 6.5: from version 6 on there is no invalidation by registers. */
const VERSION = { current: 0x60, registerInvalidation: 0x50 } as const;

/** @throws RangeError when an option is out of its range. */
export function vtdRegisters(options: VtdOptions = {}): VtdRegisters {
  const levels = options.stage2Levels ?? [4, 5];
  const { width, host, domainBits, records, pasidBits } = checkedNumbers(options, levels);
  const scalable = options.scalable ?? true;
  const yes = (value: boolean | undefined): boolean => value ?? true;
  const inScalable = (value: boolean | undefined): boolean => scalable && yes(value);
  const registerInvalidation = options.registerInvalidation ?? false;
  const afterRecords = FAULT_RECORDS_OFFSET + records * FAULT_RECORD_BYTES;
  const iotlbRegisters = registerInvalidation
    ? Math.max(IOTLB_REGISTERS_OFFSET, afterRecords)
    : IOTLB_REGISTERS_OFFSET;
  const capability = buildWords(VTD_CAPABILITY, 2, {
    domainIds: (domainBits - 4) / 2,
    protectedLowMemory: options.protectedLowMemory ?? false,
    protectedHighMemory: options.protectedHighMemory ?? false,
    cachingMode: options.cachingMode ?? false,
    stage2Levels: levels.reduce((mask, level) => mask | (1 << (level - 2)), 0),
    maximumAddressWidth: width - 1,
    zeroLengthRead: yes(options.zeroLengthRead),
    faultRecordOffset: FAULT_RECORDS_OFFSET / 16,
    stage2LargePages: (yes(options.pages2M) ? 1 : 0) | (yes(options.pages1G) ? 2 : 0),
    pageSelective: true,
    faultRecords: records - 1,
    maximumAddressMask: 52,
    drainWrites: true,
    drainReads: true,
    stage1Pages1G: inScalable(options.stage1Pages1G),
    stage1Levels5: inScalable(options.stage1Levels5),
  });
  const extendedCapability = buildWords(VTD_EXTENDED_CAPABILITY, 2, {
    coherentWalk: true,
    queuedInvalidation: true,
    deviceTlb: yes(options.deviceTlb),
    interruptRemapping: yes(options.interruptRemapping),
    extendedInterrupts: yes(options.interruptRemapping) && yes(options.extendedInterrupts),
    passThrough: yes(options.passThrough),
    snoopControl: yes(options.snoopControl),
    iotlbRegisterOffset: iotlbRegisters / 16,
    maximumHandleMask: 15,
    nested: inScalable(options.nested) && yes(options.stage1) && yes(options.stage2),
    pageRequests: inScalable(options.pageRequests) && yes(options.deviceTlb),
    executeRequests: inScalable(options.executeRequests),
    supervisorRequests: inScalable(options.supervisorRequests),
    extendedAccessed: inScalable(options.extendedAccessed),
    pasidSize: inScalable(options.pasid) ? pasidBits - 1 : 0,
    pasid: inScalable(options.pasid),
    pageRequestDrain: inScalable(options.pageRequests) && yes(options.deviceTlb),
    scalableMode: scalable,
    stage2AccessedDirty: inScalable(options.stage2AccessedDirty),
    stage2: inScalable(options.stage2),
    stage1: inScalable(options.stage1),
    pageWalkCoherency: scalable,
    ridPasid: inScalable(options.ridPasid),
    abortDma: yes(options.abortDma),
    ridPrivileged: inScalable(options.ridPrivileged) && yes(options.ridPasid),
  });
  const version = registerInvalidation ? VERSION.registerInvalidation : VERSION.current;
  return { capability, extendedCapability, hostAddressWidth: host, version };
}

/** The two registers as 64-bit values. @throws RangeError when an option is out of its range. */
export function vtdRegisterValues(options: VtdOptions = {}): {
  readonly cap: bigint;
  readonly ecap: bigint;
} {
  const { capability, extendedCapability } = vtdRegisters(options);
  const value = ([lo = 0, hi = 0]: Uint32Array): bigint => (BigInt(hi) << 32n) | BigInt(lo);
  return { cap: value(capability), ecap: value(extendedCapability) };
}

interface CheckedNumbers {
  readonly width: number;
  readonly host: number;
  readonly domainBits: number;
  readonly records: number;
  readonly pasidBits: number;
}

function checkedNumbers(options: VtdOptions, levels: readonly number[]): CheckedNumbers {
  const deepest = Math.max(...levels, 0);
  const within = (name: string, value: number, least: number, most: number): number => {
    if (Number.isInteger(value) && value >= least && value <= most) return value;
    throw new RangeError(`${name} ${value} is not ${least}..${most}`);
  };
  if (levels.length === 0 || levels.some((level) => ![3, 4, 5].includes(level))) {
    throw new RangeError(`stage2Levels ${levels.join(",")} are not 3, 4 or 5`);
  }
  const widest = 12 + 9 * deepest;
  const domainBits = within("domainIdBits", options.domainIdBits ?? 16, 4, 16);
  if (domainBits % 2 !== 0) throw new RangeError(`domainIdBits ${domainBits} is odd`);
  return {
    width: within("inputAddressWidth", options.inputAddressWidth ?? widest, 39, widest),
    host: within("hostAddressWidth", options.hostAddressWidth ?? 52, 39, 52),
    domainBits,
    records: within("faultRecords", options.faultRecords ?? 8, 1, 256),
    pasidBits: within("pasidBits", options.pasidBits ?? 20, 1, 20),
  };
}

/** The registers, decoded. */
export interface VtdCapabilities {
  readonly hostAddressWidth: number;
  readonly inputAddressWidth: number;
  /** Bit n: stage-2 tables of n levels. */
  readonly stage2Levels: number;
  readonly domainIdBits: number;
  readonly pages2M: boolean;
  readonly pages1G: boolean;
  readonly faultRecords: number;
  readonly zeroLengthRead: boolean;
  readonly passThrough: boolean;
  readonly snoopControl: boolean;
  readonly deviceTlb: boolean;
  readonly interruptRemapping: boolean;
  readonly extendedInterrupts: boolean;
  readonly scalable: boolean;
  readonly stage1: boolean;
  readonly stage1Levels5: boolean;
  readonly stage1Pages1G: boolean;
  readonly stage2: boolean;
  readonly nested: boolean;
  readonly pasid: boolean;
  readonly pasidBits: number;
  readonly ridPasid: boolean;
  readonly ridPrivileged: boolean;
  readonly pageRequests: boolean;
  readonly executeRequests: boolean;
  readonly supervisorRequests: boolean;
  readonly extendedAccessed: boolean;
  readonly stage2AccessedDirty: boolean;
  readonly abortDma: boolean;
  readonly registerInvalidation: boolean;
  /** Byte offset of the IOTLB invalidation registers. */
  readonly iotlbRegisters: number;
  readonly protectedLowMemory: boolean;
  readonly protectedHighMemory: boolean;
}

export function vtdCapabilities(registers: VtdRegisters): VtdCapabilities {
  const C = VTD_CAPABILITY;
  const E = VTD_EXTENDED_CAPABILITY;
  const cap = (field: BitField): number => getField(registers.capability, 0, field);
  const ecap = (field: BitField): boolean => getField(registers.extendedCapability, 0, field) !== 0;
  return {
    hostAddressWidth: registers.hostAddressWidth,
    inputAddressWidth: cap(C.maximumAddressWidth) + 1,
    stage2Levels: cap(C.stage2Levels) << 2,
    domainIdBits: 4 + 2 * cap(C.domainIds),
    pages2M: (cap(C.stage2LargePages) & 1) !== 0,
    pages1G: (cap(C.stage2LargePages) & 2) !== 0,
    faultRecords: cap(C.faultRecords) + 1,
    zeroLengthRead: cap(C.zeroLengthRead) !== 0,
    passThrough: ecap(E.passThrough),
    snoopControl: ecap(E.snoopControl),
    deviceTlb: ecap(E.deviceTlb),
    interruptRemapping: ecap(E.interruptRemapping),
    extendedInterrupts: ecap(E.extendedInterrupts),
    scalable: ecap(E.scalableMode),
    stage1: ecap(E.stage1),
    stage1Levels5: cap(C.stage1Levels5) !== 0,
    stage1Pages1G: cap(C.stage1Pages1G) !== 0,
    stage2: ecap(E.stage2),
    nested: ecap(E.nested),
    pasid: ecap(E.pasid),
    pasidBits: getField(registers.extendedCapability, 0, E.pasidSize) + 1,
    ridPasid: ecap(E.ridPasid),
    ridPrivileged: ecap(E.ridPrivileged),
    pageRequests: ecap(E.pageRequests),
    executeRequests: ecap(E.executeRequests),
    supervisorRequests: ecap(E.supervisorRequests),
    extendedAccessed: ecap(E.extendedAccessed),
    stage2AccessedDirty: ecap(E.stage2AccessedDirty),
    abortDma: ecap(E.abortDma),
    registerInvalidation: registers.version < VERSION.current,
    iotlbRegisters: getField(registers.extendedCapability, 0, E.iotlbRegisterOffset) * 16,
    protectedLowMemory: cap(C.protectedLowMemory) !== 0,
    protectedHighMemory: cap(C.protectedHighMemory) !== 0,
  };
}
