/** A machine with its software, running. */
export * from "./failing-allocations.js";
export * from "./group-numbers.js";
export * from "./running-system.js";
