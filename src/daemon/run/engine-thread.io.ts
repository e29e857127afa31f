/**
 * The engine's thread: starts from what the main thread gives it, and blocks until it is ended.
 *
 * Its event loop does not run meanwhile: orders are taken when the bell rings, reports leave by
 * messages.
 */
import {
  type MessagePort,
  parentPort,
  receiveMessageOnPort,
  workerData,
} from "node:worker_threads";
import { InputError } from "../../units/index.js";
import { PlatformEngine } from "../engine/platform-engine.io.js";
import { makeEventFd, takeEventFd } from "../ffi/descriptors.io.js";
import { installGuard } from "../ffi/guard.io.js";
import { SystemError } from "../ffi/libc.io.js";
import { type OpenedPlatform, openPlatform } from "../kernel/open-platform.io.js";
import { DaemonError } from "../place/daemon-error.js";
import { FileTree } from "../tree/file-tree.io.js";
import type { EngineThreadData, Order, Question, Report } from "./engine-options.js";
import { refusalRecords, statusRecord } from "./engine-records.js";
import { EngineTracer } from "./engine-tracer.io.js";

async function start(port: MessagePort): Promise<void> {
  const data = workerData as EngineThreadData;
  const tell = (report: Report): void => port.postMessage(report);
  if (data.guard !== undefined) installGuard(data.guard);
  const open = await openPlatform(data, (text) => tell({ kind: "note", text }));
  let opened: OpenedPlatform | undefined;
  let tree: FileTree | undefined;
  const platform = new PlatformEngine({
    socket: data.folder.socket,
    kernel: (memories) => {
      opened = open(memories);
      tree = new FileTree(data.folder.root, opened.kernel.tree);
      return opened.kernel;
    },
    makeTree: () => tree?.make(),
    grants: data.grants,
    note: (text) => tell({ kind: "note", text }),
  });
  if (opened === undefined) return;
  const tracer = new EngineTracer(platform, opened, tell);
  if (data.trace) tracer.on();
  const bell = makeEventFd();
  platform.engine.watch(bell, () => {
    takeEventFd(bell);
    for (;;) {
      const received = receiveMessageOnPort(port) as { message: Order } | undefined;
      if (received === undefined) return;
      obey(received.message, platform, opened as OpenedPlatform, tracer, tell);
    }
  });
  tell({ kind: "ready", bell, rules: opened.rules });
  platform.run();
  tracer.flush();
}

function obey(
  order: Order,
  platform: PlatformEngine,
  opened: OpenedPlatform,
  tracer: EngineTracer,
  tell: (report: Report) => void,
): void {
  switch (order.kind) {
    case "end":
      platform.engine.end();
      break;
    case "trace":
      if (order.on) tracer.on();
      else tracer.off();
      break;
    default:
      tell({
        kind: "answer",
        number: order.number,
        value: answer(order.what, platform, opened),
      });
  }
}

function answer(what: Question, platform: PlatformEngine, opened: OpenedPlatform): unknown {
  return what === "why" ? refusalRecords(opened.kernel) : statusRecord(platform, opened.kernel);
}

if (parentPort !== null) {
  const port = parentPort;
  start(port).catch((error: unknown) => {
    const isExpected =
      InputError.is(error) || DaemonError.is(error) || error instanceof SystemError;
    const text =
      error instanceof Error
        ? ((isExpected ? undefined : error.stack) ?? error.message)
        : String(error);
    port.postMessage({ kind: "failed", text } satisfies Report);
  });
}
