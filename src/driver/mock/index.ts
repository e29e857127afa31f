/** A driver without hardware. */
export * from "./mock-domain.js";
export * from "./mock-driver.js";
export * from "./mock-nested.js";
