/** `ioasis run [options] -- PROGRAM [ARGUMENT...]` */
import {
  answerQuestions,
  baseFolder,
  clientLibrary,
  type DaemonFolder,
  DEFAULT_PLATFORM,
  livingDaemons,
  packageRoot,
  platformPath,
  RunningDaemon,
  runProgram,
} from "../../daemon/index.js";
import type { CommonOptions } from "../options.js";
import { type ExitCode, type Output, UsageError } from "../output.js";
import { engineRules, grantsOf, traceToFile } from "./daemon-options.io.js";

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
    const folder = folderOf(options.name);
    return await runProgram({ folder, library, command: args, complain });
  }
  const daemon = await RunningDaemon.start({
    name: `run-${process.pid}`,
    platform: platformPath(options.platform ?? DEFAULT_PLATFORM),
    rules: engineRules(options),
    bind: options.bind,
    strict: options.strict === true,
    grants: grantsOf(options),
    trace: options.trace !== undefined,
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

/** @throws UsageError when no platform of that name runs. */
function folderOf(name: string): DaemonFolder {
  const found = livingDaemons(baseFolder()).find(({ facts }) => facts.name === name);
  if (found === undefined) throw new UsageError(`no platform named "${name}" runs: ioasis ps`);
  return found.folder;
}
