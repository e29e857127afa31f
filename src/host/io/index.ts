/** What touches the world: files, archives, the live host. */
export { collectSysfs, hostName } from "./collect.io.js";
export { PLATFORM_FILE_LIMIT } from "./limits.js";
export * from "./load.io.js";
export { packagedNames, systemNames } from "./names.io.js";
export * from "./platform-file.io.js";
