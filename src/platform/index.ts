/** Platform descriptions: hosts written down by people, numbered and turned into functions. */
export * from "./layout.js";
export type * from "./plan.js";
