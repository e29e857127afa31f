/** `ioasis serve --name NAME`: a platform that several programs share, until it is interrupted. */
import {
  answerQuestions,
  clientLibrary,
  environment,
  packageRoot,
  RunningDaemon,
} from "../../daemon/index.js";
import type { CommonOptions } from "../options.js";
import type { ExitCode, Output } from "../output.js";
import { engineOptions, traceToFile } from "./daemon-options.io.js";

export async function run(
  out: Output,
  _args: readonly string[],
  options: CommonOptions,
): Promise<ExitCode> {
  const name = options.name ?? "default";
  const library = clientLibrary(packageRoot());
  const daemon = await RunningDaemon.start({
    name,
    ...engineOptions(options),
  });
  daemon.onNote = (text) => out.note(`ioasis: ${text}`);
  const finish = options.trace === undefined ? undefined : traceToFile(daemon, options.trace);
  const variables = environment({ folder: daemon.folder, library });
  out.note(`platform ${name} runs; a program joins it with`);
  out.note(`  ioasis run --name ${name} -- PROGRAM`);
  out.note("or with these in its environment:");
  for (const [key, value] of Object.entries(variables)) out.note(`  ${key}=${value}`);
  let alive: NodeJS.Timeout | undefined;
  const code = await new Promise<ExitCode>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => resolve(0));
    answerQuestions(daemon, () => resolve(0));
    daemon.onFailed = (text) => {
      out.note(text);
      resolve(2);
    };
    // Neither the server nor the engine's thread keeps this process alive.
    alive = setInterval(() => {}, 2 ** 30);
  });
  clearInterval(alive);
  await daemon.end();
  finish?.();
  return code;
}
