/** Scenarios: what software and devices of a platform do, and what is expected. */
export type { Mismatch } from "./expectation.js";
export type { SingleExpectation } from "./expectation-shape.js";
export type { Broken } from "./invariants.js";
export type { Lands, StepOutcome } from "./outcome.js";
export * from "./player.js";
export * from "./read-scenario.js";
export * from "./scenario-shape.js";
export { Session } from "./session.js";
export { World } from "./world.js";
