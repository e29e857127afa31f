/**
 * FileKernel: a platform as whoever moves the calls meets it, whatever machine stands behind it: a
 * tree of files, memory, what processes have locked, faults to be injected, and the last refusals.
 *
 * It knows nothing of sockets and processes: whoever moves the calls opens files by path, runs each
 * call inside {@link FileKernel.perform}, and releases files when their last descriptor closes.
 */
import { UapiError } from "../abi/index.js";
import type { Call, OpenFile } from "../files/index.js";
import type { PhysicalMemory } from "../memory/index.js";
import { AttributeFile } from "./attribute-file.js";
import { failNthNode, failNthTask, noInjection } from "./fail-nth-file.js";
import { FaultInjection } from "./fault-injection.js";
import { MemoryAccounts } from "./memory-accounts.js";
import { type KeptRefusal, Refusals } from "./refusals.js";
import type { SystemTree } from "./system-tree.js";
import type { AttributeNode, TextNode, TreeNode } from "./tree-node.js";

/** Flags of open(2), as Linux numbers them on x86-64. */
export const OpenFlags = {
  accessMode: 0o3,
  writeOnly: 0o1,
  readWrite: 0o2,
  create: 0o100,
  exclusive: 0o200,
  directory: 0o200000,
} as const;

/** See the head of the file. */
export abstract class FileKernel {
  abstract readonly tree: SystemTree;
  /** Frames of processes are given out by it. */
  abstract readonly memory: PhysicalMemory;
  readonly accounts = new MemoryAccounts();
  readonly injection = new FaultInjection();
  readonly refusals = new Refusals();
  /** Tasks may have numbers of allocations that are to fail. */
  readonly injectsFaults: boolean;

  constructor(options: { readonly injectsFaults: boolean }) {
    this.injectsFaults = options.injectsFaults;
  }

  /**
   * Opens a file of the platform; links are followed.
   * @param path absolute, as the program sees it.
   * @param flags of open(2).
   * @throws UapiError ENOENT, ENOTDIR, ELOOP, EISDIR, EEXIST, EACCES, or what the device throws.
   */
  open(call: Call, path: string, flags: number): OpenFile {
    const task = failNthTask(path);
    if (task !== undefined) {
      if (!this.injectsFaults) noInjection(path);
      return new AttributeFile(path, failNthNode(this.injection, task));
    }
    const { node, path: found } = this.tree.resolve(path);
    const evidence = [{ kind: "path", path: found }];
    if ((flags & OpenFlags.create) !== 0 && (flags & OpenFlags.exclusive) !== 0) {
      throw new UapiError("EEXIST", "the file is there already", { evidence });
    }
    if (node.kind === "directory") {
      throw new UapiError("EISDIR", "the path is a directory", { evidence });
    }
    if ((flags & OpenFlags.directory) !== 0) {
      throw new UapiError("ENOTDIR", "the path is no directory", { evidence });
    }
    if (node.kind === "character") return node.open(call);
    checkAccess(node, flags, found);
    if (node.kind === "text") return new AttributeFile(found, shown(node));
    if (node.kind === "attribute") return new AttributeFile(found, node);
    throw new UapiError("ELOOP", "the path ends in a link", { evidence });
  }

  /**
   * Runs one call of a program: its allocations count for the task, a refusal is kept.
   * @param what for people: `ioctl 0x3b85`.
   * @param command of an ioctl.
   */
  perform<T>(call: Call, what: string, work: () => T, command = 0): T {
    try {
      return this.injection.during(call.tid, work);
    } catch (error) {
      if (UapiError.is(error)) this.refusals.add(call, what, error, command);
      throw error;
    }
  }

  /** The last refusal of a thread. */
  lastRefusal(tid: number): KeptRefusal | undefined {
    return this.refusals.last(tid);
  }

  /** VmPin of a process, in KiB. */
  pinnedKiB(pid: number): number {
    return this.accounts.pinnedKiB(pid);
  }

  /** VmLck of a process, in KiB. */
  lockedKiB(pid: number): number {
    return this.accounts.lockedKiB(pid);
  }
}

/** Linux kernfs_fop_open(): not even root opens an attribute for what it cannot do. */
function checkAccess(node: TreeNode, flags: number, path: string): void {
  if (node.kind === "link") return;
  const access = flags & OpenFlags.accessMode;
  const reads = access !== OpenFlags.writeOnly;
  const writes = access === OpenFlags.writeOnly || access === OpenFlags.readWrite;
  const refuse = (what: string): never => {
    throw new UapiError("EACCES", `the attribute cannot be ${what}`, {
      evidence: [{ kind: "path", path }],
      cite: "Linux kernfs_fop_open()",
    });
  };
  if (reads && (node.mode & 0o444) === 0) refuse("read");
  if (writes && (node.mode & 0o222) === 0) refuse("written");
}

/** Text that does not change, as an attribute. */
function shown(node: TextNode): AttributeNode {
  const handlers = { show: () => node.text, store: () => {} };
  return { kind: "attribute", mode: node.mode, size: 4096, text: handlers };
}
