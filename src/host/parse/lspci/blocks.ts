/**
 * Cuts lspci text into blocks of one function each.
 *
 * A block begins with a header line. What belongs to it: indented lines, lines with a property's
 * name (for text that lost its indentation), hex rows, and fragments that a mailer broke off.
 * Anything else at the line start ends the block: prose, a shell prompt, the next part of a mail.
 */
import { continuesPrevious, stripTimestamp, type TextLines } from "../text.js";
import { FunctionBlock, propertyOf } from "./block.js";
import { type HeaderLine, readHeaderLine } from "./header-line.js";
import { putHexRow, readHexOffset } from "./hex-row.js";

/** Calls `done` for each block in file order. Returns how many lines belonged to no block. */
export function eachBlock(text: TextLines, done: (block: FunctionBlock) => void): void {
  new Cutter(text, done).run();
}

const GROUP_HEADING = /^\s*(?:[-*#]\s*)?IOMMU group:? \d{1,6}:?\s*$/i;

class Cutter {
  readonly #text: TextLines;
  readonly #done: (block: FunctionBlock) => void;
  #block: FunctionBlock | undefined;
  /** The line being put together from fragments. */
  #pending = "";
  #pendingIndex = -1;
  /** Inside `IOMMU Group n:` lists: their lines are not an lspci listing. */
  #inGroupList = false;
  #blank = false;

  constructor(text: TextLines, done: (block: FunctionBlock) => void) {
    this.#text = text;
    this.#done = done;
  }

  run(): void {
    for (let i = 0; i < this.#text.length; i++) this.#line(this.#text.lines[i] ?? "", i);
    this.#close();
  }

  #line(raw: string, index: number): void {
    if (raw === "") {
      this.#blank = true;
      return;
    }
    const line = stripTimestamp(raw);
    const header = this.#headerAt(line, index);
    if (header !== undefined) {
      this.#close();
      if (!this.#inGroupList) this.#block = new FunctionBlock(header, index);
      this.#pending = this.#inGroupList ? "" : line;
      this.#pendingIndex = index;
      this.#blank = false;
      return;
    }
    if (GROUP_HEADING.test(line) && !isIndented(line)) {
      this.#close();
      this.#inGroupList = true;
      return;
    }
    const block = this.#block;
    if (block === undefined) {
      if (!isIndented(line) && !this.#blank) return;
      if (!isIndented(line)) this.#inGroupList = false;
      return;
    }
    this.#blockLine(block, line, index);
    this.#blank = false;
  }

  #headerAt(line: string, index: number): HeaderLine | undefined {
    const header = readHeaderLine(line);
    if (header !== undefined || this.#text.widths[index] === undefined) return header;
    return undefined;
  }

  #blockLine(block: FunctionBlock, line: string, index: number): void {
    const offset = readHexOffset(line);
    if (offset >= 0) {
      this.#flush();
      putHexRow(block, line, offset, index);
      return;
    }
    const trimmed = line.trimStart();
    const known = propertyOf(trimmed) !== undefined || trimmed.startsWith("Capabilities:");
    const indented = isIndented(line);
    const notice = trimmed.startsWith("!!!");
    if (known || notice || (indented && !this.#isFragment(trimmed, index))) {
      this.#flush();
      this.#pending = trimmed;
      this.#pendingIndex = index;
      return;
    }
    if (!this.#blank && continuesPrevious(this.#text, index)) {
      if (this.#pending.length < 8192) this.#pending += ` ${trimmed}`;
      return;
    }
    // Text without indentation: register lines belong to the paragraph as long as no blank
    // line came.
    if (!this.#blank && !indented && this.#pendingIndex !== block.index && hasFlags(trimmed)) {
      this.#flush();
      this.#pending = trimmed;
      this.#pendingIndex = index;
      return;
    }
    this.#close();
    this.#inGroupList = false;
  }

  /** An indented line can be the rest of a broken header line only. */
  #isFragment(trimmed: string, index: number): boolean {
    return (
      this.#pendingIndex === this.#block?.index &&
      !this.#blank &&
      !trimmed.includes(":") &&
      continuesPrevious(this.#text, index)
    );
  }

  /** Hands the pending line to its block; a header that was continued is read again. */
  #flush(): void {
    const block = this.#block;
    if (block === undefined || this.#pendingIndex < 0) return;
    if (this.#pendingIndex === block.index) {
      const whole = readHeaderLine(this.#pending);
      if (whole !== undefined && block.hexIndex < 0) block.header = whole;
    } else block.add(this.#pending, this.#pendingIndex);
    this.#pendingIndex = -1;
    this.#pending = "";
  }

  #close(): void {
    this.#flush();
    const block = this.#block;
    this.#block = undefined;
    this.#pendingIndex = -1;
    if (block !== undefined) this.#done(block);
  }
}

function isIndented(line: string): boolean {
  const first = line.charCodeAt(0);
  return first === 0x20 || first === 9;
}

function hasFlags(line: string): boolean {
  return /[A-Za-z0-9][+-](?:[ ,]|$)/.test(line) || /^[A-Z][A-Za-z0-9]{2,12}:/.test(line);
}
