/**
 * The way in by groups, as programs written before /dev/iommu use it: open a group, put it in a
 * container or in a context in its stead, choose type1, get device files. One address space serves
 * them all.
 */
import { UapiError } from "../abi/index.js";
import { VfioExtension, VfioMapFlag, VfioUnmapFlag } from "../iommufd/index.js";
import { VfioContainer } from "../vfio/index.js";
import { closeDevice, enableDma } from "./device-files.js";
import type { StepOutcome } from "./outcome.js";
import { makeProcess } from "./process-memory.js";
import type { ActionArguments } from "./scenario-shape.js";
import { need, ScriptError, type Session } from "./session.js";

const PAGE = 4096n;
const OK: StepOutcome = {};

/** Opens a group, puts it in a container or takes it out, closes it. */
export function legacyGroup(session: Session, args: ActionArguments<"group">): StepOutcome {
  const group = session.vfio.of(session.bdf(args.of));
  if (args.open === true) group.open();
  if (args.container !== undefined) {
    const target = session.containers.get(args.container) ?? session.context(args.container);
    group.setContainer(target);
    if (args.space !== undefined && !(target instanceof VfioContainer)) {
      session.objects.set(args.space, { kind: "space", fd: target, id: target.vfio.ioasId });
    }
  }
  if (args.leave === true) group.unsetContainer();
  const status = args.status === true ? group.status() : OK;
  if (args.close === true) {
    for (const [name, { file }] of session.bound) {
      if (file !== undefined && group.members.includes(file.bdf)) closeDevice(session, name);
    }
    group.close();
  }
  return status;
}

/** Opens a container; asks for an extension, or chooses the kind of address space. */
export function container(session: Session, args: ActionArguments<"container">): StepOutcome {
  if (typeof args === "string") return openContainer(session, args);
  const calls = callsOf(session, args.of);
  if (args.extension !== undefined) {
    return { count: calls.checkExtension(VfioExtension[args.extension]) ? 1 : 0 };
  }
  if (args.type !== undefined) calls.setIommu(VfioExtension[args.type]);
  return OK;
}

function openContainer(session: Session, name: string): StepOutcome {
  const { world } = session;
  const process = makeProcess(name, world.process, Number.POSITIVE_INFINITY);
  const made = new VfioContainer(world, process);
  session.containers.set(name, made);
  world.contexts.add(made.iommufd);
  return OK;
}

/** A device file by its group: bound, and attached to the one address space. */
export function openByGroup(session: Session, name: string): StepOutcome {
  if (session.bound.get(name)?.file !== undefined) {
    throw new ScriptError(`device "${name}" is open already; scenarios open it once`);
  }
  const bdf = session.bdf(name);
  const group = session.vfio.of(bdf);
  if (group.container === undefined) {
    throw new UapiError("EINVAL", "the group has no container", {
      cite: "Linux vfio_group_ioctl_get_device_fd()",
    });
  }
  const file = group.openDevice(bdf);
  session.bound.set(name, { fd: file.iommufd, object: file.object, file });
  enableDma(session, name, true);
  return OK;
}

export function mapDma(session: Session, args: ActionArguments<"mapDma">): StepOutcome {
  const buffer = need(session.world.process.find(args.memory), `no memory "${args.memory}"`);
  const access = args.access ?? "rw";
  callsOf(session, args.of).mapDma({
    flags:
      (access.includes("r") ? VfioMapFlag.read : 0) |
      (access.includes("w") ? VfioMapFlag.write : 0),
    vaddr: BigInt(buffer.firstPage + (args.page ?? 0)) * PAGE,
    iova: BigInt(args.at),
    size: BigInt(args.pages ?? 1) * PAGE,
  });
  return OK;
}

/** The outcome counts pages. */
export function unmapDma(session: Session, args: ActionArguments<"unmapDma">): StepOutcome {
  const all = args.all === true;
  const removed = callsOf(session, args.of).unmapDma({
    flags: all ? VfioUnmapFlag.all : 0,
    iova: BigInt(args.at ?? 0),
    size: all ? 0n : BigInt(args.pages ?? 1) * PAGE,
  });
  return { count: Number(removed / PAGE) };
}

export function compatSpace(session: Session, args: ActionArguments<"compatSpace">): StepOutcome {
  const fd = session.context(args.of);
  if (args.set !== undefined) {
    const space = session.object(args.set, "space");
    if (space.fd !== fd) throw new ScriptError(`"${args.set}" is a space of another context`);
    fd.vfio.setIoas(space.id);
  }
  if (args.clear === true) fd.vfio.clearIoas();
  if (args.get !== undefined) {
    session.objects.set(args.get, { kind: "space", fd, id: fd.vfio.ioasId });
  }
  return OK;
}

/** Closes a container. @returns false when none has the name. */
export function closeContainer(session: Session, name: string): boolean {
  const found = session.containers.get(name);
  if (found === undefined) return false;
  checkEmpty(session, found, name);
  session.world.contexts.delete(found.iommufd);
  session.containers.delete(name);
  return true;
}

/** Scenarios close groups before what they are in. */
export function checkEmpty(session: Session, container: object, name: string): void {
  for (const bdf of session.world.machine.names.values()) {
    if (session.vfio.find(bdf)?.container !== container) continue;
    throw new ScriptError(`a group is in "${name}"; close the group first`);
  }
}

/** Who answers container calls: a container, or a context in its stead. */
function callsOf(session: Session, name: string) {
  return session.containers.get(name) ?? session.context(name).vfio;
}
