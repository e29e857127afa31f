/** A machine with its software, running. */

export * from "./device-drivers.js";
export * from "./device-id.js";
export * from "./failing-allocations.js";
export * from "./group-numbers.js";
export * from "./host-system.js";
export * from "./running-system.js";
