/**
 * The command's own output: standard output in large pieces, standard error at once.
 *
 * Written with plain descriptors: Node's stream objects for them cost a tenth of the time that a
 * small capture takes. Lines are kept until 64 KiB have gathered, a note is written, or the command
 * waits or ends.
 */
import { fstatSync, writeSync } from "node:fs";
import type { Output } from "./output.js";
import { printable } from "./render/printable.js";
import { makePaint } from "./render/text.js";

const OUT = 1;
const ERR = 2;
const FLUSH_LENGTH = 64 * 1024;
/** A pipe whose reader set it to non-blocking is full: wait and try again. */
const RETRY_MS = 2;

export function standardOutput(): Output {
  let gathered = "";
  const flush = (): void => {
    const text = gathered;
    gathered = "";
    if (text !== "") writeAll(OUT, text);
  };
  process.on("exit", flush);
  const colour = isTerminal(OUT) && process.env["NO_COLOR"] === undefined;
  return {
    paint: makePaint(colour),
    interactive: isTerminal(ERR),
    line: (text = "") => {
      if (gathered === "") setImmediate(flush);
      gathered += `${printable(text, colour)}\n`;
      if (gathered.length > FLUSH_LENGTH) flush();
    },
    note: (text) => {
      flush();
      writeAll(ERR, `${printable(text, false)}\n`);
    },
  };
}

/** A character device: a terminal, or /dev/null, where nobody minds. */
function isTerminal(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isCharacterDevice();
  } catch {
    return false;
  }
}

/** Ends the process quietly when the reader has gone, as \`head\` does. */
function writeAll(descriptor: number, text: string): void {
  const bytes = Buffer.from(text, "utf8");
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(descriptor, bytes, done);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === "EPIPE") process.exit();
      if (code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    }
  }
}
