/**
 * The engine's thread: takes calls from all connected processes and answers them, one at a time, in
 * the order in which they are seen.
 *
 * It looks at the channels for as long as that pays (`spin.ts`), then says that it sleeps and waits
 * for descriptors: the doorbell, new connections, hang-ups, eventfds. Whoever posts a request while
 * it sleeps rings the doorbell.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { closeDescriptor, makeEventFd } from "../ffi/descriptors.io.js";
import { Epoll, EpollEvent } from "../ffi/epoll.io.js";
import { HeaderWord } from "../transport/frame.js";
import { OpenFiles } from "./open-files.io.js";
import type { Watchers } from "./passed-event.io.js";
import type { Server } from "./serve.io.js";
import type { Session } from "./session.io.js";
import { SpinBudget } from "./spin.js";

/** How often a client looks at its slot before it sleeps, while calls keep coming. */
const CLIENT_SPINS = 2000;
const LOAD_CHECK_MS = 10;
const IDLE_MS = 20;
/** Looks between two looks at the clock. */
const LOOKS = 64;

export class Engine {
  readonly epoll = new Epoll();
  readonly openFiles = new OpenFiles(this.epoll);
  readonly doorbell = makeEventFd();
  readonly watchers: Watchers = { epoll: this.epoll, byFd: new Map() };
  readonly #sessions = new Map<number, Session>();
  /** The sessions again, for the loops. */
  #list: readonly Session[] = [];
  readonly #budget = new SpinBudget();
  readonly #cores = availableParallelism();
  #server: Server | undefined;
  #isEnding = false;
  #loadChecked = 0;
  #answered = 0;
  /** Calls answered since the start. */
  calls = 0;
  /** Set while somebody watches: called when nothing has happened for a short while. */
  idle: (() => void) | undefined;

  constructor() {
    // Its count is never read: each ring wakes, and that is all it is for.
    this.epoll.add(this.doorbell, EpollEvent.in + EpollEvent.edge);
  }

  get sessions(): readonly Session[] {
    return this.#list;
  }

  /** Calls `happened` when a descriptor becomes readable. */
  watch(fd: number, happened: () => void): void {
    this.watchers.byFd.set(fd, happened);
    this.epoll.add(fd, EpollEvent.in);
  }

  unwatch(fd: number): void {
    this.watchers.byFd.delete(fd);
    this.epoll.remove(fd);
  }

  join(session: Session): void {
    this.#sessions.set(session.fd, session);
    this.#list = [...this.#sessions.values()];
    this.epoll.add(session.fd, EpollEvent.in | EpollEvent.peerClosed);
  }

  leave(session: Session): void {
    if (!this.#sessions.delete(session.fd)) return;
    this.#list = [...this.#sessions.values()];
    this.epoll.remove(session.fd);
    session.close();
  }

  /** Ends `run` after the call that is being served. */
  end(): void {
    this.#isEnding = true;
  }

  run(server: Server): void {
    this.#server = server;
    while (!this.#isEnding) {
      if (this.#servePending() || this.#spin()) continue;
      this.#sleep();
    }
    for (const session of this.#list) this.leave(session);
    this.openFiles.releaseAll();
  }

  /** Files whose last descriptor is closed are released; nothing else happens. */
  drainHangUps(): void {
    const count = this.epoll.wait(0);
    for (let i = 0; i < count; i++) this.#hungUp(i);
  }

  #servePending(): boolean {
    let served = 0;
    for (const session of this.#list) {
      const { channel } = session;
      for (let bits = channel.takePending(0); bits !== 0 && !session.isClosed; bits &= bits - 1) {
        this.#server?.serve(session, 31 - Math.clz32(bits & -bits));
        served++;
      }
      if (session.isClosed) continue;
      for (let bits = channel.takePending(1); bits !== 0 && !session.isClosed; bits &= bits - 1) {
        this.#server?.serve(session, 63 - Math.clz32(bits & -bits));
        served++;
      }
    }
    this.calls += served;
    return served > 0;
  }

  /** Looks for a while. @returns true when there is something to serve. */
  #spin(): boolean {
    const budget = this.#budget.microseconds;
    const began = performance.now();
    this.#answered = began;
    if (budget === 0) return false;
    const end = began + budget / 1000;
    for (;;) {
      for (let i = 0; i < LOOKS; i++) {
        if (this.#hasPending()) {
          this.#budget.came((performance.now() - began) * 1000);
          return true;
        }
      }
      if (performance.now() > end) break;
    }
    this.#budget.missed();
    return false;
  }

  #hasPending(): boolean {
    const list = this.#list;
    for (let i = 0; i < list.length; i++)
      if ((list[i] as Session).channel.hasPending()) return true;
    return false;
  }

  #sleep(): void {
    for (const { channel } of this.#list) channel.setHeader(HeaderWord.ASLEEP, 1);
    const isPending = this.#hasPending();
    let count = this.epoll.wait(isPending ? 0 : this.idle === undefined ? -1 : IDLE_MS);
    if (count === 0 && this.idle !== undefined && !isPending) {
      this.idle();
      count = this.epoll.wait(-1);
    }
    for (const { channel } of this.#list) channel.setHeader(HeaderWord.ASLEEP, 0);
    if (!isPending) this.#woke();
    for (let i = 0; i < count; i++) this.#happened(i);
  }

  /** Decides whether looking may pay from now on. */
  #woke(): void {
    const now = performance.now();
    this.#budget.came((now - this.#answered) * 1000);
    if (now - this.#loadChecked < LOAD_CHECK_MS) return;
    this.#loadChecked = now;
    const isFree = this.#cores > 1 && runnable() <= this.#cores;
    if (!isFree) this.#budget.stop();
    for (const { channel } of this.#list) {
      channel.setHeader(HeaderWord.SPINS, isFree ? CLIENT_SPINS : 0);
    }
  }

  #happened(index: number): void {
    const fd = this.epoll.fdAt(index);
    if (fd === this.doorbell || this.#hungUp(index)) return;
    const session = this.#sessions.get(fd);
    if (session === undefined) this.watchers.byFd.get(fd)?.();
    else if (!session.receive()) this.leave(session);
  }

  /** @returns true when it was the end of an open file. */
  #hungUp(index: number): boolean {
    const held = this.openFiles.byFd(this.epoll.fdAt(index));
    if (held === undefined) return false;
    const gone = EpollEvent.hangUp | EpollEvent.error;
    if ((this.epoll.eventsAt(index) & gone) !== 0) this.openFiles.release(held);
    return true;
  }

  close(): void {
    closeDescriptor(this.doorbell);
  }
}

/** Threads of this machine that run or want to. */
function runnable(): number {
  try {
    return Number(/ (\d+)\/\d+ /.exec(readFileSync("/proc/loadavg", "latin1"))?.[1] ?? 1);
  } catch {
    return 1;
  }
}
