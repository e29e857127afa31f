/** Waiting for many descriptors. */
import { checked, Errno, lastErrno, libcFunction, SystemError } from "./libc.io.js";
import { Mapping } from "./mapping.io.js";

const epollCreate = libcFunction("epoll_create1", "ii");
const epollControl = libcFunction("epoll_ctl", "iiiip");
const epollWait = libcFunction("epoll_wait", "iipii");

const EPOLL_CLOEXEC = 0x80000;
const ADD = 1;
const REMOVE = 2;
/** The structure is packed on x86 only. */
const EVENT_BYTES = process.arch === "x64" ? 12 : 16;
const DATA_AT = process.arch === "x64" ? 4 : 8;
const MOST_EVENTS = 256;

/** `edge`: told once for each time that something comes, whether it is taken or not. */
export const EpollEvent = {
  in: 1,
  error: 8,
  hangUp: 0x10,
  peerClosed: 0x2000,
  edge: 0x8000_0000,
} as const;

/** Descriptors by number, each with what it waits for. */
export class Epoll {
  readonly #fd = checked("epoll_create1", epollCreate(EPOLL_CLOEXEC));
  readonly #memory = Mapping.anonymous(4096 * Math.ceil((EVENT_BYTES * MOST_EVENTS + 64) / 4096));
  readonly #view = new DataView(this.#memory.buffer);
  readonly #own = EVENT_BYTES * MOST_EVENTS;

  /** @param events bits of `EpollEvent`; hang-up and error are always told. */
  add(fd: number, events: number): void {
    this.#view.setUint32(this.#own, events >>> 0, true);
    this.#view.setUint32(this.#own + DATA_AT, fd, true);
    this.#view.setUint32(this.#own + DATA_AT + 4, 0, true);
    const place = this.#memory.address + this.#own;
    checked("epoll_ctl", epollControl(this.#fd, ADD, fd, place));
  }

  remove(fd: number): void {
    epollControl(this.#fd, REMOVE, fd, this.#memory.address + this.#own);
  }

  /**
   * Waits until something happens.
   * @param milliseconds -1 without limit, 0 only looks.
   * @returns how many events there are for `fdAt` and `eventsAt`, until the next wait.
   */
  wait(milliseconds: number): number {
    const count = epollWait(this.#fd, this.#memory.address, MOST_EVENTS, milliseconds);
    if (count >= 0) return count;
    const errno = lastErrno();
    if (errno === Errno.EINTR) return 0;
    throw new SystemError("epoll_wait", errno);
  }

  fdAt(index: number): number {
    return this.#view.getInt32(index * EVENT_BYTES + DATA_AT, true);
  }

  eventsAt(index: number): number {
    return this.#view.getUint32(index * EVENT_BYTES, true);
  }
}
