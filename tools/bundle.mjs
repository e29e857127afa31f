/**
 * Makes `dist/bundle/` from the compiled command: one small entry and a chunk for each command, so
 * that `ioasis` reads few files at start. Does nothing when no compiled file is newer than the
 * bundle. Why a bundle, with the measurements: docs/decisions/0005.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const FROM = join(ROOT, "dist", "src");
const INTO = join(ROOT, "dist", "bundle");
const STAMP = join(INTO, ".made");

function newestInput() {
  let newest = statSync(fileURLToPath(import.meta.url)).mtimeMs;
  for (const entry of readdirSync(FROM, { recursive: true })) {
    if (!entry.endsWith(".js") || entry.endsWith(".test.js")) continue;
    newest = Math.max(newest, statSync(join(FROM, entry)).mtimeMs);
  }
  return Math.max(newest, statSync(join(ROOT, "package-lock.json")).mtimeMs);
}

function isFresh() {
  return existsSync(STAMP) && statSync(STAMP).mtimeMs >= newestInput();
}

/**
 * Node's own modules through `require`. An ES import of one reads every property of it, and with
 * that loads what is behind lazy ones: `node:fs` brings all of its streams, a tenth of a small
 * command's time. child_process, which commander wants only for subcommands in other files, is
 * loaded when used.
 */
const nodeModules = {
  name: "node-modules-by-require",
  setup(build) {
    build.onResolve({ filter: /^node:/ }, ({ path, kind }) =>
      kind === "import-statement" || kind === "require-call"
        ? { path, namespace: "node-modules" }
        : { path, external: true },
    );
    build.onLoad({ filter: /.*/, namespace: "node-modules" }, ({ path }) => ({
      contents:
        path === "node:child_process"
          ? ["spawn", "execFileSync"]
              .map((name) => `exports.${name} = (...args) => __node("${path}").${name}(...args);`)
              .join("\n")
          : `module.exports = __node("${path}");`,
      loader: "js",
    }));
  },
};

/** The licence texts of the packages whose files went into the bundle. */
function licences(inputs) {
  const folders = new Set(
    inputs.flatMap((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []),
  );
  const texts = [...folders].sort().map((folder) => {
    const path = join(ROOT, folder);
    const { name, version, license } = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
    const file = readdirSync(path).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? "" : readFileSync(join(path, file), "utf8");
    return `${name} ${version} (${license})\n\n${text.trim()}\n`;
  });
  const line = "-".repeat(80);
  return `The files in this folder contain these packages:\n\n${texts.join(`\n${line}\n\n`)}`;
}

/**
 * Runs the engine's thread. Compiling a megabyte of script takes a third of the thread's start, so
 * what V8 made of it is kept beside it; another version of Node refuses that and compiles anew.
 */
const ENGINE_LOADER = `
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Script, constants } from "node:vm";
const file = new URL("./engine.cjs", import.meta.url);
let cachedData;
try { cachedData = readFileSync(new URL("./engine.cache", import.meta.url)); } catch {}
const importModuleDynamically = constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER;
const script = new Script(readFileSync(file, "utf8"), {
  filename: file.pathname, cachedData, importModuleDynamically,
});
const module = { exports: {} };
script.runInThisContext()(module, module.exports, createRequire(file), file.href);
export const cacheOf = () => script.createCachedData();
`;

/** The engine's thread in one file of its own. @returns its inputs. */
async function bundleEngine(build) {
  const { metafile } = await build({
    metafile: true,
    entryPoints: [join(FROM, "daemon", "run", "engine-thread.io.js")],
    outfile: join(INTO, "engine.cjs"),
    bundle: true,
    absWorkingDir: ROOT,
    format: "cjs",
    platform: "node",
    target: "node20",
    minifySyntax: true,
    minifyWhitespace: true,
    external: ["koffi"],
    legalComments: "none",
    logLevel: "warning",
    define: { "import.meta.url": "__url" },
    banner: { js: "(function(module,exports,require,__url){" },
    footer: { js: "})" },
  });
  const loader = join(INTO, "engine-thread.io.js");
  writeFileSync(loader, ENGINE_LOADER);
  const { cacheOf } = await import(pathToFileURL(loader).href);
  writeFileSync(join(INTO, "engine.cache"), cacheOf());
  return Object.keys(metafile.inputs);
}

async function bundle() {
  const { build } = await import("esbuild");
  rmSync(INTO, { recursive: true, force: true });
  mkdirSync(INTO, { recursive: true });
  const { metafile } = await build({
    metafile: true,
    entryPoints: [join(FROM, "cli", "main.js")],
    // Finds its binary beside itself.
    external: ["koffi"],
    outdir: INTO,
    bundle: true,
    absWorkingDir: ROOT,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    // Kept readable: the names show in stack traces, and V8 compiles lazily, so size costs little.
    minifySyntax: true,
    minifyWhitespace: true,
    plugins: [nodeModules],
    chunkNames: "chunk-[hash]",
    legalComments: "none",
    logLevel: "warning",
    banner: {
      js:
        "import{createRequire as __cr}from'node:module';" +
        "const __node=__cr(import.meta.url);const require=__node;",
    },
  });
  const inputs = [...Object.keys(metafile.inputs), ...(await bundleEngine(build))];
  writeFileSync(join(INTO, "THIRD-PARTY.txt"), licences([...new Set(inputs)]));
  writeFileSync(STAMP, "");
}

if (!isFresh()) await bundle();
