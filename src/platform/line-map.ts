/** Where the parts of a parsed file stand in its text, so that problems can name a line. */
export type InputPath = readonly (string | number)[];

export interface LineMap {
  readonly file: string;
  /** Line of the value at that path, counted from 1; undefined when it is not known. */
  lineOf(path: InputPath): number | undefined;
}

/** For descriptions that were made by a program. */
export function noLines(file = "platform"): LineMap {
  return { file, lineOf: () => undefined };
}

/** `roots[0].devices[2].acs` */
export function formatPath(path: InputPath): string {
  let out = "";
  for (const part of path) {
    out += typeof part === "number" ? `[${part}]` : out === "" ? part : `.${part}`;
  }
  return out;
}
