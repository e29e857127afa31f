/** A call in words: `ioctl IOMMU_IOAS_MAP on /dev/iommu`. */
import { ADDITIONS_IOCTLS, IOMMUFD_IOCTLS, SELFTEST_IOCTLS, VFIO_IOCTLS } from "../../abi/index.js";
import { FileKind } from "../../files/index.js";
import { Operation, SlotWord } from "../transport/frame.js";
import type { Request } from "./operations.io.js";

const NAMES = new Map<number, string>(
  Object.entries(Operation).map(([name, number]) => [number, name.toLowerCase()]),
);

/** Names of ioctl commands; some numbers mean one thing on a device, another on a container. */
const IOCTL_NAMES = new Map<number, string>();
const DEVICE_NAMES = new Map<number, string>();
for (const table of [VFIO_IOCTLS, IOMMUFD_IOCTLS, SELFTEST_IOCTLS, ADDITIONS_IOCTLS]) {
  for (const [name, { command }] of Object.entries(table)) {
    (name.startsWith("VFIO_DEVICE_") ? DEVICE_NAMES : IOCTL_NAMES).set(command, name);
  }
}

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
  const [first, second] =
    held?.file.kind === FileKind.vfioDevice
      ? [DEVICE_NAMES, IOCTL_NAMES]
      : [IOCTL_NAMES, DEVICE_NAMES];
  const known = first.get(command) ?? second.get(command);
  return `ioctl ${known ?? `0x${command.toString(16)}`}${on}`;
}
