/** What touches the world: files, archives, the live host. */
export * from "./platform-file.io.js";
/** Reading the world: files, archives, this host. */
export { collectSysfs } from "./collect.io.js";
export * from "./load.io.js";
export { systemNames } from "./names.io.js";
