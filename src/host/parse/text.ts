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
import { type DecodedText, decodeText } from "./text-encoding.js";

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
/** Bounds memory: a line costs about 60 bytes beside its text. */
export const LINE_COUNT_LIMIT = 6_000_000;
/** The same for mail and web pages, whose decoding takes more memory. */
export const MAIL_LINE_COUNT_LIMIT = 1_000_000;

/** The lines of one file, with where they come from. All arrays have one entry per line. */
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

/**
 * @throws InputError when the file has more than {@link TEXT_LIMIT_BYTES} or {@link
 * LINE_COUNT_LIMIT}.
 * @param decoded the text of `bytes` where the caller has it already
 */
export function readLines(bytes: Uint8Array, file: string, decoded?: DecodedText): TextLines {
  if (bytes.length > TEXT_LIMIT_BYTES) {
    throw new InputError("the file is too large for a text capture", { file }, "at most 256 MiB");
  }
  const { text, encoding } = decoded ?? decodeText(bytes);
  return linesOf(text, file, encoding === "utf-8" ? [] : ["utf-16"]);
}

/** The same for text that is already a string (platform descriptions, tests, pasted input). */
export function linesOf(text: string, file: string, repairs: readonly Repair[] = []): TextLines {
  const out = new LineCollector(file, repairs);
  const html = HTML.test(text.slice(0, 1 << 20));
  if (html || MAY_BE_ENCODED.test(text)) out.mail(html ? stripTags(text) : text, html);
  else eachLine(text, (line, number) => out.add(line, number, false));
  return out.lines();
}

const MAY_BE_ENCODED = /=3D|content-transfer-encoding:/i;

class LineCollector {
  readonly #file: string;
  readonly #lines: string[] = [];
  readonly #numbers: number[] = [];
  readonly #widths: number[] = [];
  readonly #repairs: Set<Repair>;

  constructor(file: string, repairs: readonly Repair[]) {
    this.#file = file;
    this.#repairs = new Set(repairs);
  }

  mail(text: string, html: boolean): void {
    const raw: RawLine[] = [];
    eachLine(text, (line, number) => {
      if (raw.length >= MAIL_LINE_COUNT_LIMIT) this.#tooMany(number, MAIL_LINE_COUNT_LIMIT);
      for (const part of html ? parts(line) : [line]) raw.push({ text: part, number });
    });
    if (html) this.#repairs.add("html");
    const mail = decodeMail(raw);
    if (mail.quotedPrintable) this.#repairs.add("quoted-printable");
    if (mail.base64) this.#repairs.add("base64");
    for (const line of mail.lines) this.add(line.text, line.number, html);
  }

  add(raw: string, number: number, html: boolean): void {
    if (this.#lines.length >= LINE_COUNT_LIMIT) this.#tooMany(number, LINE_COUNT_LIMIT);
    this.#lines.push(cleanLine(raw, html, this.#repairs));
    this.#numbers.push(number);
    const last = raw.charCodeAt(raw.length - 1);
    this.#widths.push(last === 0x20 && raw.length > 20 ? -raw.length : raw.length);
  }

  lines(): TextLines {
    return new TextLines(this.#file, this.#lines, this.#numbers, this.#widths, this.#repairs);
  }

  #tooMany(line: number, limit: number): never {
    const place = { file: this.#file, line };
    throw new InputError("the file has too many lines", place, `at most ${limit}`);
  }
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

function stripTags(text: string): string {
  return text.replace(TAG, (tag) => (/^<br/i.test(tag) ? BREAK : ""));
}
const BREAK = "\u2028";

/** `<br>` ends a line only where the source does not end it too. */
function parts(line: string): string[] {
  if (!line.includes(BREAK)) return [line];
  const out = line.split(BREAK);
  if (out[out.length - 1]?.trim() === "") out.pop();
  return out;
}

/** Lines end with LF, CRLF, or a lone CR where the text has no LF at all. */
function eachLine(text: string, take: (line: string, number: number) => void): void {
  const lone = !text.includes("\n") && text.includes("\r");
  const end = lone ? "\r" : "\n";
  let number = 1;
  for (let from = 0; from < text.length; number++) {
    let to = text.indexOf(end, from);
    if (to < 0) to = text.length;
    const last = text.charCodeAt(to - 1) === 13 && to > from ? to - 1 : to;
    take(text.slice(from, last), number);
    from = to + 1;
  }
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
 * or was so long that the first word of this one did not fit into 66 or more columns. `lost` are
 * columns of indentation that the lines may have had when they were broken.
 */
export function continuesPrevious(text: TextLines, index: number, lost = 0): boolean {
  const width = text.widths[index - 1];
  const line = text.lines[index];
  if (width === undefined || line === undefined || line === "") return false;
  if (width < 0) return true;
  const word = /^\s*(\S+)/.exec(line)?.[1] ?? "";
  return width <= 100 && width + lost + 1 + word.length >= 66;
}

/**
 * Joins lines that a mailer broke. `starts(line)` says that a line begins something of its own;
 * other lines that follow a broken one are appended to it. Blank lines are never joined.
 */
export function joinWrapped(text: TextLines, starts: (line: string) => boolean): TextLines {
  // Most text has no broken line: nothing is copied before the first.
  let first = 1;
  while (first < text.length && !isBroken(text, first, text.lines[first - 1], starts)) first++;
  if (first >= text.length) return text;
  const lines = text.lines.slice(0, first);
  const numbers = text.numbers.slice(0, first);
  const widths = text.widths.slice(0, first);
  for (let i = first; i < text.length; i++) {
    const line = text.lines[i] ?? "";
    const last = lines.length - 1;
    const before = lines[last];
    if (isBroken(text, i, before, starts)) {
      lines[last] = `${before} ${line.trimStart()}`;
      continue;
    }
    lines.push(line);
    numbers.push(text.numbers[i] ?? 0);
    widths.push(text.widths[i] ?? 0);
  }
  return new TextLines(
    text.file,
    lines,
    numbers,
    widths,
    new Set([...text.repairs, "wrapped-lines"]),
  );
}

/** Whether line `index` is the rest of `before`, the line above it as joined so far. */
function isBroken(
  text: TextLines,
  index: number,
  before: string | undefined,
  starts: (line: string) => boolean,
): boolean {
  const line = text.lines[index];
  if (!before || line === undefined || line === "") return false;
  return !starts(line) && continuesPrevious(text, index);
}

const PROMPT = /^[\w@.~:/[\] -]{0,60}[#$] \S/;

/** A command typed after a shell's prompt: what comes next is something else. */
export function isShellPrompt(line: string): boolean {
  return PROMPT.test(line);
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
