/** A platform as programs meet it: its files, and the state behind them. */
export * from "./attribute-file.js";
export * from "./device-files.js";
export * from "./fault-injection.js";
export * from "./file-kernel.js";
export * from "./memory-accounts.js";
export * from "./numbers.js";
export * from "./platform-kernel.js";
export * from "./refusals.js";
export * from "./system-tree.js";
export { type DeviceFiles, TreeKeeper } from "./tree-keeper.js";
export * from "./tree-node.js";
