/** The machine and the command of the kernel's own tests. */
export * from "./access-file.js";
export * from "./mock-devices.js";
export * from "./selftest-files.js";
export * from "./selftest-rows.js";
export * from "./selftest-system.js";
export * from "./test-buffer.js";
export * from "./test-command.js";
