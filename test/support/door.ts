/** Platform kernels for tests: files that cannot be opened, reading and writing attributes. */
import type { DeviceFiles, FileKernel } from "../../src/door/index.js";
import type { Call } from "../../src/files/index.js";
import { FakeCall } from "./fake-call.js";

const refuse = (): never => {
  throw new Error("no device is opened in this test");
};

/** Devices whose nodes stand there and are never opened. */
export const noFiles = (): DeviceFiles => ({
  iommufd: refuse,
  container: refuse,
  group: refuse,
  device: refuse,
  isOpen: () => false,
  askBack: () => {},
});

let shared: Call | undefined;

/** A caller for attributes, which do not ask who calls. */
export function someCall(): Call {
  shared ??= new FakeCall();
  return shared;
}

/** The whole text of a file of the platform. */
export function readText(kernel: FileKernel, path: string): string {
  const file = kernel.open(someCall(), path, 0);
  const bytes = file.read?.(someCall(), 65536, undefined) ?? new Uint8Array();
  file.release();
  return new TextDecoder().decode(bytes);
}

/** One write of a text to a file of the platform. */
export function writeText(kernel: FileKernel, path: string, text: string): void {
  const file = kernel.open(someCall(), path, 1);
  file.write?.(someCall(), new TextEncoder().encode(text), undefined);
  file.release();
}
