/**
 * Numbers of the shared memory and the packets between a program and its daemon: the same as in
 * `client/frame.h`, which says what each means. A test compares the two.
 */

export const FRAME_MAGIC = 0x35454f49;
export const FRAME_VERSION = 1;
export const HEADER_BYTES = 4096;
export const SLOTS = 64;
export const SLOT_BYTES = 16384;
export const CHANNEL_BYTES = HEADER_BYTES + SLOTS * SLOT_BYTES;
/** Bytes from a slot's start. */
export const PAYLOAD = 256;
export const PAYLOAD_BYTES = SLOT_BYTES - PAYLOAD;
export const DESCRIPTORS_MAX = 250;

/** 32-bit words of the header. */
export const HeaderWord = {
  MAGIC: 0,
  VERSION: 1,
  ASLEEP: 2,
  PENDING_LO: 3,
  PENDING_HI: 4,
  CREDENTIALS: 5,
  CLOSED: 6,
  SPINS: 7,
} as const;

/** 32-bit words of a slot. */
export const SlotWord = {
  STATE: 0,
  ASLEEP: 1,
  OP: 2,
  FLAGS: 3,
  TID: 4,
  HANDLE: 5,
  COMMAND: 6,
  LENGTH: 7,
  ARGUMENT: 8,
  OFFSET: 10,
  SIZE: 12,
  DESCRIPTORS: 14,
  RESULT: 16,
  REPLY_LENGTH: 17,
  REPLY: 18,
  NEW_HANDLE: 19,
  NEW_KIND: 20,
  NEW_RDEV: 21,
  ADDRESS: 22,
  NEED_LENGTH: 24,
} as const;

export const SlotState = {
  FREE: 0,
  REQUEST: 1,
  TAKEN: 2,
  REPLY: 3,
  NEED_IN: 4,
  NEED_OUT: 5,
  NEED_DONE: 6,
} as const;

export const Operation = {
  OPEN: 1,
  IOCTL: 2,
  READ: 3,
  WRITE: 4,
  MMAP: 5,
  CLOSED: 6,
  BARRIER: 7,
  RESOLVE: 8,
  TREE: 9,
  POLL: 10,
  MAPPED: 11,
  UNMAPPED: 12,
  STATUS: 13,
  REFUSED: 14,
} as const;

export const RequestFlag = {
  ARGUMENT_FAULT: 1,
  ARGUMENT_WRITABLE: 2,
  ARGUMENT_VALUE: 4,
  NONBLOCK: 8,
} as const;

export const ReplyFlag = { ARGUMENT: 1, NEW: 2, NEW_AT: 4, KEEP_EXEC: 8 } as const;

export const PacketKind = { HELLO: 1, WELCOME: 2, DESCRIPTORS: 3 } as const;

/** Words of a packet before its list of numbers. */
export const PACKET_WORDS = 5;

/** The bytes of a packet. */
export function makePacket(
  kind: number,
  pid: number,
  slot: number,
  numbers: readonly number[],
): Uint8Array {
  const words = Uint32Array.of(kind, FRAME_VERSION, pid, slot, numbers.length, ...numbers);
  return new Uint8Array(words.buffer);
}

export interface PacketFields {
  readonly kind: number;
  readonly version: number;
  readonly pid: number;
  readonly slot: number;
  readonly numbers: readonly number[];
}

/** Undefined when the bytes are no packet. */
export function readPacket(bytes: Uint8Array): PacketFields | undefined {
  if (bytes.length < PACKET_WORDS * 4) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const word = (index: number): number => view.getUint32(index * 4, true);
  const count = word(4);
  if (count > DESCRIPTORS_MAX || bytes.length < (PACKET_WORDS + count) * 4) return undefined;
  const numbers = Array.from({ length: count }, (_, i) => word(PACKET_WORDS + i) | 0);
  return { kind: word(0), version: word(1), pid: word(2), slot: word(3), numbers };
}
