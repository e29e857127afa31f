/**
 * What a program can ask for, one function per operation. Each gives the result of the call: 0 or
 * more. A refusal is a UapiError, which becomes -errno in one place, `serve.io.ts`.
 */
import { IOASIS_WHY, UapiError } from "../../abi/index.js";
import { Poll } from "../../files/index.js";
import { identityOf } from "../ffi/descriptors.io.js";
import { type DeviceMemories, DeviceMemory } from "../memory/device-memory.io.js";
import { DeviceRegion } from "../memory/device-region.js";
import type { SharedFiles } from "../memory/shared-files.io.js";
import { Operation, PAYLOAD_BYTES, SlotWord } from "../transport/frame.js";
import type { EngineKernel } from "./kernel-port.js";
import type { HeldFile, OpenFiles } from "./open-files.io.js";
import type { Session } from "./session.io.js";
import type { SlotCall } from "./slot-call.io.js";

/** What operations work on. */
export interface Desk {
  readonly kernel: EngineKernel;
  readonly openFiles: OpenFiles;
  readonly sharedFiles: SharedFiles;
  readonly deviceMemories: DeviceMemories;
  /** Files whose last descriptor is closed are released when this returns. */
  drainHangUps(): void;
  /** Makes the tree of files, when it is not there yet. */
  makeTree(): void;
  /** A program or a call that cannot be served. */
  note(session: Session, text: string): void;
}

/** One call in a slot. */
export interface Request {
  readonly desk: Desk;
  readonly session: Session;
  readonly slot: number;
  readonly call: SlotCall;
  /** Of an open, once it was read. */
  path?: string;
}

const NO_OFFSET = 0xffff_ffff_ffff_ffffn;
const O_CLOEXEC = 0o2000000;
const O_ACCMODE = 3;
const O_RDONLY = 0;
const O_WRONLY = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const PAGE = 4096n;
/** Of a program's text, what goes to the log. */
const NOTE_BYTES = 512;

function heldFile({ desk, session, slot }: Request): HeldFile {
  const held = desk.openFiles.byHandle(session.channel.word(slot, SlotWord.HANDLE));
  if (held === undefined) throw new UapiError("EBADF", "no such open file");
  return held;
}

function requestBytes({ session, slot }: Request): Uint8Array {
  const length = session.channel.word(slot, SlotWord.LENGTH) >>> 0;
  return session.channel.payload(slot, Math.min(length, PAYLOAD_BYTES)).slice();
}

function offsetOf({ session, slot }: Request): bigint | undefined {
  const offset = session.channel.long(slot, SlotWord.OFFSET);
  return offset === NO_OFFSET ? undefined : offset;
}

/** Puts bytes into the payload for the client. */
function reply({ session, slot, call }: Request, bytes: Uint8Array): void {
  session.channel.payload(slot, bytes.length).set(bytes);
  call.replyLength = bytes.length;
}

function open(request: Request): number {
  const { desk, call, session, slot } = request;
  const path = new TextDecoder().decode(requestBytes(request));
  request.path = path;
  const flags = session.channel.word(slot, SlotWord.COMMAND);
  const file = desk.kernel.open(call, path, flags);
  const mode = flags & O_ACCMODE;
  call.newAccess = { read: mode !== O_WRONLY, write: mode !== O_RDONLY };
  call.newDescriptor(file, "result", (flags & O_CLOEXEC) !== 0);
  return 0;
}

function ioctl(request: Request): number {
  const { call, session, slot } = request;
  const { file } = heldFile(request);
  const command = session.channel.word(slot, SlotWord.COMMAND) >>> 0;
  const argument = call.useArgument();
  if (command === IOASIS_WHY && request.desk.kernel.why !== undefined) {
    return request.desk.kernel.why(call, argument);
  }
  if (file.ioctl === undefined) throw new UapiError("ENOTTY", "the file takes no ioctl");
  return file.ioctl(call, command, argument);
}

function read(request: Request): number {
  const { call, desk, session, slot } = request;
  const held = heldFile(request);
  if (!held.access.read) throw new UapiError("EBADF", "the file is not open for reading");
  if (held.file.read === undefined) throw new UapiError("EINVAL", "the file cannot be read");
  const wanted = session.channel.long(slot, SlotWord.SIZE);
  const length = readLength(wanted, held.file.readUnit ?? 1);
  desk.openFiles.unmark(held);
  try {
    const bytes = held.file.read(call, length, offsetOf(request));
    reply(request, bytes);
    return bytes.length;
  } finally {
    desk.openFiles.mark(held);
  }
}

/** What of a read fits into one payload; whether it is a multiple of the file's unit stays. */
function readLength(wanted: bigint, unit: number): number {
  const room = PAYLOAD_BYTES - (PAYLOAD_BYTES % unit);
  return wanted > BigInt(room) ? room + Number(wanted % BigInt(unit)) : Number(wanted);
}

function write(request: Request): number {
  const { call, desk } = request;
  const held = heldFile(request);
  if (!held.access.write) throw new UapiError("EBADF", "the file is not open for writing");
  if (held.file.write === undefined) throw new UapiError("EINVAL", "the file cannot be written");
  const taken = held.file.write(call, requestBytes(request), offsetOf(request));
  desk.openFiles.mark(held);
  return taken;
}

function mmap(request: Request): number {
  const { call, session, slot } = request;
  const { channel } = session;
  const { file, access } = heldFile(request);
  const word = channel.word(slot, SlotWord.COMMAND);
  const isWritten = (word & PROT_WRITE) !== 0 && ((word >>> 16) & MAP_SHARED) !== 0;
  if (!access.read || (isWritten && !access.write)) {
    throw new UapiError("EACCES", "the file is not open for what the mapping is to allow", {
      cite: "Linux do_mmap()",
    });
  }
  if (file.mmap === undefined) throw new UapiError("ENODEV", "the file cannot be mapped");
  const length = channel.long(slot, SlotWord.SIZE);
  const offset = channel.long(slot, SlotWord.OFFSET);
  const protection = word & 0xffff;
  const region = file.mmap(call, { length, protection, flags: word >>> 16, offset });
  const { memory } = region;
  if (!(memory instanceof DeviceMemory)) throw new Error(`${memory.label} is not in a file`);
  memory.regions.unshift(new DeviceRegion(region, length));
  channel.setLong(slot, SlotWord.ADDRESS, BigInt(region.offset));
  call.newMapping = memory.fd;
  return 0;
}

function closed(request: Request): number {
  request.desk.drainHangUps();
  return 0;
}

function resolve(request: Request): number {
  const { desk, session, slot } = request;
  const inode = Number(session.channel.long(slot, SlotWord.ARGUMENT));
  const held = desk.openFiles.byInode(inode);
  if (held === undefined) throw new UapiError("ENOENT", "no open file has this descriptor");
  describe(session, slot, held);
  reply(request, new TextEncoder().encode(held.file.label));
  return 0;
}

/** Tells the client what a new or an unknown descriptor is. */
export function describe(session: Session, slot: number, { handle, file }: HeldFile): void {
  const { channel } = session;
  const rdev = file.rdev === undefined ? 0 : (file.rdev.major << 20) | file.rdev.minor;
  channel.setWord(slot, SlotWord.NEW_HANDLE, handle);
  channel.setWord(slot, SlotWord.NEW_KIND, file.kind);
  channel.setWord(slot, SlotWord.NEW_RDEV, rdev);
}

function tree({ desk }: Request): number {
  desk.makeTree();
  return 0;
}

function poll(request: Request): number {
  const held = heldFile(request);
  const { openFiles } = request.desk;
  openFiles.unmark(held);
  openFiles.mark(held);
  return held.file.poll === undefined ? Poll.in | Poll.out : held.file.poll();
}

function mapped(request: Request): number {
  const { desk, call, session, slot } = request;
  const { channel } = session;
  const fd = call.takeDescriptor();
  if (fd === undefined) throw new UapiError("EBADF", "a mapping comes with its file");
  const first = Number(channel.long(slot, SlotWord.ARGUMENT) / PAGE);
  const count = Number((channel.long(slot, SlotWord.SIZE) + PAGE - 1n) / PAGE);
  const page = Number(channel.long(slot, SlotWord.OFFSET) / PAGE);
  const identity = identityOf(fd);
  const device = desk.deviceMemories.find(identity.key)?.regionAt(page);
  const file = desk.sharedFiles.take(fd, identity);
  session.state.memory.mapped(first, count, device ?? file, page);
  file.drop();
  return 0;
}

function unmapped({ session, slot }: Request): number {
  const { channel } = session;
  const first = Number(channel.long(slot, SlotWord.ARGUMENT) / PAGE);
  const count = Number((channel.long(slot, SlotWord.SIZE) + PAGE - 1n) / PAGE);
  session.state.memory.unmapped(first, count);
  return 0;
}

function status(request: Request): number {
  const pid = Number(new TextDecoder().decode(requestBytes(request)));
  const { accounts } = request.desk.kernel;
  const figures = BigUint64Array.of(
    BigInt(accounts.pinnedKiB(pid)),
    BigInt(accounts.lockedKiB(pid)),
  );
  reply(request, new Uint8Array(figures.buffer));
  return 0;
}

function refused(request: Request): number {
  const text = requestBytes(request).subarray(0, NOTE_BYTES);
  request.desk.note(request.session, new TextDecoder().decode(text).replaceAll("\n", " "));
  return 0;
}

/** By number of the operation. */
export const OPERATIONS: readonly (((request: Request) => number) | undefined)[] = table();

function table(): ((request: Request) => number)[] {
  const rows: ((request: Request) => number)[] = [];
  rows[Operation.OPEN] = open;
  rows[Operation.IOCTL] = ioctl;
  rows[Operation.READ] = read;
  rows[Operation.WRITE] = write;
  rows[Operation.MMAP] = mmap;
  rows[Operation.CLOSED] = closed;
  rows[Operation.BARRIER] = closed;
  rows[Operation.RESOLVE] = resolve;
  rows[Operation.TREE] = tree;
  rows[Operation.POLL] = poll;
  rows[Operation.MAPPED] = mapped;
  rows[Operation.UNMAPPED] = unmapped;
  rows[Operation.STATUS] = status;
  rows[Operation.REFUSED] = refused;
  return rows;
}
