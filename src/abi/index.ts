/** Error numbers and the error that carries one. */
export * from "./errno.js";
export * from "./uapi-error.js";
