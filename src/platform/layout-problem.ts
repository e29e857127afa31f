import type { InputPath } from "./line-map.js";

/** Something that cannot be laid out as planned. */
export interface LayoutProblem {
  /** The part of a user's file that it is about. */
  readonly origin: InputPath | undefined;
  readonly field: string | undefined;
  readonly text: string;
  readonly expected: string | undefined;
}
