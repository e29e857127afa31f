/** What drivers of played devices declare. */
import type { DriverDeclaration } from "../driver/index.js";

/** What the driver of a function with slices declares. */
export const SLICES: DriverDeclaration = {
  name: "parent",
  routing: "rid+pasid",
  pasids: 1024,
  noSnoop: false,
  ats: false,
  pri: false,
  translatedOnly: false,
};
