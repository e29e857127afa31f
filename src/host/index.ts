/**
 * Captures of hosts: what was observed, from lspci, sysfs, logs, firmware tables or our own file.
 */
export type * from "./capture.js";
export * from "./capture-file.js";
export * from "./detect.js";
export * from "./from-capture.js";
export * from "./merge.js";
export * from "./parse/acpi.js";
export * from "./parse/acpi-text.js";
export { parseCommandLine } from "./parse/cmdline.js";
export { parseDeviceList } from "./parse/device-list.js";
export { parseDmesg } from "./parse/dmesg.js";
export { parseGroups } from "./parse/groups.js";
export * from "./parse/hex-dump.js";
export { parseKernelRelease } from "./parse/kernel.js";
export * from "./parse/lspci/parse.js";
export * from "./parse/lspci-file.js";
export * from "./parse/names.js";
export * from "./parse/names-pci-ids.js";
export { parseSysfs } from "./parse/sysfs.js";
export * from "./parse/sysfs-files.js";
export { parseSysfsListing } from "./parse/sysfs-listing.js";
export * from "./parse/text.js";
export { decodeText } from "./parse/text-encoding.js";
export * from "./parse/tree.js";
export * from "./platform-part.js";
export * from "./redact.js";
export * from "./shell-capture.js";
