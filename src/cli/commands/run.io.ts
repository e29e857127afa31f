/** `ioasis run [options] -- PROGRAM [ARGUMENT...]` */
import {
  answerQuestions,
  clientLibrary,
  packageRoot,
  RunningDaemon,
  runProgram,
} from "../../daemon/index.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, UsageError } from "../output.js";
import { daemonOf, engineOptions, traceToFile } from "./daemon-options.io.js";

/** The exit code is the program's. */
export async function run(
  out: Output,
  args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  if (args.length === 0) throw new UsageError("run takes a program: ioasis run -- PROGRAM ...");
  const library = clientLibrary(packageRoot());
  const complain = (text: string): void => out.note(`ioasis: ${text}`);
  if (options.name !== undefined) {
    const { folder } = daemonOf(options.name);
    return await runProgram({ folder, library, command: args, complain });
  }
  const daemon = await RunningDaemon.start({
    name: `run-${process.pid}`,
    ...engineOptions(options),
    program: args,
  });
  daemon.onNote = complain;
  daemon.onFailed = complain;
  const finish = options.trace === undefined ? undefined : traceToFile(daemon, options.trace);
  const server = answerQuestions(daemon, () => {});
  const { folder } = daemon;
  try {
    return await runProgram({ folder, library, command: args, complain });
  } finally {
    // Whatever happened: a thread that waits for calls would keep the process alive.
    server.close();
    await daemon.end();
    finish?.();
  }
}
