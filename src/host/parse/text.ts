/**
 * Text as people send it, made into plain lines that keep their place in the original file.
 *
 * What is undone here, because it never carries meaning: byte order marks, UTF-16, CRLF, transfer
 * encodings of mail, `>` quoting, HTML wrapping and entities, terminal colours, markdown fences,
 * no-break spaces, trailing blanks. What is left to each parser: indentation (tabs are kept), time
 * stamps ({@link stripTimestamp}), and lines that a mailer broke ({@link joinWrapped}, which needs
 * to know how a line of that format begins).
 */
import { InputError, type InputPlace } from "../../units/index.js";
import { decodeMail, type RawLine } from "./mail.js";
import { decodeText } from "./text-encoding.js";

export type Repair =
  | "utf-16"
  | "quoted-printable"
  | "base64"
  | "mail-quoting"
  | "html"
  | "terminal-colours"
  | "wrapped-lines";

/** Larger files are refused; hex dumps have their own reader without this limit. */
export const TEXT_LIMIT_BYTES = 256 * 1024 * 1024;

export class TextLines {
  readonly file: string;
  readonly lines: readonly string[];
  /** Original line numbers, from 1, one per line. */
  readonly numbers: readonly number[];
  /**
   * Width of the original line with quoting, in characters; negative when it ended in a blank (RFC
   * 3676).
   */
  readonly widths: readonly number[];
  readonly repairs: ReadonlySet<Repair>;

  constructor(
    file: string,
    lines: readonly string[],
    numbers: readonly number[],
    widths: readonly number[],
    repairs: ReadonlySet<Repair>,
  ) {
    this.file = file;
    this.lines = lines;
    this.numbers = numbers;
    this.widths = widths;
    this.repairs = repairs;
  }

  get length(): number {
    return this.lines.length;
  }

  place(index: number, field?: string): InputPlace {
    const line = this.numbers[index];
    return {
      file: this.file,
      ...(line === undefined ? {} : { line }),
      ...(field ? { field } : {}),
    };
  }
}

/** @throws InputError when the file is larger than {@link TEXT_LIMIT_BYTES}. */
export function readLines(bytes: Uint8Array, file: string): TextLines {
  if (bytes.length > TEXT_LIMIT_BYTES) {
    throw new InputError("the file is too large for a text capture", { file }, "at most 256 MiB");
  }
  const decoded = decodeText(bytes);
  return linesOf(decoded.text, file, decoded.encoding === "utf-8" ? [] : ["utf-16"]);
}

/** The same for text that is already a string (platform descriptions, tests, pasted input). */
export function linesOf(text: string, file: string, repairs: readonly Repair[] = []): TextLines {
  const done = new Set<Repair>(repairs);
  const html = HTML.test(text.slice(0, 1 << 20));
  if (html) done.add("html");
  const mail = decodeMail(splitLines(html ? stripTags(text) : text));
  if (mail.quotedPrintable) done.add("quoted-printable");
  if (mail.base64) done.add("base64");
  const lines: string[] = [];
  const numbers: number[] = [];
  const widths: number[] = [];
  for (const raw of mail.lines) {
    const line = cleanLine(raw.text, html, done);
    lines.push(line);
    numbers.push(raw.number);
    const last = raw.text.charCodeAt(raw.text.length - 1);
    widths.push(last === 0x20 && raw.text.length > 20 ? -raw.text.length : raw.text.length);
  }
  return new TextLines(file, lines, numbers, widths, done);
}

const HTML = /&(?:lt|gt|amp|quot|nbsp|#39|#x27|#160|#9);|<(?:pre|br|html|div)\b[^<>]*>/i;
const TAGS = "html|head|body|pre|code|p|div|span|table|tbody|tr|td|th|blockquote|b|i|tt|font|a|br";
const TAG = new RegExp(`</?(?:${TAGS})\\b[^<>]{0,500}>`, "gi");
const ENTITY = /&(lt|gt|amp|quot|nbsp|apos|#39|#x27|#160|#9);/g;
const ENTITIES: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  amp: "&",
  quot: '"',
  apos: "'",
  nbsp: " ",
  "#39": "'",
  "#x27": "'",
  "#160": " ",
  "#9": "\t",
};

/** `<br>` ends a line only where the source does not end it too; then the line keeps its number. */
function stripTags(text: string): string {
  return text.replace(TAG, (tag) => (/^<br/i.test(tag) ? BREAK : ""));
}
const BREAK = "\u2028";

function splitLines(text: string): RawLine[] {
  const out: RawLine[] = [];
  const lone = !text.includes("\n") && text.includes("\r");
  const end = lone ? "\r" : "\n";
  let number = 1;
  for (let from = 0; from <= text.length; number++) {
    let to = text.indexOf(end, from);
    if (to < 0) to = text.length;
    if (from === text.length) break;
    let line = text.slice(from, to);
    if (line.endsWith("\r")) line = line.slice(0, -1);
    if (line.includes(BREAK)) {
      const parts = line.split(BREAK);
      if (parts[parts.length - 1]?.trim() === "") parts.pop();
      for (const part of parts) out.push({ text: part, number });
    } else out.push({ text: line, number });
    from = to + 1;
  }
  return out;
}

const ESC = String.fromCharCode(27);
const COLOUR = new RegExp(`${ESC}\\[[0-9;]{0,20}[A-Za-z]`, "g");
/** Not the `>TAbort-` of a status line that was broken there. */
const QUOTE = /^ {0,3}>(?!(?:TAbort|SERR|Reset)[+-])[> ]*(?<=>) ?/;

function cleanLine(raw: string, html: boolean, done: Set<Repair>): string {
  let line = raw;
  if (line.includes(ESC)) {
    line = line.replace(COLOUR, "");
    done.add("terminal-colours");
  }
  if (html && line.includes("&")) {
    line = line.replace(ENTITY, (whole, name: string) => ENTITIES[name] ?? whole);
  }
  if (ODD_BLANK.test(line)) line = line.replace(NO_BREAK, " ").replace(ZERO_WIDTH, "");
  const first = line.charCodeAt(0);
  if (first === 0x3e || first === 0x20) {
    const m = QUOTE.exec(line);
    if (m !== null) {
      line = line.slice(m[0].length);
      done.add("mail-quoting");
    }
  }
  if (line.startsWith("```") || line.startsWith("~~~")) return "";
  return line.trimEnd();
}
const ODD_BLANK = /[\u00a0\u200b\u200c\ufeff]/;
const NO_BREAK = /\u00a0/g;
const ZERO_WIDTH = /[\u200b\u200c\ufeff]/g;

/**
 * Whether `lines[index]` continues the line before it: that line ended in a blank (format=flowed),
 * or was so long that the first word of this one did not fit into 66 or more columns.
 */
export function continuesPrevious(text: TextLines, index: number): boolean {
  const width = text.widths[index - 1];
  const line = text.lines[index];
  if (width === undefined || line === undefined || line === "") return false;
  if (width < 0) return true;
  const word = /^\s*(\S+)/.exec(line)?.[1] ?? "";
  return width <= 100 && width + 1 + word.length >= 66;
}

/**
 * Joins lines that a mailer broke. `starts(line)` says that a line begins something of its own;
 * other lines that follow a broken one are appended to it. Blank lines are never joined.
 */
export function joinWrapped(text: TextLines, starts: (line: string) => boolean): TextLines {
  const lines: string[] = [];
  const numbers: number[] = [];
  const widths: number[] = [];
  let joined = false;
  for (let i = 0; i < text.length; i++) {
    const line = text.lines[i] ?? "";
    const last = lines.length - 1;
    const before = lines[last];
    if (before && line !== "" && !starts(line) && continuesPrevious(text, i)) {
      lines[last] = `${before} ${line.trimStart()}`;
      joined = true;
      continue;
    }
    lines.push(line);
    numbers.push(text.numbers[i] ?? 0);
    widths.push(text.widths[i] ?? 0);
  }
  if (!joined) return text;
  return new TextLines(
    text.file,
    lines,
    numbers,
    widths,
    new Set([...text.repairs, "wrapped-lines"]),
  );
}

const KERNEL_STAMP = String.raw`\[ {0,8}\d{1,9}\.\d{1,9}\]`;
const ISO_STAMP = String.raw`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.,]{0,10}(?:Z|[+-]\d\d:?\d\d)?`;
const SYSLOG_STAMP = String.raw`[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d`;
const STAMP = new RegExp(`^(?:${KERNEL_STAMP}|${ISO_STAMP}|${SYSLOG_STAMP}) ?`);
const SYSLOG = /^[\w.-]{1,64} [\w./-]{1,64}(?:\[\d{1,9}\])?: (?:\[ {0,8}\d{1,9}\.\d{1,9}\] ?)?/;

/** The line without a leading kernel, ISO 8601 or syslog time stamp. */
export function stripTimestamp(line: string): string {
  const m = STAMP.exec(line);
  if (m === null) return line;
  const rest = line.slice(m[0].length);
  return line.startsWith("[") ? rest : rest.replace(SYSLOG, "");
}
