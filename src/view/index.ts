/** One read model: plain data and the words for it; text, JSON and pages only draw it. */
export * from "./change-text.js";
export * from "./check-text.js";
export * from "./chrome-trace.js";
export * from "./class-name.js";
export * from "./compare.js";
export * from "./condense.js";
export * from "./device-name.js";
export * from "./devices-view.js";
export * from "./evidence-json.js";
export * from "./evidence-text.js";
export * from "./explain-dma.js";
export * from "./explain-view.js";
export * from "./groups-view.js";
export * from "./p2p-view.js";
export * from "./play-view.js";
export * from "./proof-view.js";
export { refusalLines } from "./refusal-text.js";
export * from "./trace-text.js";
