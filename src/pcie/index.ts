/** The fabric: configuration space, functions, buses, and how transactions travel. */
export * from "./bar.js";
export * from "./bridge-window.js";
export * from "./bus.js";
export * from "./capability/acs.js";
export * from "./capability/ats.js";
export * from "./capability/express.js";
export * from "./capability/list.js";
export * from "./capability/sriov.js";
export * from "./config-space.js";
export * from "./describe.js";
export * from "./fabric.js";
export * from "./function.js";
