/** Compiles the kernel's test programs, with the flags of their own makefiles. */
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { run } from "../debian/command.io.js";
import type { KernelJudge, Suite, TestProgram } from "./judges.js";
import type { KernelSources } from "./sources.io.js";

const TRIPLE = "x86_64-linux-gnu";

export interface BuildPlace {
  readonly sources: KernelSources;
  /** From `prepareLibraries`. */
  readonly libraries: string;
  /** Folder of the stand-in headers. */
  readonly standIns: string;
  /** Where programs go. */
  readonly output: string;
}

/** @returns the program. @throws ToolError with the compiler's last words. */
export function buildProgram(place: BuildPlace, suite: Suite, program: TestProgram): string {
  const { sources, libraries } = place;
  const folder = join(sources.folder, "tools/testing/selftests", suite.folder);
  mkdirSync(place.output, { recursive: true });
  const output = join(place.output, program.name);
  const standIn =
    suite.standIn === undefined ? [] : ["-include", join(place.standIns, suite.standIn)];
  run("gcc", [
    ...["-w", ...suite.flags, ...standIn],
    ...["-isystem", join(sources.headers, TRIPLE), "-isystem", sources.headers],
    ...suite.includes.map((path) => `-I${join(sources.folder, path)}`),
    `-I${join(libraries, "usr/include")}`,
    `-I${folder}`,
    ...program.sources.flatMap((path) => sourceFiles(join(folder, path))),
    ...["-o", output, `-L${join(libraries, "usr/lib", TRIPLE)}`],
    ...program.libraries.map((name) => `-l${name}`),
  ]);
  return output;
}

function sourceFiles(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .filter((name) => name.endsWith(".c"))
    .map((name) => join(path, name));
}

/** All programs of a kernel, with what kept one from being built. */
export function buildAll(
  kernel: KernelJudge,
  place: BuildPlace,
  say: (line: string) => void,
): Map<TestProgram, string | Error> {
  const built = new Map<TestProgram, string | Error>();
  for (const suite of kernel.suites) {
    for (const program of suite.programs) {
      try {
        built.set(program, buildProgram(place, suite, program));
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        say(error.message);
        built.set(program, error);
      }
    }
  }
  return built;
}
