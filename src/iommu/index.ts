/** IOMMU hardware: what a unit does with a request that reaches it. */
export * from "./iommu.js";
export type * from "./iommu-ports.js";
export {
  SingleTableFault,
  type SingleTableOptions,
  SingleTableRegister,
  SingleTableUnit,
} from "./single/unit.js";
export * from "./translation.js";
export { type VtdCapabilities, type VtdOptions, vtdRegisterValues } from "./vtd/capabilities.js";
export { VtdUnit, type VtdUnitOptions } from "./vtd/unit.js";
