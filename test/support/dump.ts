/**
 * A small reader of `lspci -vvvxxxx` text for tests: decoded lines and bytes side by side.
 *
 * It shares nothing with the product's parser, so that each can judge the other.
 */
import { ConfigSpace } from "../../src/pcie/index.js";
import { type Bdf, parseBdf } from "../../src/units/index.js";

export interface DumpedFunction {
  readonly bdf: Bdf;
  readonly text: string;
  readonly config: ConfigSpace;
}

/** One entry per function whose address starts a block. */
export function readDump(text: string): DumpedFunction[] {
  const out: DumpedFunction[] = [];
  for (const block of text.split(/\n\n+/)) {
    const bdf = parseBdf(block.trim().split(" ", 1)[0] ?? "");
    if (bdf === undefined) continue;
    const bytes: number[] = [];
    const lines: string[] = [];
    for (const line of block.split("\n")) {
      const row = /^([0-9a-f]{2,3}):((?: [0-9a-f]{2}){16})\s*$/.exec(line);
      if (row === null) lines.push(line);
      else for (const byte of (row[2] as string).trim().split(" ")) bytes.push(parseInt(byte, 16));
    }
    out.push({ bdf, text: lines.join("\n"), config: ConfigSpace.fromDump(Uint8Array.from(bytes)) });
  }
  return out;
}
