/**
 * One call of a program, as the open file that is called sees it.
 *
 * The bytes at the call's pointer come along in the payload, so that most calls need no system call
 * to read or to write them; all other memory is reached directly, or by asking the client where
 * that is not allowed. An object serves one call after the other.
 */
import { UapiError } from "../../abi/index.js";
import type { Call, DescriptorPlace, OpenFile, PassedFile } from "../../files/index.js";
import { closeDescriptor } from "../ffi/descriptors.io.js";
import { CopyEnd, readProcess, writeProcess } from "../ffi/process-memory.io.js";
import type { ProcessState } from "../memory/process-state.io.js";
import type { Channel } from "../transport/channel.io.js";
import { PAYLOAD_BYTES, RequestFlag, SlotState, SlotWord } from "../transport/frame.js";
import { READ_WRITE } from "./open-files.io.js";
import type { PassedFiles } from "./passed-files.io.js";
import type { Session } from "./session.io.js";

const PATIENCE_MS = 1000;
const SHORT_PATIENCE_MS = 10;

export interface NewFile {
  readonly file: OpenFile;
  readonly place: DescriptorPlace;
  readonly closeOnExec: boolean;
}

export class SlotCall implements Call {
  tid = 0;
  /** What `newDescriptor` was told. */
  newFile: NewFile | undefined;
  /** How the new file may be used. */
  newAccess = READ_WRITE;
  /** A descriptor of this process that the caller gets a copy of, to map. */
  newMapping: number | undefined;
  /** Bytes of the payload that the client copies to the argument; -1: none. */
  replyLength = -1;
  readonly #files: PassedFiles;
  #session: Session;
  #slot = 0;
  #argument = 0n;
  #argumentLength = 0;
  #isWritable = false;
  #passed: Map<number, number> | undefined;
  #recognised: Map<number, PassedFile> | undefined;
  /** The argument, while the payload serves copies. */
  #kept: Uint8Array | undefined;

  constructor(session: Session, files: PassedFiles) {
    this.#session = session;
    this.#files = files;
  }

  begin(session: Session, slot: number): void {
    const { channel } = session;
    this.#session = session;
    this.#slot = slot;
    this.tid = channel.word(slot, SlotWord.TID);
    this.newFile = undefined;
    this.newAccess = READ_WRITE;
    this.newMapping = undefined;
    this.replyLength = -1;
    this.#argumentLength = 0;
    this.#kept = undefined;
    this.#recognised = undefined;
    const wanted = channel.word(slot, SlotWord.DESCRIPTORS);
    this.#passed = wanted === 0 ? undefined : session.takePassed(slot);
  }

  /** The payload holds the first bytes of the argument. */
  useArgument(): bigint {
    const { channel } = this.#session;
    const slot = this.#slot;
    this.#argument = channel.long(slot, SlotWord.ARGUMENT);
    const flags = channel.word(slot, SlotWord.FLAGS);
    const isPointer = (flags & (RequestFlag.ARGUMENT_VALUE | RequestFlag.ARGUMENT_FAULT)) === 0;
    const length = channel.word(slot, SlotWord.LENGTH) >>> 0;
    this.#argumentLength = isPointer ? Math.min(length, PAYLOAD_BYTES) : 0;
    this.#isWritable = (flags & RequestFlag.ARGUMENT_WRITABLE) !== 0;
    return this.#argument;
  }

  get process(): ProcessState {
    return this.#session.state;
  }

  get pid(): number {
    return this.#session.pid;
  }

  get mayRawIo(): boolean {
    return this.#session.state.mayRawIo;
  }

  copyIn(address: bigint, into: Uint8Array): void {
    if (into.length === 0) return;
    const offset = this.#inArgument(address, into.length);
    if (offset >= 0) {
      into.set(this.#payload(offset, into.length));
      return;
    }
    if (!this.#session.mustAsk) {
      const end = readProcess(this.pid, address, into);
      if (end === CopyEnd.done) return;
      if (end !== CopyEnd.refused) throw fault();
      this.#session.mustAsk = true;
    }
    this.#ask(address, into, SlotState.NEED_IN);
  }

  copyOut(address: bigint, from: Uint8Array): void {
    if (from.length === 0) return;
    const offset = this.#inArgument(address, from.length);
    if (offset >= 0 && this.#isWritable) {
      this.#payload(offset, from.length).set(from);
      this.replyLength = Math.max(this.replyLength, offset + from.length);
      return;
    }
    this.#mirror(address, from);
    if (!this.#session.mustAsk) {
      const end = writeProcess(this.pid, address, from);
      if (end === CopyEnd.done) return;
      if (end !== CopyEnd.refused) throw fault();
      this.#session.mustAsk = true;
    }
    this.#ask(address, from, SlotState.NEED_OUT);
  }

  fileOf(fd: number): PassedFile | undefined {
    const known = this.#recognised?.get(fd);
    if (known !== undefined) return known;
    const passed = this.#passed?.get(fd);
    if (passed === undefined) return undefined;
    this.#passed?.delete(fd);
    const found = this.#files.recognise(passed);
    this.#recognised ??= new Map();
    this.#recognised.set(fd, found);
    return found;
  }

  /** The one descriptor that came with the call; the caller takes it over. */
  takeDescriptor(): number | undefined {
    const first = this.#passed?.entries().next().value;
    if (first === undefined) return undefined;
    this.#passed?.delete(first[0]);
    return first[1];
  }

  newDescriptor(file: OpenFile, place: DescriptorPlace, closeOnExec: boolean): void {
    this.newFile = { file, place, closeOnExec };
  }

  /** After the answer is worked out: gives back what nobody kept, and the argument's bytes. */
  end(): void {
    if (this.#passed !== undefined) {
      for (const fd of this.#passed.values()) closeDescriptor(fd);
      this.#passed = undefined;
    }
    if (this.#recognised !== undefined) {
      for (const file of this.#recognised.values()) if (file.kind !== "own") file.drop();
      this.#recognised = undefined;
    }
    if (this.#kept !== undefined && this.replyLength > 0) {
      const length = Math.min(this.replyLength, this.#kept.length);
      this.#channel.payload(this.#slot, length).set(this.#kept.subarray(0, length));
    }
    this.#kept = undefined;
  }

  get #channel(): Channel {
    return this.#session.channel;
  }

  /** Where a range lies in the argument's bytes; below 0: not all of it. */
  #inArgument(address: bigint, length: number): number {
    const known = this.#argumentLength;
    if (known === 0) return -1;
    if (address === this.#argument) return length <= known ? 0 : -1;
    const offset = address - this.#argument;
    return offset > 0n && offset + BigInt(length) <= BigInt(known) ? Number(offset) : -1;
  }

  #payload(offset: number, length: number): Uint8Array {
    if (this.#kept !== undefined) return this.#kept.subarray(offset, offset + length);
    return this.#channel.payload(this.#slot, offset + length).subarray(offset);
  }

  /** Keeps the argument's bytes equal to what is written around the payload. */
  #mirror(address: bigint, from: Uint8Array): void {
    const known = this.#argumentLength;
    if (known === 0) return;
    const first = address - this.#argument;
    if (first >= BigInt(known) || first + BigInt(from.length) <= 0n) return;
    const begin = Number(first);
    const low = Math.max(0, begin);
    const high = Math.min(known, begin + from.length);
    this.#payload(low, high - low).set(from.subarray(low - begin, high - begin));
  }

  /** Lets the client copy, a payload at a time. */
  #ask(address: bigint, bytes: Uint8Array, direction: 4 | 5): void {
    const channel = this.#channel;
    const slot = this.#slot;
    this.#kept ??= channel.payload(slot, this.#argumentLength).slice();
    for (let done = 0; done < bytes.length; ) {
      const length = Math.min(PAYLOAD_BYTES, bytes.length - done);
      channel.setLong(slot, SlotWord.ADDRESS, address + BigInt(done));
      channel.setWord(slot, SlotWord.NEED_LENGTH, length);
      if (direction === SlotState.NEED_OUT) {
        channel.payload(slot, length).set(bytes.subarray(done, done + length));
      }
      const patience = this.#session.isSlow ? SHORT_PATIENCE_MS : PATIENCE_MS;
      const copied = channel.need(slot, direction, patience);
      this.#session.isSlow = copied === undefined;
      if (copied !== length) throw fault();
      if (direction === SlotState.NEED_IN) bytes.set(channel.payload(slot, length), done);
      done += length;
    }
  }
}

function fault(): UapiError {
  return new UapiError("EFAULT", "the caller's memory cannot be reached at this address");
}
