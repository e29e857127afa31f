/**
 * Line numbers in JSON text: of a path, and of a syntax error. Only used once something has failed.
 */
import type { JsonPath } from "./json-shape.js";

/**
 * The line, from 1, where the value at `path` starts; the nearest enclosing value when the path
 * ends early.
 */
export function lineOfPath(text: string, path: JsonPath): number {
  const scanner = new Scanner(text);
  return lineAt(text, scanner.find(path));
}

export function lineAt(text: string, position: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at >= 0 && at < position; at = text.indexOf("\n", at + 1))
    line++;
  return line;
}

/** Position of the error that JSON.parse reports, however the engine words it. */
export function syntaxErrorLine(text: string, message: string): number | undefined {
  const position = /position (\d+)/.exec(message)?.[1];
  if (position !== undefined) return lineAt(text, Number(position));
  return /end of JSON/i.test(message) ? lineAt(text, text.length) : undefined;
}

/** Walks text that is known to be well-formed JSON. */
class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  find(path: JsonPath): number {
    this.#blank();
    let start = this.#at;
    for (const step of path) {
      if (!(typeof step === "number" ? this.#enterItem(step) : this.#enterField(step)))
        return start;
      this.#blank();
      start = this.#at;
    }
    return start;
  }

  #enterItem(index: number): boolean {
    if (this.#text[this.#at] !== "[") return false;
    this.#at++;
    for (let i = 0; i < index; i++) {
      this.#skipValue();
      this.#blank();
      if (this.#text[this.#at] !== ",") return false;
      this.#at++;
    }
    return true;
  }

  #enterField(name: string): boolean {
    if (this.#text[this.#at] !== "{") return false;
    this.#at++;
    for (;;) {
      this.#blank();
      const from = this.#at;
      if (this.#text[from] !== '"') return false;
      this.#skipValue();
      const key = this.#text.slice(from, this.#at);
      this.#blank();
      this.#at++;
      if (JSON.parse(key) === name) return true;
      this.#skipValue();
      this.#blank();
      if (this.#text[this.#at] !== ",") return false;
      this.#at++;
    }
  }

  #blank(): void {
    while (/\s/.test(this.#text[this.#at] ?? "x")) this.#at++;
  }

  #skipValue(): void {
    this.#blank();
    let depth = 0;
    for (; this.#at < this.#text.length; this.#at++) {
      const c = this.#text[this.#at];
      if (c === '"') {
        this.#skipString();
        if (depth === 0) return;
        this.#at--;
      } else if (c === "{" || c === "[") depth++;
      else if (c === "}" || c === "]") {
        if (depth === 0) return;
        if (--depth === 0) {
          this.#at++;
          return;
        }
      } else if (c === "," && depth === 0) return;
    }
  }

  /** From the opening quote to behind the closing one. */
  #skipString(): void {
    this.#at++;
    while (this.#at < this.#text.length && this.#text[this.#at] !== '"') {
      this.#at += this.#text[this.#at] === "\\" ? 2 : 1;
    }
    this.#at++;
  }
}
