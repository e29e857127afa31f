/**
 * Memory of a process that nobody else shares: reached through the kernel, page by page.
 *
 * Each gigabyte of addresses that is used is one piece of user memory without bytes of its own. The
 * kernel would keep a pinned page when the process ends; from outside that cannot be done. After
 * its end reads give zeros, writes are dropped, and both are counted.
 */
import { UapiError } from "../../abi/index.js";
import type { BackingObject, PhysicalMemory } from "../../memory/index.js";
import { CopyEnd, readProcess, writeProcess } from "../ffi/process-memory.io.js";
import type { ProcessMaps } from "./process-maps.io.js";

const PAGE = 4096;
const WINDOW_PAGES = 2 ** 18;
const WINDOW_BYTES = WINDOW_PAGES * PAGE;

/** Accesses of devices to private memory that could not be reached. */
export interface LostAccesses {
  reads: number;
  writes: number;
}

class Window implements BackingObject {
  readonly label: string;
  readonly byteLength = WINDOW_BYTES;
  readonly words = undefined;
  readonly #pid: number;
  readonly #address: bigint;
  readonly #lost: LostAccesses;
  readonly pins = new Map<number, number>();
  firstFrame = 0;
  isAlive = true;

  constructor(pid: number, number: number, lost: LostAccesses) {
    this.label = `process ${pid}`;
    this.#pid = pid;
    this.#address = BigInt(number) * BigInt(WINDOW_BYTES);
    this.#lost = lost;
  }

  read(offset: number, into: Uint8Array): void {
    const address = this.#address + BigInt(offset);
    if (this.isAlive && readProcess(this.#pid, address, into) === CopyEnd.done) return;
    into.fill(0);
    this.#lost.reads++;
  }

  write(offset: number, from: Uint8Array): void {
    const address = this.#address + BigInt(offset);
    if (this.isAlive && writeProcess(this.#pid, address, from) === CopyEnd.done) return;
    this.#lost.writes++;
  }
}

export class PrivateMemory {
  readonly #pid: number;
  readonly #memory: PhysicalMemory;
  readonly #maps: ProcessMaps;
  readonly #lost: LostAccesses;
  readonly #windows = new Map<number, Window>();
  #pinned = 0;
  #isAlive = true;

  constructor(pid: number, memory: PhysicalMemory, maps: ProcessMaps, lost: LostAccesses) {
    this.#pid = pid;
    this.#memory = memory;
    this.#maps = maps;
    this.#lost = lost;
  }

  /** @throws UapiError EFAULT: nothing is pinned. */
  pin(page: number, count: number, writable: boolean, frames: Float64Array, index: number): void {
    this.#maps.check(page, count, writable);
    this.#checkReach(page);
    for (let i = 0; i < count; i++) {
      const window = this.#window(page + i);
      const place = (page + i) % WINDOW_PAGES;
      window.pins.set(place, (window.pins.get(place) ?? 0) + 1);
      frames[index + i] = window.firstFrame + place;
    }
    this.#pinned += count;
  }

  unpin(page: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const window = this.#window(page + i);
      const place = (page + i) % WINDOW_PAGES;
      const left = (window.pins.get(place) ?? 0) - 1;
      if (left > 0) window.pins.set(place, left);
      else window.pins.delete(place);
    }
    this.#pinned -= count;
    this.#forgetIfUnused();
  }

  /** @throws UapiError EFAULT when nothing is there. */
  pinsOf(page: number): number {
    this.#maps.check(page, 1, false);
    return this.#windows.get(Math.floor(page / WINDOW_PAGES))?.pins.get(page % WINDOW_PAGES) ?? 0;
  }

  /** The frame of a page, pinned or not. @throws UapiError EFAULT when nothing is there. */
  frameOf(page: number): number {
    this.#maps.check(page, 1, false);
    return this.#window(page).firstFrame + (page % WINDOW_PAGES);
  }

  /** @throws UapiError EFAULT. */
  read(page: number, offset: number, into: Uint8Array): void {
    const end = this.#isAlive
      ? readProcess(this.#pid, addressOf(page, offset), into)
      : CopyEnd.gone;
    if (end !== CopyEnd.done) throw unreachable(end);
  }

  /** @throws UapiError EFAULT. */
  write(page: number, offset: number, from: Uint8Array): void {
    const end = this.#isAlive
      ? writeProcess(this.#pid, addressOf(page, offset), from)
      : CopyEnd.gone;
    if (end !== CopyEnd.done) throw unreachable(end);
  }

  /** The process has ended, or has another address space now. */
  end(): void {
    this.#isAlive = false;
    for (const window of this.#windows.values()) window.isAlive = false;
    this.#forgetIfUnused();
  }

  #checkReach(page: number): void {
    const byte = new Uint8Array(1);
    const end = readProcess(this.#pid, addressOf(page, 0), byte);
    if (end !== CopyEnd.done) throw unreachable(end);
  }

  #window(page: number): Window {
    const number = Math.floor(page / WINDOW_PAGES);
    const known = this.#windows.get(number);
    if (known !== undefined) return known;
    const window = new Window(this.#pid, number, this.#lost);
    window.isAlive = this.#isAlive;
    window.firstFrame = this.#memory.addUserMemory(window);
    this.#windows.set(number, window);
    return window;
  }

  #forgetIfUnused(): void {
    if (this.#isAlive || this.#pinned > 0) return;
    for (const window of this.#windows.values()) this.#memory.removeUserMemory(window);
    this.#windows.clear();
  }
}

function addressOf(page: number, offset: number): bigint {
  return BigInt(page) * BigInt(PAGE) + BigInt(offset);
}

function unreachable(end: CopyEnd): UapiError {
  if (end === CopyEnd.refused) {
    return new UapiError(
      "EFAULT",
      "private memory of the process may not be reached from outside here: map shared memory",
    );
  }
  if (end === CopyEnd.gone) return new UapiError("EFAULT", "the process of this memory has ended");
  return new UapiError("EFAULT", "nothing is mapped at this address of the process");
}
