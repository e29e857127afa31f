/** One call of /dev/iommu as a row of the table. */

import type { Call } from "../files/index.js";
import type { Argument } from "./argument.js";
import type { OpenContext } from "./open-context.js";

/** What a call does. */
export interface IoctlHandler {
  /** It copies back itself, also after some refusals; else the table of the interface decides. */
  readonly repliesItself?: boolean | undefined;
  /** Where the id of the new object is: it is undone when the struct cannot be copied back. */
  readonly creates?: number | undefined;
  /**
   * Does the call on the fields in `argument.view` and puts its results there.
   * @returns the result of the system call, 0 or more.
   * @throws UapiError: nothing is copied back.
   */
  run(context: OpenContext, call: Call, argument: Argument): number;
  /** After the struct was copied back: gives the caller its new descriptor. */
  readonly finish?: ((context: OpenContext, call: Call, argument: Argument) => void) | undefined;
}

/** One call. */
export interface IoctlRow extends IoctlHandler {
  /** As in the kernel's header: `IOMMU_IOAS_MAP`. */
  readonly name: string;
  /** All 32 bits. */
  readonly command: number;
  /** Bytes of the struct, and the fewest a caller may give. */
  readonly size: number;
  readonly minSize: number;
  /** The struct is copied back on success, as far as the caller gave it. */
  readonly replies: boolean;
}

/** What of the interface's own tables a row takes. */
export interface IoctlShape {
  readonly command: number;
  readonly size: number;
  readonly minSize: number;
  readonly writeBack: unknown;
}

/** Rows of calls and what they do, by the same names. */
export function rowsOf<N extends string>(
  shapes: Readonly<Record<N, IoctlShape>>,
  handlers: Readonly<Record<N, IoctlHandler>>,
): IoctlRow[] {
  return (Object.keys(shapes) as N[]).map((name) => {
    const { command, size, minSize, writeBack } = shapes[name];
    const handler = handlers[name];
    return {
      name,
      command,
      size,
      minSize,
      replies: writeBack === "all" && handler.repliesItself !== true,
      creates: handler.creates,
      run: handler.run,
      finish: handler.finish,
    };
  });
}
