#!/usr/bin/env node
import module from "node:module";

// Node 22.1 and later keep compiled code between runs; where the cache cannot be written nothing
// changes.
module.enableCompileCache?.();

try {
  const { main } = await import("../dist/bundle/main.js");
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const isUnbuilt = error?.code === "ERR_MODULE_NOT_FOUND" && /bundle.main\.js$/.test(error.url);
  if (!isUnbuilt) throw error;
  process.stderr.write("ioasis is not built yet: run `npm run build` in its folder\n");
  process.exitCode = 2;
}
