#!/usr/bin/env node
import module from "node:module";

// Node 22.1 and later keep compiled code between runs; where the cache cannot be written nothing changes.
module.enableCompileCache?.();

try {
  await import("../dist/bundle/main.js");
} catch (error) {
  if (error?.code !== "ERR_MODULE_NOT_FOUND" || !String(error.url).endsWith("/main.js"))
    throw error;
  process.stderr.write("ioasis is not built yet: run `npm run build` in its folder\n");
  process.exitCode = 2;
}
