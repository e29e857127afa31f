/**
 * Makes the codecs, the C headers and the reference pages of the interface from schema.
 *
 * usage: node dist/tools/gen-abi.js [--check]     --check only compares and exits 1 when they
 * differ
 */
import { CHAPTERS, CODEC_FILES } from "../schema/index.js";
import { emitAbiHeader, emitAdditionsHeader } from "./abi/emit-c.js";
import { emitChapterPage, emitOverview, emitSupport } from "./abi/emit-docs.js";
import { emitCodecs } from "./abi/emit-ts.js";
import { emitVectors } from "./abi/emit-vectors.js";
import { layoutsOf } from "./abi/layout.js";
import { type GeneratedFile, writeOrCheck } from "./generated-files.js";

const layouts = layoutsOf(CHAPTERS);

function* files(): Iterable<GeneratedFile> {
  for (const source of CODEC_FILES) {
    yield { path: `src/abi/${source.name}.gen.ts`, text: emitCodecs(source, layouts) };
  }
  const additions = CHAPTERS.filter((chapter) => chapter.header === "ioasis.h");
  yield { path: "client/abi.gen.h", text: emitAbiHeader(CHAPTERS, layouts) };
  for (const chapter of additions) {
    yield { path: "client/ioasis.h", text: emitAdditionsHeader(chapter, layouts) };
  }
  yield { path: "docs/reference/uapi.md", text: emitOverview(CHAPTERS) };
  for (const chapter of CHAPTERS) yield emitChapterPage(chapter, layouts);
  yield { path: "test/vectors/abi.jsonl", text: emitVectors(layouts) };
  yield { path: "docs/reference/support.md", text: emitSupport(CHAPTERS) };
}

process.exitCode = writeOrCheck([...files()], process.argv.slice(2));
