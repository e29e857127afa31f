/** What is known of a call before its handler runs. */

/** The kinds of files that answer ioctls. */
export type IoctlFile = "iommufd" | "container" | "group" | "device" | "migration";

/** One call; the tables of these are generated. */
export interface IoctlInfo {
  /** All 32 bits. */
  readonly command: number;
  readonly files: readonly IoctlFile[];
  /**
   * `size`: a struct whose first word is its size; `none`: ignored; `value`: a number; `int`:
   * points at one s32; `string`: points at bytes ending with 0.
   */
  readonly argument: "size" | "none" | "value" | "int" | "string";
  /** Bytes of the whole struct; 0 without one. */
  readonly size: number;
  readonly minSize: number;
  /**
   * What is copied back on success: the struct as far as the caller gave it, nothing, one field, or
   * what the handler itself copies.
   */
  readonly writeBack:
    | "all"
    | "nothing"
    | "itself"
    | { readonly at: number; readonly bytes: number };
  /** It may write back when it fails, too. */
  readonly writesOnError: boolean;
  /** Kernel release that brought it. */
  readonly since: string;
}
