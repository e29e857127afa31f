/**
 * Questions to a running daemon: a socket in its folder, one question in a line, answers in lines
 * of JSON.
 */
import { chmodSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { DaemonError } from "../place/daemon-error.js";
import type { DaemonFolder } from "../place/daemon-folder.io.js";
import type { TraceRecord } from "./engine-options.js";
import type { RunningDaemon } from "./running-daemon.io.js";

/** More waiting bytes than this: whoever watches is too slow, and misses records. */
const SLOW = 16 * 1024 * 1024;

export type ControlQuestion = "status" | "why" | "trace" | "end";

/** Answers until it is closed. */
export function answerQuestions(daemon: RunningDaemon, onEnd: () => void): Server {
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    createInterface({ input: socket }).once("line", (line) => {
      void answer(daemon, socket, line as ControlQuestion, onEnd);
    });
  });
  server.listen(daemon.folder.control, () => chmodSync(daemon.folder.control, 0o600));
  server.unref();
  return server;
}

async function answer(
  daemon: RunningDaemon,
  socket: Socket,
  question: ControlQuestion,
  onEnd: () => void,
): Promise<void> {
  if (question === "trace") {
    const stop = daemon.watch((records) => sendRecords(socket, records));
    socket.once("close", stop);
    return;
  }
  if (question === "end") {
    socket.end("{}\n");
    onEnd();
    return;
  }
  if (question !== "status" && question !== "why") {
    socket.destroy();
    return;
  }
  socket.end(`${JSON.stringify(await daemon.ask(question))}\n`);
}

function sendRecords(socket: Socket, records: readonly TraceRecord[]): void {
  if (socket.writableLength > SLOW) return;
  for (const record of records) socket.write(`${JSON.stringify(record)}\n`);
}

/** One question. @throws DaemonError when nobody answers. */
export async function askDaemon(folder: DaemonFolder, question: ControlQuestion): Promise<unknown> {
  let answered: unknown;
  await followDaemon(folder, question, (value) => {
    answered = value;
  });
  return answered;
}

/** All answers to a question, until the daemon ends or `stop` is aborted. */
export async function followDaemon(
  folder: DaemonFolder,
  question: ControlQuestion,
  told: (value: unknown) => void,
  stop?: AbortSignal,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = connect(folder.control);
    stop?.addEventListener("abort", () => socket.destroy());
    socket.once("error", (error) => reject(new DaemonError(`no answer: ${error.message}`)));
    socket.once("close", () => resolve());
    socket.write(`${question}\n`);
    const lines = createInterface({ input: socket });
    // Errors of the socket come here once more.
    lines.on("error", () => {});
    lines.on("line", (line) => {
      told(JSON.parse(line));
    });
  });
}
