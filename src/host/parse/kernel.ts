/** Kernel releases and machine names as `uname`, /proc/version and boot logs show them. */
import type { Architecture } from "../../isolation/index.js";
import type { CapturePart } from "../capture.js";
import type { TextLines } from "./text.js";

const VERSION = /(?:^|[\s\]>])Linux version (\d+\.\d+[^\s(]*)/;
const UNAME = /^Linux (\S+) (\d+\.\d+\S*) #\S+ .*/;
/** Three numbers, or two and a suffix: "2.7" alone is the version of many things. */
const BARE = /^[2-9]\d?\.\d{1,3}(?:\.\d{1,4}|(?=[-+]))(?:[-+.~_][A-Za-z0-9+._~-]*)?$/;

/** The release in a line with "Linux version …" or in the output of `uname -a`. */
export function releaseIn(line: string): string | undefined {
  return VERSION.exec(line)?.[1] ?? UNAME.exec(line)?.[2];
}

export function architectureOf(line: string): Architecture | undefined {
  if (/x86[-_]64|amd64|i[3-6]86/i.test(line)) return "x86";
  if (/aarch64|arm64/i.test(line)) return "arm64";
  if (/riscv64/i.test(line)) return "riscv64";
  if (/ppc64|s390x|loongarch64|mips64/i.test(line)) return "other";
  return undefined;
}

/** Output of `uname -r`, `uname -a` or /proc/version and nothing else. */
export function looksLikeKernelRelease(head: string): boolean {
  const lines = head.split("\n", 6).filter((l) => l.trim() !== "");
  if (lines.length === 0 || lines.length > 4) return false;
  return lines.every((l) => BARE.test(l.trim()) || releaseIn(l) !== undefined || isMachine(l));
}

const isMachine = (line: string): boolean =>
  /^(?:x86_64|aarch64|riscv64|i686|ppc64le|s390x)$/.test(line.trim());

/** Undefined when no line names a release. */
export function parseKernelRelease(text: TextLines): CapturePart | undefined {
  let kernel: string | undefined;
  let architecture: Architecture | undefined;
  for (const line of text.lines) {
    const trimmed = line.trim();
    kernel ??= BARE.test(trimmed) ? trimmed : releaseIn(trimmed);
    architecture ??= architectureOf(trimmed);
  }
  if (kernel === undefined) return undefined;
  const facts = { kernel, ...(architecture !== undefined && { architecture }) };
  return { kind: "kernel-release", place: { file: text.file }, facts };
}
