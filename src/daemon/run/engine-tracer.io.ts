/**
 * Tells the main thread what happens: calls, transactions of devices, faults.
 *
 * Off, nothing is measured and nothing is made. On, records gather here and leave in batches, so
 * that a call does not wait for who watches.
 */
import { formatBdf } from "../../units/index.js";
import { traceLine } from "../../view/index.js";
import type { PlatformEngine } from "../engine/platform-engine.io.js";
import type { OpenedPlatform } from "../kernel/open-platform.io.js";
import type { Report, TraceRecord } from "./engine-options.js";

const BATCH = 512;
const NAMES = { device: formatBdf, memory: (): undefined => undefined };

export class EngineTracer {
  readonly #platform: PlatformEngine;
  readonly #opened: OpenedPlatform;
  readonly #tell: (report: Report) => void;
  #records: TraceRecord[] = [];

  constructor(platform: PlatformEngine, opened: OpenedPlatform, tell: (report: Report) => void) {
    this.#platform = platform;
    this.#opened = opened;
    this.#tell = tell;
  }

  on(): void {
    const { engine, server } = this.#platform;
    server.listener = {
      answered: ({ session, tid, name, began, result, error }) => {
        this.#add({
          at: began,
          took: performance.now() - began,
          kind: "call",
          pid: session.pid,
          tid,
          text: name,
          result,
          rule: error?.rule,
        });
      },
    };
    this.#opened.kernel.system.machine.observer = {
      record: (record) => {
        const { depth, text } = traceLine(record, NAMES);
        const at = performance.now();
        this.#add({ at, took: 0, kind: "machine", pid: 0, tid: depth, text });
      },
    };
    engine.idle = () => this.flush();
  }

  off(): void {
    const { engine, server } = this.#platform;
    this.flush();
    server.listener = undefined;
    this.#opened.kernel.system.machine.observer = undefined;
    engine.idle = undefined;
  }

  flush(): void {
    if (this.#records.length === 0) return;
    this.#tell({ kind: "trace", records: this.#records });
    this.#records = [];
  }

  #add(record: TraceRecord): void {
    this.#records.push(record);
    if (this.#records.length >= BATCH) this.flush();
  }
}
