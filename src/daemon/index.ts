/** A platform for programs of this host: the daemon that serves it, and who asks it. */
export { DEFAULT_PLATFORM, packageRoot, platformPath } from "./kernel/platform-path.io.js";
export type { Grant } from "./memory/rights.io.js";
export { DaemonError } from "./place/daemon-error.js";
export * from "./place/daemon-folder.io.js";
export { clientLibrary } from "./run/client-library.io.js";
export * from "./run/control.io.js";
export type * from "./run/engine-options.js";
export { environment, runProgram } from "./run/run-program.io.js";
export { RunningDaemon } from "./run/running-daemon.io.js";
