/**
 * Cuts lspci text into blocks of one function each.
 *
 * A block begins with a header line. What belongs to it: indented lines, lines with a property's
 * name, hex rows, and fragments that a mailer broke off. Anything else at the line start ends the
 * block: prose, a shell prompt, the next part of a mail.
 *
 * "Flat" is a block whose first property stands at the line start: forums, ticket systems and chat
 * programs took the indentation away, all of it or the first tab. Everything up to the next blank
 * line belongs to such a block. Where every line is followed by a blank one, that one means
 * nothing.
 *
 * A header line in a list of groups (`IOMMU Group n:`, devices below) is no lspci output unless
 * registers follow it.
 */
import { isGroupProperty } from "../groups-list.js";
import { continuesPrevious, isShellPrompt, stripTimestamp, type TextLines } from "../text.js";
import { FunctionBlock, propertyOf } from "./block.js";
import { readHeaderLine } from "./header-line.js";
import { putHexRow, readHexOffset } from "./hex-row.js";

/** Calls `done` for each block in file order. */
export function eachBlock(text: TextLines, done: (block: FunctionBlock) => void): void {
  new Cutter(text, done).run();
}

const GROUP_HEADING = /^\s*(?:[-*#]\s*)?IOMMU group:? \d{1,6}:?\s*$/i;

/** What lspci says on standard error, between its lines where both were kept. */
const DIAGNOSTIC = /^\s*(?:pcilib|lspci): /;

/** lspci's longest lines have more columns than this; lines of wrapped text do not. */
const WRAPPED_WIDTH = 100;

/** The deepest indentation of a register, which counted when the line was broken. */
const LOST_COLUMNS = 24;
const LABEL = /^[A-Z][A-Za-z0-9 ]{1,20}:/;

class Cutter {
  readonly #text: TextLines;
  readonly #done: (block: FunctionBlock) => void;
  /** Blank lines that mean nothing: 1 in double-spaced text. */
  readonly #spacing: number;
  readonly #mayBeWrapped: boolean;
  #block: FunctionBlock | undefined;
  /** Whether the block's first property stood at the line start; undefined before it came. */
  #flat: boolean | undefined;
  /** The line being put together from fragments. */
  #pending = "";
  #pendingIndex = -1;
  /** Inside `IOMMU Group n:` lists: header lines alone are not an lspci listing. */
  #inGroupList = false;
  /** The list's headings are spelt as lspci spells a function's group. */
  #likeProperty = false;
  /** The list's devices stand at the line start; undefined before the first came. */
  #flatList: boolean | undefined;
  #blanks = 0;

  constructor(text: TextLines, done: (block: FunctionBlock) => void) {
    this.#text = text;
    this.#done = done;
    this.#spacing = isDoubleSpaced(text.lines) ? 1 : 0;
    this.#mayBeWrapped = text.widths.every((width) => Math.abs(width) <= WRAPPED_WIDTH);
  }

  get #blank(): boolean {
    return this.#blanks > this.#spacing;
  }

  run(): void {
    for (let i = 0; i < this.#text.length; i++) this.#line(this.#text.lines[i] ?? "", i);
    this.#close();
  }

  #line(raw: string, index: number): void {
    if (raw === "") {
      this.#blanks++;
      return;
    }
    const line = stripTimestamp(raw);
    if (DIAGNOSTIC.test(line)) return;
    if (isShellPrompt(line)) {
      this.#close();
      this.#inGroupList = false;
      return;
    }
    const header = readHeaderLine(line);
    if (header !== undefined) {
      this.#close();
      if (this.#inGroupList) this.#listDevice(line);
      this.#block = new FunctionBlock(header, index);
      this.#pending = line;
      this.#pendingIndex = index;
      this.#blanks = 0;
      return;
    }
    if (GROUP_HEADING.test(line) && this.#isHeading(line)) {
      this.#close();
      this.#likeProperty = isGroupProperty(line);
      if (!this.#inGroupList) this.#flatList = undefined;
      this.#inGroupList = true;
      this.#blanks = 0;
      return;
    }
    const block = this.#block;
    if (block !== undefined) {
      this.#blockLine(block, line, index);
      this.#blanks = 0;
    } else if (!isIndented(line) && this.#blank) this.#inGroupList = false;
  }

  /** A device that stands elsewhere than those of the list is none of them. */
  #listDevice(line: string): void {
    const flat = !isIndented(line);
    this.#flatList ??= flat;
    if (flat && !this.#flatList) this.#inGroupList = false;
  }

  /** A line at the start that names a group: of a list, not of the function above. */
  #isHeading(line: string): boolean {
    if (isIndented(line)) return false;
    if (!isGroupProperty(line) || this.#flat !== true || this.#blank) return true;
    return this.#inGroupList && this.#likeProperty;
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
    const notice = trimmed.startsWith("!!!");
    const indented = isIndented(line);
    if (known) this.#flat ??= !indented;
    if (known || notice || (indented && !this.#isFragment(trimmed, index))) {
      this.#begin(trimmed, index);
    } else if (this.#blank) {
      this.#end();
    } else if (this.#flat === true) {
      if (this.#isFlatFragment(block, trimmed, index)) this.#append(trimmed);
      else this.#begin(trimmed, index);
    } else if (continuesPrevious(this.#text, index)) {
      this.#append(trimmed);
    } else if (!indented && this.#pendingIndex !== block.index && hasFlags(trimmed)) {
      // The indentation of this line was lost, or a mailer broke it elsewhere.
      this.#begin(trimmed, index);
    } else this.#end();
  }

  #begin(trimmed: string, index: number): void {
    this.#flush();
    this.#pending = trimmed;
    this.#pendingIndex = index;
  }

  #append(trimmed: string): void {
    if (this.#pending.length < 8192) this.#pending += ` ${trimmed}`;
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

  /**
   * In flat text a line that is no property is the rest of a broken one or a register. Of a broken
   * register it does not matter: what has no label is added to the register before.
   */
  #isFlatFragment(block: FunctionBlock, trimmed: string, index: number): boolean {
    const inCapability = block.inCapabilities || this.#pending.startsWith("Capabilities:");
    if (inCapability && (!this.#mayBeWrapped || LABEL.test(trimmed))) return false;
    return continuesPrevious(this.#text, index, LOST_COLUMNS);
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

  /** Text of something else follows. Inside an indented list it may be the rest of a line. */
  #end(): void {
    this.#close();
    if (this.#blank || this.#flatList === true) this.#inGroupList = false;
  }

  #close(): void {
    this.#flush();
    const block = this.#block;
    this.#block = undefined;
    this.#flat = undefined;
    this.#pendingIndex = -1;
    if (block !== undefined && (!this.#inGroupList || block.showsRegisters)) this.#done(block);
  }
}

/** Blank lines between nearly all lines. */
function isDoubleSpaced(lines: readonly string[]): boolean {
  let used = 0;
  let adjacent = 0;
  for (let i = 0; i < lines.length; i++) {
    if (lines[i] === "") continue;
    used++;
    if (i > 0 && lines[i - 1] !== "") adjacent++;
  }
  return used >= 8 && adjacent * 8 <= used;
}

function isIndented(line: string): boolean {
  const first = line.charCodeAt(0);
  return first === 0x20 || first === 9;
}

function hasFlags(line: string): boolean {
  return /[A-Za-z0-9][+-](?:[ ,]|$)/.test(line) || /^[A-Z][A-Za-z0-9]{2,12}:/.test(line);
}
