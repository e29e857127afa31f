/** A kernel command line on its own, as /proc/cmdline shows it. */
import type { CapturePart } from "../capture.js";
import type { TextLines } from "./text.js";

const KNOWN =
  /(?:^|\s)(?:BOOT_IMAGE=|root=|initrd=|console=|(?:intel|amd)_iommu=|iommu(?:\.\w+)?=|pci=|quiet(?=\s|$)|rd\.\w+|earlycon\b|video=|resume=|isolcpus=|hugepages=|mitigations=)/;

/** One line of words and key=value pairs, at least one of which kernels know. */
export function looksLikeCommandLine(head: string): boolean {
  const text = head.trim();
  if (text === "" || text.includes("\n") || text.length > 8192) return false;
  return KNOWN.test(text) && !/: |^\S+\(|[{};]/.test(text.replace(/"[^"]*"/g, ""));
}

/** Undefined when the text is empty. */
export function parseCommandLine(text: TextLines): CapturePart | undefined {
  const commandLine = text.lines.join(" ").trim();
  if (commandLine === "") return undefined;
  return { kind: "command-line", place: { file: text.file }, facts: { commandLine } };
}
