/**
 * Layouts and numbers of the schema against C compilers and the kernel's own headers.
 *
 * The headers are those of the machine (linux-libc-dev), and with IOASIS_LINUX_HEADERS those of
 * that folder (`.../usr/include`, several separated by `:`; with `.../drivers/iommu/iommufd` the
 * header of the test command too). A struct or field that a header does not have is left out and
 * counted; what is there must agree.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { CHAPTERS, type Chapter } from "../schema/index.js";
import { type Layout, layoutsOf } from "../tools/abi/layout.js";
import { ROOT } from "../tools/root.js";

const layouts = layoutsOf(CHAPTERS);
const hasCompiler = spawnSync("cc", ["--version"]).status === 0;
const skip = hasCompiler ? false : "no C compiler";

/** Compiles and runs a program; its output. */
function runC(source: string, includes: readonly string[], flags: readonly string[] = []): string {
  const folder = mkdtempSync(join(tmpdir(), "ioasis-abi-"));
  try {
    writeFileSync(join(folder, "main.c"), source);
    const paths = includes.flatMap((path) => ["-isystem", path]);
    const args = ["-std=gnu11", ...flags, ...paths, "-o", join(folder, "main"), "main.c"];
    const compiled = spawnSync("cc", args, { cwd: folder, encoding: "utf8" });
    assert.equal(compiled.status, 0, compiled.stderr);
    return spawnSync(join(folder, "main"), { encoding: "utf8" }).stdout;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("abi.gen.h and ioasis.h compile with every assertion, alone and together", { skip }, () => {
  for (const headers of [["abi.gen.h"], ["ioasis.h"], ["abi.gen.h", "ioasis.h", "frame.h"]]) {
    const source = [...headers.map((name) => `#include "${name}"`), "int main(void) { return 0; }"];
    runC(source.join("\n"), [join(ROOT, "client")], ["-Wall", "-Wextra", "-Werror"]);
  }
});

test("C and TypeScript agree on every offset and size", { skip }, () => {
  const lines = CHAPTERS.flatMap((chapter) => chapter.structs.flatMap(({ name }) => probes(name)));
  const found = runC(programFor(["abi.gen.h", "ioasis.h"], lines), [join(ROOT, "client")]);
  assert.equal(found, expected(lines));
});

interface Probe {
  readonly expression: string;
  readonly value: number | bigint;
}

function probes(name: string, has: (field: string) => boolean = () => true): Probe[] {
  const layout = layouts.get(name) as Layout;
  const struct = `struct ${name}`;
  const fields = layout.fields.filter((field) => has(field.name));
  const members = layout.union.flatMap((member) =>
    has(member.name)
      ? member.fields
          .filter((field) => has(field.name))
          .map((field) => ({ path: `${member.name}.${field.name}`, offset: field.offset }))
      : [],
  );
  return [
    { expression: `sizeof(${struct})`, value: layout.shape.size },
    ...fields.map((f) => ({ expression: `offsetof(${struct}, ${f.name})`, value: f.offset })),
    ...members.map((m) => ({ expression: `offsetof(${struct}, ${m.path})`, value: m.offset })),
  ];
}

function programFor(headers: readonly string[], lines: readonly Probe[]): string {
  return [
    "#include <stddef.h>",
    "#include <stdio.h>",
    ...headers.map((name) => `#include ${name.startsWith("<") ? name : `"${name}"`}`),
    "int main(void) {",
    ...lines.map(
      ({ expression }) =>
        `  printf("%s = %llu\\n", "${expression}", (unsigned long long)(${expression}));`,
    ),
    "  return 0;",
    "}",
  ].join("\n");
}

const expected = (lines: readonly Probe[]): string =>
  lines
    .map(({ expression, value }) => `${expression} = ${BigInt.asUintN(64, BigInt(value))}\n`)
    .join("");

const folders = [
  "/usr/include",
  ...(process.env["IOASIS_LINUX_HEADERS"] ?? "").split(":").filter((path) => path !== ""),
];

for (const header of ["linux/iommufd.h", "linux/vfio.h", "iommufd_test.h"] as const) {
  const having = folders.filter((folder) => existsSync(join(folder, header)));
  if (having.length === 0) test(`layouts and numbers of ${header}`, { skip: "no such header" });
  for (const folder of having) {
    const path = join(folder, header);
    test(`layouts and numbers are those of ${path}`, { skip }, (t) => {
      compare(header, readFileSync(path, "utf8"), folder, (text) => t.diagnostic(text));
    });
  }
}

function compare(
  header: Chapter["header"],
  text: string,
  folder: string,
  say: (text: string) => void,
): void {
  const lines: Probe[] = [];
  const missing: string[] = [];
  for (const chapter of CHAPTERS.filter((candidate) => candidate.header === header)) {
    for (const { name } of chapter.structs) {
      const body = new RegExp(`struct ${name} \\{([^]*?)\\n\\}`).exec(text)?.[1];
      if (body === undefined) missing.push(name);
      else lines.push(...sized(name, body));
    }
    const constants = chapter.constants.flatMap(({ values }) => Object.entries(values));
    const commands = chapter.ioctls.map(({ name, command }) => [name, command] as const);
    for (const [name, value] of [...constants, ...commands]) {
      if (!new RegExp(`\\b${name}\\b`).test(text)) missing.push(name);
      else
        lines.push({
          expression: name,
          value: value < 0 ? BigInt.asUintN(64, BigInt(value)) : value,
        });
    }
  }
  const found = runC(programFor([`<${header}>`], lines), [folder, ...folders]);
  assert.equal(found, expected(lines));
  say(
    `${lines.length} agree; not in this header: ${missing.length === 0 ? "none" : missing.join(" ")}`,
  );
}

/** Without the size where the header's struct lacks fields: an older one is shorter. */
function sized(name: string, body: string): Probe[] {
  const has = (field: string): boolean => new RegExp(`\\b${field}\\b`).test(body);
  const all = probes(name, has);
  const layout = layouts.get(name) as Layout;
  return layout.fields.every((field) => has(field.name)) ? all : all.slice(1);
}
