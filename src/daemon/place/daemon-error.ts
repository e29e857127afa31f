/** Something in the surroundings is not as a daemon needs it: one line for the terminal. */
export class DaemonError extends Error {
  override readonly name = "DaemonError";

  static is(error: unknown): error is DaemonError {
    return error instanceof Error && error.name === "DaemonError";
  }
}
