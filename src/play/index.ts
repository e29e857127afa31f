/** Scenarios: what software and devices of a platform do, and what is expected. */
export * from "./read-scenario.js";
export * from "./scenario-shape.js";
