/** Platform descriptions: hosts written down by people, numbered and turned into functions. */
export * from "./build-platform.js";
export type { DeviceKind } from "./device-kind.js";
export * from "./layout.js";
export type { LayoutProblem } from "./layout-problem.js";
export * from "./line-map.js";
export type * from "./plan.js";
export { PlatformError, Problems } from "./platform-error.js";
export {
  type DeviceNode,
  type IommuNode,
  PLATFORM_SCHEMA,
  type PlatformNode,
  platformJsonSchema,
  type UnitNode,
} from "./platform-shape.js";
export * from "./read-platform.js";
export * from "./shape.js";
export { type KnownUnit, unitOptions } from "./unit-options.js";
export type { VirtualFunction, VirtualFunctionMaker } from "./virtual-function.js";
