/** Captures of hosts: what was observed, from lspci, sysfs, logs, firmware tables or our own file. */
export type * from "./capture.js";
export * from "./parse/text.js";
