/** Rights and limits of a process, as /proc says. */
import { readFileSync } from "node:fs";

const CAP_IPC_LOCK = 14n;
const CAP_SYS_RAWIO = 17n;
const CAP_SYS_RESOURCE = 24n;

export interface Rights {
  readonly uid: number;
  readonly mayLockMemory: boolean;
  readonly mayRawIo: boolean;
  readonly mayRaiseLimits: boolean;
  /** RLIMIT_MEMLOCK in pages; infinity: none. */
  readonly lockLimit: number;
}

/** Of the text of /proc/PID/status and /proc/PID/limits. */
export function rightsFrom(status: string, limits: string): Rights {
  const uids = /^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? "65534";
  const capabilities = BigInt(`0x${/^CapEff:\s+([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
  const limit = /^Max locked memory\s+(\d+|unlimited)/m.exec(limits)?.[1] ?? "0";
  const has = (bit: bigint): boolean => ((capabilities >> bit) & 1n) === 1n;
  return {
    uid: Number(uids),
    mayLockMemory: has(CAP_IPC_LOCK),
    mayRawIo: has(CAP_SYS_RAWIO),
    mayRaiseLimits: has(CAP_SYS_RESOURCE),
    lockLimit: limit === "unlimited" ? Number.POSITIVE_INFINITY : Math.floor(Number(limit) / 4096),
  };
}

/** Capabilities that a platform gives to all its programs, whatever they have on the host. */
export type Grant = "ipc_lock" | "sys_rawio" | "sys_resource";

/** A process that is gone has no rights but those granted. */
export function rightsOf(pid: number, grants: readonly Grant[]): Rights {
  const own = rightsFrom(textOf(`/proc/${pid}/status`), textOf(`/proc/${pid}/limits`));
  return {
    ...own,
    mayLockMemory: own.mayLockMemory || grants.includes("ipc_lock"),
    mayRawIo: own.mayRawIo || grants.includes("sys_rawio"),
    mayRaiseLimits: own.mayRaiseLimits || grants.includes("sys_resource"),
  };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
