/**
 * The register file of the DMA test engine: offsets in BAR 0, bits and codes. The data sheet is
 * docs/devices/dma-engine.md; its tables are these numbers.
 */

/** BAR 0: 32 KiB of memory. */
export const ENGINE_BAR_BYTES = 0x8000;
export const ENGINE_VENDOR = 0x1af4;
export const ENGINE_DEVICE = 0x10d0;
/** Base class 12h: processing accelerator. */
export const ENGINE_CLASS = 0x120000;
/** So many vectors fit below the pending bits. */
export const ENGINE_VECTORS_MAX = 128;

/** Regions of BAR 0. */
export const Region = {
  MsixTable: 0x0000,
  PendingBits: 0x0800,
  Registers: 0x1000,
  RegistersEnd: 0x1070,
  LocalMemory: 0x4000,
} as const;
export const LOCAL_MEMORY_BYTES = 0x4000;

/** Registers, as offsets from {@link Region.Registers}. */
export const Register = {
  Id: 0x00,
  Version: 0x04,
  Control: 0x08,
  Status: 0x0c,
  Opcode: 0x10,
  Flags: 0x14,
  Pasid: 0x18,
  Requester: 0x1c,
  Source: 0x20,
  Destination: 0x28,
  Length: 0x30,
  Chunk: 0x34,
  Pattern: 0x38,
  Vector: 0x40,
  Error: 0x44,
  ErrorAddress: 0x48,
  Count: 0x50,
  Result: 0x58,
  Requests: 0x60,
  PageGroup: 0x68,
} as const;

/** "DMA1" in little-endian ASCII. */
export const ENGINE_ID = 0x3141_4d44;
export const ENGINE_VERSION = 1;

/** Control: writing a one acts; reads zero. */
export const Control = { Start: 1 << 0, Abort: 1 << 1, Reset: 1 << 2 } as const;
/** Status: Done and Error are cleared by writing ones. */
export const Status = { Busy: 1 << 0, Done: 1 << 1, Error: 1 << 2 } as const;

export const Opcode = {
  Nop: 0,
  Copy: 1,
  Fill: 2,
  Compare: 3,
  Chase: 4,
  Message: 5,
  Translate: 6,
  FetchAdd: 7,
} as const;
export type Opcode = (typeof Opcode)[keyof typeof Opcode];

/** Address types in Flags 1:0. */
export const AddressMode = { Untranslated: 0, Ats: 1, RawTranslated: 2 } as const;
export type AddressMode = (typeof AddressMode)[keyof typeof AddressMode];

export const Flag = {
  AddressModeMask: 0x3,
  PasidValid: 1 << 4,
  Privileged: 1 << 5,
  Execute: 1 << 6,
  NoSnoop: 1 << 7,
  RelaxedOrdering: 1 << 8,
  /** Ask for pages that a translation does not allow. */
  RequestPages: 1 << 9,
  SourceLocal: 1 << 10,
  DestinationLocal: 1 << 11,
  /** Lifts the checks that keep an honest device honest. */
  Hostile: 1 << 15,
} as const;

/** Requester register: use bits 15:0 instead of the function's own requester ID. */
export const REQUESTER_OVERRIDE = 1 << 16;
/** Vector register: raise the vector in bits 10:0 when a command ends. */
export const VECTOR_ENABLE = 0x8000_0000;

export const ErrorCode = {
  None: 0,
  UnsupportedRequest: 1,
  CompleterAbort: 2,
  Timeout: 3,
  BusMasterOff: 4,
  PasidOff: 5,
  AtsOff: 6,
  NoTranslation: 7,
  PageRefused: 8,
  PageFailed: 9,
  BadCommand: 10,
  DescriptorLimit: 11,
  Aborted: 12,
} as const;
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

const ERROR_NAMES = Object.keys(ErrorCode) as (keyof typeof ErrorCode)[];

/** The name of an error code; undefined for a number that is none. */
export function errorName(code: number): keyof typeof ErrorCode | undefined {
  return ERROR_NAMES[code];
}

/** A command moves at most so many bytes. */
export const LENGTH_LIMIT = 0x100_0000;
/** Descriptors that one Chase follows. */
export const DESCRIPTOR_LIMIT = 4096;
export const DESCRIPTOR_BYTES = 32;
export const DEFAULT_CHUNK = 512;
/** Page requests for one access before the engine gives up. */
export const PAGE_RETRIES = 8;
/** Result of Compare when nothing differs. */
export const EQUAL = 0xffff_ffff_ffff_ffffn;
