/** What the main thread and the engine's thread tell each other. */
import type { Grant } from "../memory/rights.io.js";
import type { DaemonFolder } from "../place/daemon-folder.io.js";

export interface EngineThreadData {
  readonly folder: DaemonFolder;
  /** Path of a platform file. */
  readonly platform: string;
  readonly rules: "device-centric" | "linux-7.2" | undefined;
  /** Which functions VFIO has at the start; undefined: those that no other driver is named for. */
  readonly bind: readonly string[] | undefined;
  readonly strict: boolean;
  /** Path of the compiled guard, see `ffi/guard.io.ts`. */
  readonly guard: string | undefined;
  /** Capabilities that every program has. */
  readonly grants: readonly Grant[];
  /** Tell of calls from the start. */
  readonly trace: boolean;
}

/** From the main thread. */
export type Order =
  | { readonly kind: "end" }
  | { readonly kind: "trace"; readonly on: boolean }
  | { readonly kind: "ask"; readonly number: number; readonly what: Question };

export type Question = "status" | "why";

/** A refusal, ready to be printed. */
export interface RefusalRecord {
  readonly pid: number;
  readonly tid: number;
  readonly call: string;
  readonly errno: string;
  readonly rule: string;
  readonly sentences: readonly string[];
  readonly cite?: string | undefined;
}

export interface ProcessRecord {
  readonly pid: number;
  readonly pinnedKiB: number;
  readonly lockedKiB: number;
}

export interface StatusRecord {
  readonly calls: number;
  readonly processes: readonly ProcessRecord[];
  /** Labels of open files. */
  readonly files: readonly string[];
  readonly lostReads: number;
  readonly lostWrites: number;
  /** Pages of shared files that were touched after their file was cut short. */
  readonly cutPages: number;
}

/** One thing that happened. */
export interface TraceRecord {
  /** Milliseconds since the daemon began. */
  readonly at: number;
  /** Milliseconds it took; 0 for what takes no time. */
  readonly took: number;
  readonly kind: "call" | "machine" | "note";
  readonly pid: number;
  readonly tid: number;
  readonly text: string;
  /** Of a call: 0 or more, or -errno. */
  readonly result?: number | undefined;
  readonly rule?: string | undefined;
}

/** From the engine's thread. */
export type Report =
  /** Programs can connect; `bell` is an eventfd that wakes the engine for orders. */
  | { readonly kind: "ready"; readonly bell: number; readonly rules: string }
  | { readonly kind: "failed"; readonly text: string }
  | { readonly kind: "answer"; readonly number: number; readonly value: unknown }
  | { readonly kind: "trace"; readonly records: readonly TraceRecord[] }
  | { readonly kind: "note"; readonly text: string };
