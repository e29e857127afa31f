/** What the engine knows, as plain records for people. */
import type { Refusals } from "../../door/index.js";
import { formatBdf } from "../../units/index.js";
import { refusalLines } from "../../view/index.js";
import type { EngineKernel } from "../engine/kernel-port.js";
import type { PlatformEngine } from "../engine/platform-engine.io.js";
import { replacedPages } from "../ffi/guard.io.js";
import type { RefusalRecord, StatusRecord } from "./engine-options.js";

/** The last refusals, oldest first. */
export function refusalRecords(kernel: { readonly refusals: Refusals }): RefusalRecord[] {
  return kernel.refusals.recent.map(({ pid, tid, what, error }) => ({
    pid,
    tid,
    call: what,
    errno: error.code,
    rule: error.rule,
    sentences: refusalLines(error.evidence, formatBdf),
    cite: error.cite,
  }));
}

export function statusRecord(platform: PlatformEngine, kernel: EngineKernel): StatusRecord {
  const { engine, lost } = platform;
  return {
    calls: engine.calls,
    processes: engine.sessions.map(({ pid }) => ({
      pid,
      pinnedKiB: kernel.accounts.pinnedKiB(pid),
      lockedKiB: kernel.accounts.lockedKiB(pid),
    })),
    files: [...engine.openFiles].map(({ file }) => file.label),
    lostReads: lost.reads,
    lostWrites: lost.writes,
    cutPages: replacedPages(),
  };
}
