/**
 * Runs a program on a platform: its arguments, input, output and exit code are its own, signals go
 * to it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import type { DaemonFolder } from "../place/daemon-folder.io.js";
import { findProgram, PROBLEM_TEXT } from "./program.io.js";

/** As shells and env(1) have it. */
const NOT_FOUND = 127;
const NOT_RUN = 126;
const SIGNALS = [
  "SIGINT",
  "SIGQUIT",
  "SIGTERM",
  "SIGHUP",
  "SIGUSR1",
  "SIGUSR2",
  "SIGCONT",
  "SIGWINCH",
];
/** A terminal sends these to the program itself. */
const FROM_TERMINAL = new Set(["SIGINT", "SIGQUIT", "SIGWINCH"]);

export interface ProgramOptions {
  readonly folder: DaemonFolder;
  /** Path of the client library. */
  readonly library: string;
  readonly command: readonly string[];
  /** A line on standard error. */
  readonly complain: (text: string) => void;
}

/** @returns the exit code: the program's, 128 and the signal that ended it, 126 or 127. */
export async function runProgram(options: ProgramOptions): Promise<number> {
  const [name = "", ...args] = options.command;
  const { path, problem } = findProgram(name, process.env["PATH"] ?? "/usr/bin:/bin");
  if (problem !== undefined) {
    options.complain(`${name}: ${PROBLEM_TEXT[problem]}`);
    return problem === "not-found" ? NOT_FOUND : NOT_RUN;
  }
  const env = { ...process.env, ...environment(options) };
  const child = spawn(path, args, { argv0: name, env, stdio: "inherit" });
  const stop = forwardSignals(child);
  return await new Promise((resolve) => {
    child.once("error", (error) => {
      stop();
      options.complain(`${name}: ${error.message}`);
      resolve(NOT_RUN);
    });
    child.once("exit", (code, signal) => {
      stop();
      resolve(signal === null ? (code ?? 0) : 128 + constants.signals[signal]);
    });
  });
}

/** What a program needs in its environment to be on the platform. */
export function environment(options: {
  readonly folder: DaemonFolder;
  readonly library: string;
}): Record<string, string> {
  const before = process.env["LD_PRELOAD"];
  const isSet = before !== undefined && before !== "";
  return {
    LD_PRELOAD: isSet ? `${options.library}:${before}` : options.library,
    IOASIS_SOCKET: options.folder.socket,
    IOASIS_ROOT: options.folder.root,
  };
}

function forwardSignals(child: ChildProcess): () => void {
  const isTerminal = process.stdin.isTTY === true;
  const handlers = SIGNALS.map((signal) => {
    const handler = (): void => {
      if (isTerminal && FROM_TERMINAL.has(signal)) return;
      child.kill(signal as NodeJS.Signals);
    };
    process.on(signal, handler);
    return [signal, handler] as const;
  });
  return () => {
    for (const [signal, handler] of handlers) process.off(signal, handler);
  };
}
