/**
 * Open files that programs hold, each by one end of a socket pair.
 *
 * A program gets one end; descriptors of that end may be duplicated, inherited and sent to others.
 * When the last is closed, in whatever process, the other end here hangs up: that is the last close
 * of the file. A byte waits in the socket while the file is readable, so that poll, select and
 * epoll of the program work by themselves; the program's side takes the byte before it asks.
 */
import { FileKind, type OpenFile, Poll } from "../../files/index.js";
import { closeDescriptor, identityOf, makeSocketPair, sendByte } from "../ffi/descriptors.io.js";
import type { Epoll } from "../ffi/epoll.io.js";

/** Files whose program takes the byte before it reads or polls; all others stay as they are. */
const QUEUES: ReadonlySet<FileKind> = new Set([
  FileKind.faultQueue,
  FileKind.eventQueue,
  FileKind.migration,
  FileKind.vfioDevice,
]);

export interface Access {
  readonly read: boolean;
  readonly write: boolean;
}

/** Of what a call makes. */
export const READ_WRITE: Access = { read: true, write: true };

export interface HeldFile {
  readonly handle: number;
  readonly file: OpenFile;
  /** This end. */
  readonly fd: number;
  /** Of the program's end: how it is recognised when it comes back. */
  readonly inode: number;
  /** How it was opened: may be read, may be written. */
  readonly access: Access;
  /** A byte waits for the program. */
  isMarked: boolean;
}

export class OpenFiles {
  readonly #epoll: Epoll;
  readonly #byHandle = new Map<number, HeldFile>();
  readonly #byInode = new Map<number, HeldFile>();
  readonly #byFd = new Map<number, HeldFile>();
  #lastHandle = 0;

  constructor(epoll: Epoll) {
    this.#epoll = epoll;
  }

  get size(): number {
    return this.#byHandle.size;
  }

  [Symbol.iterator](): IterableIterator<HeldFile> {
    return this.#byHandle.values();
  }

  /**
   * Keeps a file until its last close.
   * @returns its entry, and the program's end: to be sent, then closed here.
   * @throws SystemError when there are no descriptors left.
   */
  hold(file: OpenFile, access = READ_WRITE): { readonly held: HeldFile; readonly theirs: number } {
    const [fd, theirs] = makeSocketPair();
    const { inode } = identityOf(theirs);
    const handle = ++this.#lastHandle;
    const held: HeldFile = { handle, file, fd, inode, access, isMarked: false };
    this.#byHandle.set(handle, held);
    this.#byInode.set(inode, held);
    this.#byFd.set(fd, held);
    this.#epoll.add(fd, 0);
    file.onPoll = () => this.mark(held);
    this.mark(held);
    return { held, theirs };
  }

  byHandle(handle: number): HeldFile | undefined {
    return this.#byHandle.get(handle);
  }

  byInode(inode: number): HeldFile | undefined {
    return this.#byInode.get(inode);
  }

  byFd(fd: number): HeldFile | undefined {
    return this.#byFd.get(fd);
  }

  /** Lets a byte wait when the file is readable and none does. */
  mark(held: HeldFile): void {
    if (held.isMarked || held.file.poll === undefined) return;
    if ((held.file.poll() & Poll.in) === 0 || !this.#byHandle.has(held.handle)) return;
    held.isMarked = true;
    sendByte(held.fd);
  }

  /** The program took the byte, if there was one: it does so for files that queue something. */
  unmark(held: HeldFile): void {
    if (QUEUES.has(held.file.kind)) held.isMarked = false;
  }

  /** The last descriptor of the program is gone. */
  release(held: HeldFile): void {
    if (!this.#byHandle.delete(held.handle)) return;
    this.#byInode.delete(held.inode);
    this.#byFd.delete(held.fd);
    this.#epoll.remove(held.fd);
    closeDescriptor(held.fd);
    held.file.onPoll = undefined;
    held.file.release();
  }

  /** Releases all; the programs' ends hang up. */
  releaseAll(): void {
    for (const held of [...this.#byHandle.values()]) this.release(held);
  }
}
