/** An eventfd that a program passed in a call. */
import type { EventFd } from "../../files/index.js";
import { closeDescriptor, signalEventFd, takeEventFd } from "../ffi/descriptors.io.js";
import { type Epoll, EpollEvent } from "../ffi/epoll.io.js";

/** Who is told when a descriptor becomes readable. */
export interface Watchers {
  readonly epoll: Epoll;
  readonly byFd: Map<number, () => void>;
}

export class PassedEvent implements EventFd {
  readonly kind = "eventfd";
  readonly #fd: number;
  readonly #watchers: Watchers;
  readonly #listeners = new Set<() => void>();
  #holders = 1;

  /** Takes the descriptor over; the maker holds it once. */
  constructor(fd: number, watchers: Watchers) {
    this.#fd = fd;
    this.#watchers = watchers;
  }

  signal(): void {
    signalEventFd(this.#fd);
  }

  listen(listener: () => void): () => void {
    // Wrapped, so that one function may listen twice.
    const own = (): void => listener();
    if (this.#listeners.size === 0) {
      this.#watchers.byFd.set(this.#fd, () => this.#happened());
      this.#watchers.epoll.add(this.#fd, EpollEvent.in);
    }
    this.#listeners.add(own);
    return () => {
      if (this.#listeners.delete(own) && this.#listeners.size === 0) this.#unwatch();
    };
  }

  keep(): EventFd {
    this.#holders++;
    return this;
  }

  drop(): void {
    if (--this.#holders > 0) return;
    if (this.#listeners.size > 0) this.#unwatch();
    closeDescriptor(this.#fd);
  }

  #happened(): void {
    if (takeEventFd(this.#fd) === 0n) return;
    for (const listener of [...this.#listeners]) listener();
  }

  #unwatch(): void {
    this.#listeners.clear();
    this.#watchers.epoll.remove(this.#fd);
    this.#watchers.byFd.delete(this.#fd);
  }
}
