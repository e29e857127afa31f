/** Where in a user's input something was found; lines count from 1. */
export interface InputPlace {
  readonly file: string;
  readonly line?: number | undefined;
  readonly field?: string | undefined;
}

/**
 * The caller's input cannot be used: names file, line, field and what would be right. Recognise it
 * with {@link InputError.is}, not `instanceof` (two copies of the package may be loaded).
 */
export class InputError extends Error {
  override readonly name = "InputError";
  readonly place: InputPlace;
  /** What would be right, in words. */
  readonly expected: string | undefined;

  constructor(problem: string, place: InputPlace, expected?: string) {
    super(describe(problem, place, expected));
    this.place = place;
    this.expected = expected;
  }

  static is(error: unknown): error is InputError {
    return error instanceof Error && error.name === "InputError" && "place" in error;
  }
}

function describe(problem: string, place: InputPlace, expected: string | undefined): string {
  const line = place.line === undefined ? "" : `:${place.line}`;
  const field = place.field === undefined ? "" : ` ${place.field}:`;
  const wanted = expected === undefined ? "" : `; expected ${expected}`;
  return `${place.file}${line}:${field} ${problem}${wanted}`;
}
