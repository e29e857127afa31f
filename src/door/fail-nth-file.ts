/**
 * Files of fault injection: the number of a task, and the switches in debugfs that programs write
 * before they use it. Linux fs/proc/base.c, mm/failslab.c, mm/fail_page_alloc.c.
 */
import { UapiError } from "../abi/index.js";
import type { FaultInjection } from "./fault-injection.js";
import { storedNumber, storedSwitch } from "./stored-number.js";
import {
  type AttributeNode,
  attribute,
  DIRECTORY,
  type Nodes,
  type TreeNode,
} from "./tree-node.js";

const MOST = 0x7fff_ffff;
const FAIL_NTH = /^\/proc\/(?:self|thread-self|\d+)\/task\/(\d+)\/fail-nth$/;

/** The task whose number a path is; undefined for any other path. */
export function failNthTask(path: string): number | undefined {
  const found = FAIL_NTH.exec(path)?.[1];
  return found === undefined ? undefined : Number(found);
}

/** Reads what is left to count, and takes the number of the point that is to fail. */
export function failNthNode(injection: FaultInjection, tid: number): AttributeNode {
  return attribute(0o644, {
    show: () => `${injection.left(tid)}\n`,
    store: (written) => injection.arm(tid, storedNumber(written, MOST)),
  });
}

/** Switches that are kept and change nothing: every kind of allocation can fail. */
export function debugNodes(): Nodes {
  const at = "/sys/kernel/debug";
  const out = new Map<string, TreeNode>([[at, DIRECTORY]]);
  const names = [
    "failslab/ignore-gfp-wait",
    "fail_page_alloc/ignore-gfp-wait",
    "fail_page_alloc/ignore-gfp-highmem",
  ];
  for (const name of names) {
    let value = true;
    const node = attribute(0o600, {
      show: () => (value ? "Y\n" : "N\n"),
      store: (written) => {
        value = storedSwitch(written);
      },
    });
    out.set(`${at}/${name}`, node);
  }
  return out;
}

/** @throws UapiError ENOENT: the platform has no fault injection. */
export function noInjection(path: string): never {
  throw new UapiError("ENOENT", "the platform has no fault injection", {
    evidence: [{ kind: "path", path }],
    cite: "Linux CONFIG_FAULT_INJECTION",
  });
}
