/**
 * Lets processes in: a socket in a folder that only this user can reach, and the kernel's word on
 * who connects.
 */
import { chmodSync } from "node:fs";
import { closeDescriptor } from "../ffi/descriptors.io.js";
import { SystemError } from "../ffi/libc.io.js";
import { acceptFrom, listenAt, peerOf, receivePacket, sendPacket } from "../ffi/socket.io.js";
import type { ProcessState } from "../memory/process-state.io.js";
import { FRAME_VERSION, makePacket, PacketKind, readPacket } from "../transport/frame.js";
import type { Engine } from "./engine.io.js";
import { Session } from "./session.io.js";

export interface Doorkeeper {
  /** The state of a process that has just connected. */
  admit(pid: number): ProcessState;
  /** Somebody was turned away. */
  turnedAway(pid: number, why: string): void;
}

export class Listener {
  readonly #fd: number;
  readonly #engine: Engine;
  readonly #keeper: Doorkeeper;
  readonly #uid = process.getuid?.() ?? 0;
  /** Connected, and have not said hello yet. */
  readonly #waiting = new Set<number>();

  /** @throws SystemError. */
  constructor(path: string, engine: Engine, keeper: Doorkeeper) {
    this.#engine = engine;
    this.#keeper = keeper;
    this.#fd = listenAt(path);
    chmodSync(path, 0o600);
    engine.watch(this.#fd, () => this.#accept());
  }

  close(): void {
    this.#engine.unwatch(this.#fd);
    closeDescriptor(this.#fd);
    for (const fd of [...this.#waiting]) this.#turnAway(fd);
  }

  #accept(): void {
    for (;;) {
      const fd = acceptFrom(this.#fd);
      if (fd === undefined) return;
      const { pid, uid } = peerOf(fd);
      if (uid !== this.#uid) {
        this.#keeper.turnedAway(pid, `user ${uid} is not ${this.#uid}, whose platform this is`);
        closeDescriptor(fd);
        continue;
      }
      this.#waiting.add(fd);
      this.#engine.watch(fd, () => this.#greet(fd));
    }
  }

  #greet(fd: number): void {
    const packet = receivePacket(fd);
    if (packet === undefined) return;
    packet?.descriptors.forEach(closeDescriptor);
    const hello = packet === null ? undefined : readPacket(packet.bytes);
    if (hello?.kind !== PacketKind.HELLO) {
      this.#turnAway(fd);
      return;
    }
    // In a process with its own numbers only the kernel's number means something here.
    const { pid } = peerOf(fd);
    this.#engine.unwatch(fd);
    this.#waiting.delete(fd);
    const session = this.#admit(fd, pid);
    if (session === undefined) return;
    const welcome = makePacket(PacketKind.WELCOME, process.pid, 0, []);
    const isSent = sendPacket(fd, welcome, [session.channel.fd, this.#engine.doorbell]);
    if (!isSent || hello.version !== FRAME_VERSION) {
      if (isSent) this.#keeper.turnedAway(pid, `protocol ${hello.version} is not ${FRAME_VERSION}`);
      session.close();
      return;
    }
    this.#engine.join(session);
  }

  /** Undefined: the host gives no descriptors or memory for one more process. */
  #admit(fd: number, pid: number): Session | undefined {
    try {
      return new Session(fd, this.#keeper.admit(pid));
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#keeper.turnedAway(pid, error.message);
      closeDescriptor(fd);
      return undefined;
    }
  }

  #turnAway(fd: number): void {
    this.#engine.unwatch(fd);
    this.#waiting.delete(fd);
    closeDescriptor(fd);
  }
}
