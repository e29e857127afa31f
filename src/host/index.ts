/** Captures of hosts: what was observed, from lspci, sysfs, logs, firmware tables or our own file. */
export type * from "./capture.js";
export * from "./parse/hex-dump.js";
export * from "./parse/lspci/parse.js";
export * from "./parse/names.js";
export * from "./parse/names-pci-ids.js";
export * from "./parse/text.js";
