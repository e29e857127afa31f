/**
 * The way in by groups, as programs written before /dev/iommu use it: open a group, give it an
 * iommufd as its container, choose type1, get device files. One address space serves them all: the
 * context's compatibility IOAS.
 *
 * A group that is open keeps its devices from being bound one by one, and the other way round.
 */
import { UapiError } from "../abi/index.js";
import { type Iommufd, VfioExtension } from "../iommufd/index.js";
import type { Bdf } from "../units/index.js";
import { attempt, type StepOutcome } from "./outcome.js";
import type { ActionArguments } from "./scenario-shape.js";
import type { Session } from "./session.js";

const OK: StepOutcome = {};

/** Opens a group, gives it a container, or closes it. */
export function legacyGroup(session: Session, args: ActionArguments<"group">): StepOutcome {
  const id = groupId(session, session.bdf(args.of));
  return attempt(() => {
    if (args.open === true) openGroup(session, id);
    if (args.container !== undefined) {
      setContainer(session, id, args.container, args.space ?? "compat");
    }
    if (args.close === true) closeGroup(session, id);
    return OK;
  });
}

/** Asks for an extension, or chooses the kind of address space. */
export function container(session: Session, args: ActionArguments<"container">): StepOutcome {
  const fd = session.context(args.of);
  return attempt(() => {
    const { vfio } = fd;
    if (args.extension !== undefined) {
      return { count: vfio.checkExtension(VfioExtension[args.extension]) ? 1 : 0 };
    }
    if (args.type !== undefined) vfio.setIommu(VfioExtension[args.type]);
    return OK;
  });
}

/**
 * A device file by its group: bound, and attached to the one address space.
 * @throws UapiError EINVAL without a container, or what binding and attaching throw.
 */
export function openByGroup(
  session: Session,
  name: string,
  bind: (fd: Iommufd) => StepOutcome,
): StepOutcome {
  const id = groupId(session, session.bdf(name));
  const group = session.openGroups.get(id);
  const fd = group?.container;
  const compat = fd?.state.compatIoasId;
  if (group === undefined || fd === undefined || compat === undefined) {
    throw new UapiError("EINVAL", "the group has no container", {
      cite: "Linux vfio_group_ioctl_get_device_fd()",
    });
  }
  const outcome = bind(fd);
  if (outcome.errno !== undefined) return outcome;
  const { object } = session.device(name);
  try {
    fd.attach({ device: object, ptId: compat });
  } catch (error) {
    fd.unbind(object);
    session.bound.delete(name);
    throw error;
  }
  group.devices.add(name);
  return OK;
}

/** @throws UapiError EBUSY while the device's group is open. */
export function checkNotOpen(session: Session, device: Bdf): void {
  if (!session.openGroups.has(groupId(session, device))) return;
  throw new UapiError("EBUSY", "the group of the device is open", {
    evidence: [{ kind: "group-open", at: device }],
    cite: "Linux vfio_device_block_group()",
  });
}

/** @throws UapiError ENOTTY for a device that was opened by its group. */
export function checkOwnFile(session: Session, name: string): void {
  for (const { devices } of session.openGroups.values()) {
    if (!devices.has(name)) continue;
    throw new UapiError("ENOTTY", "a device that was opened by its group is attached with it", {
      cite: "Linux vfio_device_fops_unl_ioctl()",
    });
  }
}

function openGroup(session: Session, id: number): void {
  const bound = [...session.bound].find(([, { object }]) => {
    const { function: bdf } = object.dma;
    return bdf !== undefined && groupId(session, bdf) === id;
  });
  if (session.openGroups.has(id) || bound !== undefined) {
    const what = bound === undefined ? "the group is open already" : "a device of it is bound";
    throw new UapiError("EBUSY", what, { cite: "Linux vfio_group_fops_open()" });
  }
  session.openGroups.set(id, { container: undefined, devices: new Set() });
}

function setContainer(session: Session, groupNumber: number, name: string, space: string): void {
  const group = session.openGroups.get(groupNumber);
  if (group === undefined || group.container !== undefined) {
    throw new UapiError("EINVAL", "the group is not open, or has a container", {
      cite: "Linux vfio_group_ioctl_set_container()",
    });
  }
  const fd = session.context(name);
  const id = fd.vfio.ensureIoas();
  group.container = fd;
  session.objects.set(space, { kind: "space", fd, id });
}

function closeGroup(session: Session, id: number): void {
  const group = session.openGroups.get(id);
  for (const name of group?.devices ?? []) {
    const bound = session.bound.get(name);
    if (bound !== undefined) bound.fd.unbind(bound.object);
    session.bound.delete(name);
  }
  session.openGroups.delete(id);
}

function groupId(session: Session, device: Bdf): number {
  return session.world.isolation.groupOf(device)?.id ?? -1 - device;
}
