/** Where the repository is, seen from the compiled tools in `dist/tools`. */
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
export const COMPILED_TOOLS = fileURLToPath(new URL("./", import.meta.url));
