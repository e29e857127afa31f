/**
 * An engine with a kernel of one dummy file, in a worker thread: for tests of what moves the calls.
 *
 * `/dev/iommu` answers ioctl 0x3b80 by copying the 16 bytes at its argument to themselves plus one,
 * 0x3b81 by signalling the eventfd whose number is the first word of the argument, 0x3b82
 * with another such file (of an event queue's kind), its number in the second word; read gives the
 * label; a write of "ready" makes
 * it readable.
 */
import { workerData } from "node:worker_threads";
import { UapiError } from "../../src/abi/index.js";
import { PlatformEngine } from "../../src/daemon/engine/platform-engine.io.js";
import { installGuard } from "../../src/daemon/ffi/guard.io.js";
import { FaultInjection, MemoryAccounts, Refusals } from "../../src/door/index.js";
import {
  type Call,
  type EventFd,
  FileKind,
  type MappedRegion,
  type MmapRequest,
  type OpenFile,
  Poll,
  type SharedMemory,
  type SharedMemoryMaker,
} from "../../src/files/index.js";
import { PhysicalMemory } from "../../src/memory/index.js";

/** Words in memory that the test shares: what happened to the files. */
export const Tell = { opened: 0, released: 1, mapped: 2, frames: 3, pins: 4 } as const;

const { socket, tell, end, guard } = workerData as {
  guard: string | undefined;
  socket: string;
  tell: SharedArrayBuffer;
  /** An eventfd: signalled, the engine ends. */
  end: number;
};
const words = new Int32Array(tell);

class DummyFile implements OpenFile {
  readonly kind: FileKind;
  readonly label = "/dev/iommu";
  readonly rdev = { major: 10, minor: 125 };
  onPoll: (() => void) | undefined;
  readonly #maker: SharedMemoryMaker;
  readonly #events: EventFd[] = [];
  #memory: SharedMemory | undefined;
  #isReady = false;

  constructor(maker: SharedMemoryMaker, kind: FileKind) {
    this.#maker = maker;
    this.kind = kind;
    Atomics.add(words, Tell.opened, 1);
  }

  ioctl(call: Call, command: number, argument: bigint): number {
    const bytes = new Uint8Array(16);
    switch (command) {
      case 0x3b80:
        call.copyIn(argument, bytes);
        call.copyOut(
          argument,
          bytes.map((byte) => byte + 1),
        );
        return 7;
      case 0x3b81: {
        call.copyIn(argument, bytes);
        const file = call.fileOf(new Int32Array(bytes.buffer)[0] ?? -1);
        if (file?.kind !== "eventfd") throw new UapiError("EBADF", "an eventfd is wanted");
        this.#events.push(file.keep());
        file.signal();
        return 0;
      }
      case 0x3b82:
        call.newDescriptor(
          new DummyFile(this.#maker, FileKind.eventQueue),
          { address: argument + 4n },
          true,
        );
        return 0;
      case 0x3b83:
        return this.#pin(call, argument);
      case 0x3b84: {
        const byte = new Uint8Array(1);
        call.process.memory.read(Number(argument / 4096n), 0, byte);
        return byte[0] ?? -1;
      }
      case 0x3b85:
        call.process.memory.write(Number(argument / 4096n), 0, Uint8Array.of(9));
        return 0;
      default:
        throw new UapiError("ENOTTY", "no such ioctl");
    }
  }

  /** Pins the page at the argument and unpins it; tells its frame and its pins. */
  #pin(call: Call, argument: bigint): number {
    const { memory } = call.process;
    const page = Number(argument / 4096n);
    const frames = new Float64Array(1);
    memory.pin(page, 1, true, frames);
    Atomics.store(words, Tell.frames, frames[0] ?? 0);
    Atomics.store(words, Tell.pins, memory.pinsOf?.(page) ?? -1);
    memory.unpin(page, 1);
    return 0;
  }

  read(_call: Call, length: number): Uint8Array {
    if (!this.#isReady) throw new UapiError("EAGAIN", "nothing to read");
    this.#isReady = false;
    return new TextEncoder().encode(this.label).subarray(0, length);
  }

  write(_call: Call, bytes: Uint8Array): number {
    if (new TextDecoder().decode(bytes) === "ready") {
      this.#isReady = true;
      this.onPoll?.();
    }
    return bytes.length;
  }

  mmap(_call: Call, request: MmapRequest): MappedRegion {
    this.#memory ??= this.#maker.create("dummy", Number(request.length));
    this.#memory.bytes[0] = 0x5a;
    const released = (): number => Atomics.add(words, Tell.mapped, -1);
    Atomics.add(words, Tell.mapped, 1);
    return { memory: this.#memory, offset: 0, released };
  }

  poll(): number {
    return this.#isReady ? Poll.in | Poll.out : Poll.out;
  }

  release(): void {
    for (const event of this.#events) event.drop();
    Atomics.add(words, Tell.released, 1);
  }
}

if (guard !== undefined) installGuard(guard);
const platform = new PlatformEngine({
  socket,
  kernel: (maker) => ({
    memory: new PhysicalMemory(),
    accounts: new MemoryAccounts(),
    injection: new FaultInjection(),
    refusals: new Refusals(),
    open: (_call, path) => {
      if (path === "/dev/iommu") return new DummyFile(maker, FileKind.iommufd);
      throw new UapiError("ENOENT", "no such file");
    },
  }),
});
Atomics.store(words, 15, 1);
Atomics.notify(words, 15);
platform.engine.watch(end, () => platform.engine.end());
platform.run();
