/** Everything of the engine's thread, put together around a kernel. */
import type { PhysicalMemory } from "../../memory/index.js";
import { DeviceMemories } from "../memory/device-memory.io.js";
import type { LostAccesses } from "../memory/private-memory.io.js";
import { type OpenAccount, ProcessState } from "../memory/process-state.io.js";
import type { Grant } from "../memory/rights.io.js";
import { SharedFiles } from "../memory/shared-files.io.js";
import { Engine } from "./engine.io.js";
import type { EngineKernel } from "./kernel-port.js";
import { Listener } from "./listener.io.js";
import type { Desk } from "./operations.io.js";
import { PassedFiles } from "./passed-files.io.js";
import { Server } from "./serve.io.js";

export interface PlatformEngineOptions {
  /** Where programs connect. */
  readonly socket: string;
  /** Makes the kernel on memory that programs can map. */
  readonly kernel: (deviceMemories: DeviceMemories) => EngineKernel;
  readonly makeTree?: (() => void) | undefined;
  /** Capabilities that every program has. */
  readonly grants?: readonly Grant[] | undefined;
  /** A line for the log. */
  readonly note?: ((text: string) => void) | undefined;
}

export class PlatformEngine {
  readonly engine = new Engine();
  readonly server: Server;
  readonly kernel: EngineKernel;
  readonly sharedFiles: SharedFiles;
  readonly lost: LostAccesses = { reads: 0, writes: 0 };
  readonly #listener: Listener;
  readonly #memory: PhysicalMemory;

  /** @throws what making the kernel throws, and SystemError. */
  constructor(options: PlatformEngineOptions) {
    const { engine } = this;
    const deviceMemories = new DeviceMemories();
    this.kernel = options.kernel(deviceMemories);
    this.#memory = this.kernel.memory;
    this.sharedFiles = new SharedFiles(this.#memory);
    const grants = options.grants ?? [];
    const note = options.note ?? ((): void => {});
    const desk: Desk = {
      kernel: this.kernel,
      openFiles: engine.openFiles,
      sharedFiles: this.sharedFiles,
      deviceMemories,
      drainHangUps: () => engine.drainHangUps(),
      makeTree: options.makeTree ?? ((): void => {}),
      note: (session, text) => note(`process ${session.pid}: ${text}`),
    };
    const files = new PassedFiles(engine.openFiles, this.sharedFiles, engine.watchers);
    this.server = new Server(desk, files);
    this.#listener = new Listener(options.socket, engine, {
      admit: (pid) => {
        const open: OpenAccount = (...of) => this.kernel.accounts.account(...of);
        return new ProcessState(pid, this.#memory, open, { lost: this.lost, grants });
      },
      turnedAway: (pid, why) => note(`process ${pid} was turned away: ${why}`),
    });
  }

  /** Answers calls until `engine.end()`. */
  run(): void {
    this.engine.run(this.server);
    this.#listener.close();
    this.engine.close();
  }
}
