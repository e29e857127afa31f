/** A call in words: `ioctl IOMMU_IOAS_MAP on /dev/iommu`. */
import { Operation, SlotWord } from "../transport/frame.js";
import type { Request } from "./operations.io.js";

const NAMES = new Map<number, string>(
  Object.entries(Operation).map(([name, number]) => [number, name.toLowerCase()]),
);

/** Names of ioctl commands; others are shown as numbers. */
export const ioctlNames = new Map<number, string>();

/** Of the request that is being served. */
export function callName({ desk, session, slot, path }: Request): string {
  const { channel } = session;
  const operation = channel.word(slot, SlotWord.OP);
  const name = NAMES.get(operation) ?? `operation ${operation}`;
  if (operation === Operation.OPEN) return `open ${path ?? ""}`.trimEnd();
  const held = desk.openFiles.byHandle(channel.word(slot, SlotWord.HANDLE));
  const on = held === undefined ? "" : ` on ${held.file.label}`;
  if (operation !== Operation.IOCTL) return name + on;
  const command = channel.word(slot, SlotWord.COMMAND) >>> 0;
  return `ioctl ${ioctlNames.get(command) ?? `0x${command.toString(16)}`}${on}`;
}
