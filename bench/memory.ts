/** Memory in use after a full collection; Node is asked for its collector once. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as (options?: { readonly type: "minor" }) => void;

/** Collects what was made recently and is dead already. */
export function collectYoung(): void {
  collect({ type: "minor" });
}

/** Bytes of objects and array buffers that are alive. */
export function liveBytes(): number {
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
