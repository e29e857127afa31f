/** Actions on devices: binding, attaching, reports, kernel drivers, and changes of the machine. */
import { UapiError } from "../abi/index.js";
import {
  type Domain,
  type DriverDeclaration,
  fixedSlice,
  hasPasidCapability,
  plainDevice,
  SoftwareDriver,
} from "../driver/index.js";
import type { AttachPolicy } from "../iommufd/index.js";
import { leavesDmaAlone } from "../isolation/index.js";
import { type Bdf, makePasid, type Pasid } from "../units/index.js";
import { decode } from "./actions-objects.js";
import { SLICES } from "./declarations.js";
import { closeDevice, enableDma, forgetBound, forgetGone } from "./device-files.js";
import { checkEmpty, closeContainer, openByGroup } from "./legacy-groups.js";
import { attempt, type StepOutcome } from "./outcome.js";
import type { ActionArguments } from "./scenario-shape.js";
import { need, ScriptError, type Session } from "./session.js";

const OK: StepOutcome = {};

export function bind(session: Session, args: ActionArguments<"bind">): StepOutcome {
  return attempt(() => {
    const name = args.device;
    if (args.byGroup === true) return openByGroup(session, name);
    const fd = session.context(need(args.to, "bind needs to, or byGroup"));
    const isMediated = session.world.machine.platform.mediated.has(name);
    const bdf = isMediated ? undefined : session.bdf(name);
    const group = bdf === undefined ? undefined : session.vfio.find(bdf);
    const cookie = args.cookie === undefined ? undefined : BigInt(args.cookie);
    const bindIt = () => {
      checkUnbound(session, name);
      return fd.bind({ dma: dmaDevice(session, args), cookie });
    };
    const object =
      bdf === undefined || group === undefined ? bindIt() : group.bindByFile(bdf, bindIt);
    session.bound.set(name, { fd, object });
    if (bdf !== undefined) enableDma(session, name, args.ats !== false);
    if (bdf !== undefined) session.world.driver.allowNoSnoop(bdf, args.noSnoop !== false);
    return OK;
  });
}

function checkUnbound(session: Session, name: string): void {
  if (!session.bound.has(name)) return;
  throw new UapiError("EINVAL", "the device is bound already", {
    cite: "Linux vfio_df_ioctl_bind_iommufd()",
  });
}

function dmaDevice(session: Session, args: ActionArguments<"bind">) {
  const { world } = session;
  const mediated = world.machine.platform.mediated.get(args.device);
  if (mediated?.kind === "software") {
    return need(new SoftwareDriver("software", args.device).devices[0], "no software device");
  }
  if (mediated !== undefined) {
    const { parent, pasid } = mediated;
    return pasid === undefined
      ? session.parent(parent).createSlice(args.device)
      : fixedSlice(world.driver, parent, args.device, pasid, SLICES);
  }
  const fn = session.function(args.device);
  if (fn.isBridge) {
    throw new UapiError("EINVAL", "a bridge is handed out to nobody: its header is not of type 0", {
      cite: "Linux vfio_pci_core_register_device()",
    });
  }
  session.parents.get(fn.bdf)?.checkWhole();
  const routing = args.mode ?? "rid+pasid";
  const declaration: DriverDeclaration = {
    name: "vfio-pci",
    routing,
    pasids: routing === "rid" ? 0 : 2 ** 20,
    noSnoop: args.noSnoop !== false,
    ats: args.ats !== false,
    pri: args.ats !== false,
    translatedOnly: args.translatedOnly === true,
  };
  const options = { label: args.device, hasPasids: hasPasidCapability(fn) };
  return plainDevice(world.driver, fn.bdf, declaration, options);
}

export function attach(session: Session, args: ActionArguments<"attach">): StepOutcome {
  const { fd, object } = session.ownDevice(args.device);
  const ptId = session.target(args.to);
  return attempt(() => {
    fd.attach({ device: object, ptId, pasid: pasidOf(args.pasid), policy: policyOf(args) });
    return OK;
  });
}

export function replace(session: Session, args: ActionArguments<"replace">): StepOutcome {
  const { fd, object } = session.ownDevice(args.device);
  const ptId = session.target(args.to);
  return attempt(() => {
    fd.replace({ device: object, ptId, pasid: pasidOf(args.pasid), policy: policyOf(args) });
    return OK;
  });
}

export function detach(session: Session, args: ActionArguments<"detach">): StepOutcome {
  const { fd, object } = session.ownDevice(args.device);
  fd.detach(object, pasidOf(args.pasid));
  return OK;
}

/** Closes a device, a context with all its devices, or a container. */
export function close(session: Session, args: ActionArguments<"close">): StepOutcome {
  if (typeof args !== "string") {
    const { object } = session.device(args.device);
    closeDevice(session, args.device);
    const parent = session.world.machine.platform.mediated.get(args.device)?.parent;
    if (parent !== undefined) session.parents.get(parent)?.removeSlice(object.dma);
    return OK;
  }
  if (closeContainer(session, args)) return OK;
  const fd = session.context(args);
  checkEmpty(session, fd, args);
  fd.close();
  session.contexts.delete(args);
  session.world.contexts.delete(fd);
  for (const [name, bound] of session.bound) if (bound.fd === fd) forgetBound(session, name);
  for (const [name, object] of session.objects) {
    if (object.fd === fd) session.objects.delete(name);
  }
  return OK;
}

export function setPolicy(session: Session, args: ActionArguments<"policy">): StepOutcome {
  session.context(args.of).setPolicy(policyOf({ policy: args.pasid, ...args }));
  return OK;
}

export function report(session: Session, args: ActionArguments<"report">): StepOutcome {
  const { fd, object } = session.device(args.device);
  return attempt(() => {
    const found = fd.report(object.id);
    const others = found.aliasSet.filter((bdf) => bdf !== found.device);
    const ends = (bdfs: typeof others) =>
      bdfs.filter((bdf) => session.world.machine.fabric.function(bdf)?.isBridge !== true);
    return {
      mustShare: found.mustShare,
      with: ends(others).map((bdf) => session.nameOf(bdf)),
      group: ends([...found.isolationGroup]).map((bdf) => session.nameOf(bdf)),
      pasid: found.pasid.ok,
      pasids: object.dma.capabilities?.maxPasids ?? 0,
      pasidSpaceOf: [...session.bound]
        .filter(([, { object: o }]) => o.dma.pasidSpace === found.pasidSpace)
        .map(([name]) => name),
      exposed: found.exposed.length > 0,
      ranges: found.permitted,
      evidence: [...found.mustShareBecause, ...found.pasid.because],
    };
  });
}

/** A kernel driver takes a device, or lets go of it. */
export function kernelDriver(session: Session, args: ActionArguments<"driver">): StepOutcome {
  const { ownership } = session.world;
  const bdf = session.bdf(args.device);
  return attempt(() => {
    if (args.bind !== undefined && !leavesDmaAlone(args.bind)) ownership.claimForKernel(bdf);
    if (args.unbind === true) ownership.releaseForKernel(bdf);
    return OK;
  });
}

/** How the rule set groups some devices: those in the first one's group, and how many groups. */
export function groups(session: Session, args: ActionArguments<"groups">): StepOutcome {
  const { groupOf } = session.world.analysis().partition;
  const ids = args.of.map((name) => groupOf.get(session.bdf(name)));
  const together = args.of.filter((_, i) => ids[i] !== undefined && ids[i] === ids[0]);
  return { together, count: new Set(ids).size };
}

/** The device, and what is below it, is gone: its users are unbound first. */
export function unplug(session: Session, name: string): StepOutcome {
  const { machine, driver } = session.world;
  const { bdf } = session.function(name);
  const gone = machine.below(bdf);
  forgetGone(session, gone);
  for (const each of gone) driver.removeDevice(each);
  session.unplugged.set(name, machine.unplug(bdf));
  return { count: gone.length };
}

export function plug(session: Session, name: string): StepOutcome {
  const { machine, driver } = session.world;
  const back = need(session.unplugged.get(name), `"${name}" was not unplugged`);
  machine.plug(back);
  session.unplugged.delete(name);
  const { isolation, ownership } = session.world;
  for (const each of back) {
    if (isolation.groupOf(each) === undefined) continue;
    const owned = ownership.ownerOf(each) !== undefined;
    if (owned) driver.attach(each, undefined, tableOf(session, each) ?? driver.blocked(each));
    else driver.attachDefault(each);
  }
  return { count: back.length };
}

/** The table that those who move together with a device are on (Linux iommu_probe_device()). */
function tableOf(session: Session, device: Bdf): Domain | undefined {
  for (const fd of session.world.contexts) {
    for (const { pasid, members, hwpt } of fd.state.slots.all()) {
      if (pasid === undefined && members.includes(device)) return hwpt.domain;
    }
  }
  return undefined;
}

/** Registers are within reach of whoever has bound the device. */
export function readRegisters(session: Session, args: ActionArguments<"mmio">): StepOutcome {
  session.device(args.device);
  const endpoint = session.world.machine.endpoint(session.bdf(args.device));
  return { data: decode(endpoint?.readBar(0, args.offset, 4) ?? new Uint8Array(0)) };
}

/** Moves or closes the memory window of a bridge; contexts may refuse it. */
export function setWindow(session: Session, args: ActionArguments<"window">): StepOutcome {
  const { machine } = session.world;
  const { bdf, isBridge } = session.function(args.bridge);
  if (!isBridge) throw new ScriptError(`"${args.bridge}" is no bridge`);
  const before = machine.configRead(bdf, 0x20, 4);
  const first = BigInt(args.first ?? 0);
  const last = BigInt(args.last ?? 0);
  const given = args.first !== undefined && args.last !== undefined && first <= last;
  if (given === (args.closed === true)) {
    throw new ScriptError("window needs first and last, in this order, or closed");
  }
  const word =
    args.closed === true
      ? 0x0000_fff0
      : Number(((first >> 16n) & 0xfff0n) | (((last >> 16n) & 0xfff0n) << 16n));
  return attempt(() => {
    machine.configWrite(bdf, 0x20, 4, word);
    try {
      for (const fd of session.contexts.values()) fd.updateWindows();
    } catch (error) {
      machine.configWrite(bdf, 0x20, 4, before);
      throw error;
    }
    return OK;
  });
}

function pasidOf(value: number | undefined): Pasid | undefined {
  return value === undefined ? undefined : makePasid(value);
}

function policyOf(args: {
  readonly policy?: AttachPolicy["pasid"];
  readonly excludeRidWindows?: boolean | undefined;
}): AttachPolicy {
  const { policy, excludeRidWindows } = args;
  return {
    ...(policy === undefined ? {} : { pasid: policy }),
    ...(excludeRidWindows === undefined ? {} : { excludeRidWindows }),
  };
}
