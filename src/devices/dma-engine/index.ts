/** The DMA test engine; its data sheet is docs/devices/dma-engine.md. */
export { type Descriptor, readDescriptor, writeDescriptor } from "./command.js";
export * from "./engine.js";
export * from "./engine-driver.js";
export * from "./registers.js";
