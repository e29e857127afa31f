/** One connected process: its connection, its channel, its memory, what it passed. */
import { closeDescriptor } from "../ffi/descriptors.io.js";
import { receivePacket, sendPacket } from "../ffi/socket.io.js";
import type { ProcessState } from "../memory/process-state.io.js";
import { Channel } from "../transport/channel.io.js";
import { makePacket, PacketKind, readPacket, SLOTS } from "../transport/frame.js";

/** Descriptors by the numbers they have in the sender. */
export type Passed = Map<number, number>;

/** Most descriptors that wait for calls at one time: a call names at most 2048. */
const MOST_PASSED = 4096;
/** Most packets that are taken before others have their turn. */
const MOST_PACKETS = 1024;

export class Session {
  readonly fd: number;
  readonly state: ProcessState;
  readonly channel = new Channel();
  /** The process may not be reached from here: the client copies its memory. */
  mustAsk = false;
  /** It once did not answer: it is not waited for long. */
  isSlow = false;
  isClosed = false;
  #credentials = 0;
  /** Descriptors in `#passed`. */
  #waiting = 0;
  readonly #passed = new Map<number, Passed>();

  constructor(fd: number, state: ProcessState) {
    this.fd = fd;
    this.state = state;
  }

  get pid(): number {
    return this.state.pid;
  }

  /** The counter of changed rights differs from the last one seen here. */
  haveRightsChanged(counter: number): boolean {
    if (counter === this.#credentials) return false;
    this.#credentials = counter;
    return true;
  }

  /** Takes what waits on the connection. @returns false when the process is gone or misbehaves. */
  receive(): boolean {
    for (let taken = 0; taken < MOST_PACKETS; taken++) {
      const packet = receivePacket(this.fd);
      if (packet === undefined) return true;
      if (packet === null) return false;
      const fields = readPacket(packet.bytes);
      const isRight =
        fields?.kind === PacketKind.DESCRIPTORS &&
        fields.slot < SLOTS &&
        fields.numbers.length === packet.descriptors.length &&
        this.#waiting + packet.descriptors.length <= MOST_PASSED;
      if (!isRight) {
        packet.descriptors.forEach(closeDescriptor);
        return false;
      }
      const passed = this.#passed.get(fields.slot) ?? new Map<number, number>();
      this.#passed.set(fields.slot, passed);
      packet.descriptors.forEach((fd, i) => {
        const number = fields.numbers[i] ?? -1;
        if (passed.has(number)) closeDescriptor(fd);
        else {
          passed.set(number, fd);
          this.#waiting++;
        }
      });
    }
    return true;
  }

  /** What was passed for a slot; the taker closes it. */
  takePassed(slot: number): Passed {
    const passed = this.#passed.get(slot);
    if (passed === undefined) return new Map();
    this.#passed.delete(slot);
    this.#waiting -= passed.size;
    return passed;
  }

  /** Sends descriptors for a slot. @returns false when the process does not take them. */
  send(slot: number, descriptors: readonly number[]): boolean {
    const packet = makePacket(PacketKind.DESCRIPTORS, process.pid, slot, descriptors);
    return sendPacket(this.fd, packet, descriptors);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    for (const passed of this.#passed.values())
      for (const fd of passed.values()) closeDescriptor(fd);
    this.#passed.clear();
    this.channel.close();
    this.channel.closeFile();
    closeDescriptor(this.fd);
    this.state.leave();
  }
}
