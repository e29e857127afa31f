import { InputError } from "../units/index.js";
import { formatPath, type InputPath, type LineMap } from "./line-map.js";

/** A platform description with one or more problems; the message has a line for each. */
export class PlatformError extends InputError {
  readonly problems: readonly InputError[];

  /** @param problems at least one. */
  constructor(problems: readonly InputError[]) {
    const first = problems[0];
    super("", first?.place ?? { file: "platform" }, first?.expected);
    this.problems = problems;
    this.message = problems.map((p) => p.message).join("\n");
  }
}

/** Gathers problems while reading goes on. */
export class Problems {
  readonly #lines: LineMap;
  readonly #list: InputError[] = [];

  constructor(lines: LineMap) {
    this.#lines = lines;
  }

  get count(): number {
    return this.#list.length;
  }

  add(path: InputPath, problem: string, expected?: string): void {
    const place = {
      file: this.#lines.file,
      line: this.#lines.lineOf(path),
      field: path.length === 0 ? undefined : formatPath(path),
    };
    this.#list.push(new InputError(problem, place, expected));
  }

  /** @throws PlatformError when there are any, in order of their lines. */
  throwIfAny(): void {
    if (this.#list.length === 0) return;
    const line = (e: InputError) => e.place.line ?? 0;
    throw new PlatformError([...this.#list].sort((a, b) => line(a) - line(b)));
  }
}
