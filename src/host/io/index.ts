/** What touches the world: files, archives, the live host. */
export * from "./platform-file.io.js";
