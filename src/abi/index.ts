/** The interface's numbers and layouts, error numbers, and the error that carries one. */
export * from "./additions.gen.js";
export * from "./errno.js";
export type * from "./ioctl.js";
export * from "./iommufd.gen.js";
export * from "./selftest.gen.js";
export * from "./uapi-error.js";
export * from "./vfio.gen.js";
