/** The main thread's side of a daemon: starts the engine's thread, and asks it things. */
import { writeSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { packageRoot } from "../kernel/platform-path.io.js";
import { DaemonError } from "../place/daemon-error.js";
import {
  baseFolder,
  type DaemonFacts,
  type DaemonFolder,
  livingDaemons,
  makeFolder,
  removeFolder,
  startOf,
} from "../place/daemon-folder.io.js";
import { guardLibrary } from "./client-library.io.js";
import type { EngineThreadData, Order, Question, Report, TraceRecord } from "./engine-options.js";

export interface DaemonOptions extends Omit<EngineThreadData, "folder" | "guard"> {
  readonly name: string;
  readonly program?: readonly string[] | undefined;
}

/** Where the engine's thread begins; the same place in the bundle and in the compiled folder. */
const ENTRY = new URL("./engine-thread.io.js", import.meta.url);
const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);

export class RunningDaemon {
  readonly folder: DaemonFolder;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, (value: unknown) => void>();
  readonly #watchers = new Set<(records: readonly TraceRecord[]) => void>();
  /** Resolves when the thread is over, however it ended. */
  readonly #ended: Promise<void>;
  #bell = -1;
  #asked = 0;
  /** A line for who started it. */
  onNote: (text: string) => void = () => {};
  /** The engine stopped by itself: a fault of this program. */
  onFailed: (text: string) => void = () => {};

  private constructor(folder: DaemonFolder, worker: Worker) {
    this.folder = folder;
    this.#worker = worker;
    this.#ended = new Promise((resolve) => worker.once("exit", () => resolve()));
  }

  /** @throws DaemonError when the platform or the surroundings are not right. */
  static async start(options: DaemonOptions): Promise<RunningDaemon> {
    const base = baseFolder();
    livingDaemons(base);
    const facts: DaemonFacts = {
      pid: process.pid,
      started: startOf(process.pid) ?? "",
      name: options.name,
      platform: options.platform,
      rules: options.rules ?? "",
      program: options.program,
    };
    const folder = makeFolder(base, facts);
    const { name: _name, program: _program, ...engine } = options;
    const data: EngineThreadData = {
      folder,
      guard: guardLibrary(packageRoot()),
      ...engine,
    };
    const worker = new Worker(ENTRY, { workerData: data });
    const daemon = new RunningDaemon(folder, worker);
    process.once("exit", () => daemon.#exiting());
    await daemon.#ready();
    // From here on it lives as long as its user: whoever fails need not end it first.
    worker.unref();
    return daemon;
  }

  async ask(what: Question): Promise<unknown> {
    const number = ++this.#asked;
    const answered = new Promise((resolve) => this.#waiting.set(number, resolve));
    this.#order({ kind: "ask", number, what });
    return await answered;
  }

  /** Tells of what happens, until the function returned is called. */
  watch(watcher: (records: readonly TraceRecord[]) => void): () => void {
    this.#watchers.add(watcher);
    if (this.#watchers.size === 1) this.#order({ kind: "trace", on: true });
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size === 0) this.#order({ kind: "trace", on: false });
    };
  }

  /** Ends the engine: programs find that their platform is gone. */
  async end(): Promise<void> {
    this.#worker.ref();
    this.#order({ kind: "end" });
    await this.#ended;
    removeFolder(this.folder);
  }

  /** The process ends and waits for its threads: this one would wait for calls. */
  #exiting(): void {
    removeFolder(this.folder);
    if (this.#bell >= 0) this.#order({ kind: "end" });
  }

  async #ready(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#worker.on("message", (report: Report) => {
        if (report.kind === "ready") {
          this.#bell = report.bell;
          resolve();
        } else if (report.kind === "failed") reject(new DaemonError(report.text));
        else this.#reported(report);
      });
      this.#worker.on("error", (error) => {
        reject(error);
        this.onFailed(error instanceof Error ? (error.stack ?? error.message) : String(error));
      });
    });
  }

  #reported(report: Report): void {
    if (report.kind === "note") this.onNote(report.text);
    if (report.kind === "trace") for (const watcher of this.#watchers) watcher(report.records);
    if (report.kind !== "answer") return;
    this.#waiting.get(report.number)?.(report.value);
    this.#waiting.delete(report.number);
  }

  #order(order: Order): void {
    this.#worker.postMessage(order);
    writeSync(this.#bell, ONE);
  }
}
