/** A failure the user of this tool can act on: the text says what is missing and how to get it. */
export class ToolError extends Error {
  override readonly name = "ToolError";
}
