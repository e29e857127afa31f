/** A bus and its functions refer to each other, so both stand in function.ts. */
export { Bus } from "./function.js";
