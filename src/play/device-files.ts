/** Opening and closing devices: by their own files, or through their groups. */
import type { Bdf } from "../units/index.js";
import { need, type Session } from "./session.js";

/** Memory Space Enable and Bus Master Enable (PCIe 6 § 7.5.1.1.3). */
const COMMAND = 0x04;
const ON = 0x0006;

/**
 * What the device's driver does when a user opens it: memory and bus mastering on, in the bridges
 * above too; ATS and page requests as far as they go.
 */
export function enableDma(session: Session, name: string, ats: boolean): void {
  const { machine } = session.world;
  const path = [session.function(name)];
  for (let up = path[0]?.upstreamBridge; up !== undefined; up = up.upstreamBridge) path.push(up);
  for (const { bdf } of path) {
    machine.configWrite(bdf, COMMAND, 2, machine.configRead(bdf, COMMAND, 2) | ON);
  }
  session.world.driver.configure(session.bdf(name), { ats, pageRequests: ats });
}

/** Closes the file of a device that is open. */
export function closeDevice(session: Session, name: string): void {
  const { fd, object, file } = need(session.bound.get(name), `device "${name}" is not open`);
  if (file !== undefined) file.close();
  else fd.unbind(object);
  forgetBound(session, name);
}

/** The device is open no more; whoever closed it has unbound it. */
export function forgetBound(session: Session, name: string): void {
  const found = session.bound.get(name);
  session.bound.delete(name);
  const bdf = found?.object.dma.function;
  if (bdf === undefined || found?.file !== undefined || found?.object.dma.mediated === true) return;
  session.vfio.find(bdf)?.unbound(bdf);
}

/** Devices leave the machine: their files are closed, containers forget them. */
export function forgetGone(session: Session, gone: readonly Bdf[]): void {
  for (const [name, { object }] of session.bound) {
    const at = object.dma.function;
    if (at !== undefined && gone.includes(at)) closeDevice(session, name);
  }
  for (const bdf of gone) session.vfio.find(bdf)?.forgetDevice(bdf);
}
