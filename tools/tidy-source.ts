/**
 * Source files as the house rules see them: lines, and the code with comments and strings blanked
 * out.
 *
 * `code` has the same length and line breaks as `text`, so that positions agree. Blanking is
 * lexical: it knows comments, quotes, templates (with nested expressions) and regular expressions,
 * not grammar.
 */

export interface SourceFile {
  /** Relative to the repository, with `/`: `src/units/bdf.ts`. */
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
  /** `text` with comments, strings and regular expressions replaced by spaces. */
  readonly code: string;
}

/** A place where a house rule is broken; lines count from 1. */
export interface Problem {
  readonly file: string;
  readonly line?: number | undefined;
  readonly message: string;
}

export function makeSource(path: string, text: string): SourceFile {
  const code = /\.[mc]?[jt]s$/.test(path) ? blank(text) : text;
  return { path, text, lines: text.split("\n"), code };
}

export const isGenerated = (path: string): boolean => /\.gen\.ts$/.test(path);
export const isTest = (path: string): boolean =>
  /\.test\.ts$/.test(path) || path.startsWith("test/");

/** The line, from 1, that holds the character at `offset`. */
export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let i = text.indexOf("\n"); i !== -1 && i < offset; i = text.indexOf("\n", i + 1)) line++;
  return line;
}

/** A slash after one of these starts a regular expression, after anything else it divides. */
const BEFORE_REGEX =
  /(?:^|[=(,:;!&|?{}[+\-*%<>~^]|\b(?:return|typeof|case|in|of|delete|void|throw))\s*$/;

function blank(text: string): string {
  const out: string[] = [];
  // Brace depth at which each open template expression ends.
  const templates: number[] = [];
  let depth = 0;
  let at = 0;
  const skipTo = (end: number): void => {
    out.push(text.slice(at, end).replace(/[^\n]/g, " "));
    at = end;
  };
  while (at < text.length) {
    const c = text[at];
    const two = text.slice(at, at + 2);
    if (two === "//") skipTo(endOf(text, "\n", at));
    else if (two === "/*") skipTo(endOf(text, "*/", at + 2) + 2);
    else if (c === '"' || c === "'") skipTo(endOfString(text, at, c));
    else if (c === "`" || (c === "}" && templates[templates.length - 1] === depth)) {
      if (c === "}") templates.pop();
      const end = endOfTemplate(text, at + 1);
      if (text[end] === "{") templates.push(depth);
      skipTo(end + 1);
    } else if (c === "/" && BEFORE_REGEX.test(text.slice(Math.max(0, at - 40), at))) {
      skipTo(endOfRegex(text, at));
    } else {
      if (c === "{") depth++;
      else if (c === "}") depth--;
      out.push(c as string);
      at++;
    }
  }
  return out.join("");
}

function endOf(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from);
  return at === -1 ? text.length : at;
}

function endOfString(text: string, from: number, quote: string): number {
  for (let i = from + 1; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === quote || text[i] === "\n") return i + 1;
  }
  return text.length;
}

/** The position of the closing backtick, or of the brace that opens an expression. */
function endOfTemplate(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "`") return i;
    else if (text[i] === "$" && text[i + 1] === "{") return i + 1;
  }
  return text.length;
}

function endOfRegex(text: string, from: number): number {
  let isClass = false;
  for (let i = from + 1; i < text.length; i++) {
    const c = text[i];
    if (c === "\\") i++;
    else if (c === "[") isClass = true;
    else if (c === "]") isClass = false;
    else if (c === "\n") return i;
    else if (c === "/" && !isClass) return i + 1;
  }
  return text.length;
}
