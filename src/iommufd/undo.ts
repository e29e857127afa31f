/** A call made an object, and the caller cannot be told of it: it never was. */
import type { EventQueue } from "./event-queue.js";
import type { FaultQueue } from "./fault.js";
import type { OpenContext } from "./open-context.js";

/** Destroys a new object that nobody uses yet. */
export function undo({ iommufd }: OpenContext, id: number): void {
  const { objects } = iommufd.state;
  const object = objects.find(id);
  if (object === undefined) return;
  if (object.kind === "fault") (object as FaultQueue).closeFile();
  if (object.kind === "veventq") (object as EventQueue).closeFile();
  if (object.users === 0) objects.remove(object);
}
