/**
 * What devices do: DMA and interrupts, honest or forged, and where it ended.
 *
 * A device is driven through its registers. Software looks at its queues after each transaction, as
 * it would on an interrupt of the unit: faults are recorded, page requests delivered.
 */

import {
  AddressMode,
  type BarAccess,
  type EngineCommand,
  type EngineOutcome,
  Opcode,
  readLocal,
  readOutcome,
  startCommand,
  writeLocal,
} from "../devices/index.js";
import type { InterruptMessage } from "../driver/index.js";
import type { Delivery, TraceRecord } from "../machine/index.js";
import { type Bdf, makePasid, type Pasid, ridOf } from "../units/index.js";
import { decode, encode, landsAt, placeOf } from "./actions-objects.js";
import { attempt, type StepOutcome } from "./outcome.js";
import type { ActionArguments } from "./scenario-shape.js";
import { need, ScriptError, type Session } from "./session.js";

const MODES = {
  untranslated: AddressMode.Untranslated,
  ats: AddressMode.Ats,
  translated: AddressMode.RawTranslated,
} as const;

/** Ends of a transaction at which something was read or written. */
const REACHED: readonly Delivery["kind"][] = ["memory", "peer", "interrupt"];

export function dma(
  session: Session,
  args: ActionArguments<"dma">,
  trace: readonly TraceRecord[],
): StepOutcome {
  const asked = [args.write !== undefined, args.read !== undefined, args.translate === true];
  if (asked.filter((is) => is).length !== 1) {
    throw new ScriptError("dma needs one of write, read and translate");
  }
  const sender = senderOf(session, args.device, args.pasid);
  if (sender === undefined) return softwareDma(session, args);
  const { engine, pasid } = sender;
  const bar = barOf(session, engine);
  const at = placeOf(session, args.at);
  const command = commandOf(session, args, at, pasid);
  if (args.write !== undefined) writeLocal(bar, 0, encode(args.write));
  startCommand(bar, command);
  session.world.driver.poll();
  const outcome = readOutcome(bar);
  const read = args.read === undefined ? undefined : decode(readLocal(bar, 0, args.read));
  return describe(session, trace, engine, outcome, read?.replace(/\0+$/u, ""));
}

/** Which function sends, and with which PASID, when a device does DMA. */
function senderOf(
  session: Session,
  name: string,
  user: number | undefined,
): { engine: Bdf; pasid: Pasid | undefined } | undefined {
  const mediated = session.world.machine.platform.mediated.get(name);
  const pasid = user === undefined ? undefined : makePasid(user);
  if (mediated === undefined) return { engine: session.bdf(name), pasid };
  const bound = session.device(name);
  // A slice's driver puts the PASID of the slot into the device's registers.
  const slot = bound.object.attachments.get(pasid)?.hardware;
  return slot === undefined ? undefined : { engine: slot.device, pasid: slot.pasid };
}

function commandOf(
  session: Session,
  args: ActionArguments<"dma">,
  at: bigint,
  pasid: Pasid | undefined,
): EngineCommand {
  const mode = MODES[args.via ?? "untranslated"];
  const forged = args.as === undefined ? undefined : ridOf(session.bdf(args.as));
  const common = {
    mode,
    pasid,
    privileged: args.privileged,
    execute: args.execute,
    noSnoop: args.noSnoop,
    requestPages: args.pages,
    requester: forged,
    hostile: forged !== undefined || args.via === "translated" || args.hostile === true,
    chunk: 4096,
  };
  if (args.translate === true) return { ...common, opcode: Opcode.Translate, source: at };
  if (args.read !== undefined) {
    const length = args.read;
    return { ...common, opcode: Opcode.Copy, source: at, destinationLocal: true, length };
  }
  const length = encode(args.write ?? "").length;
  return { ...common, opcode: Opcode.Copy, sourceLocal: true, destination: at, length };
}

/** The driver of a software device moves the bytes itself. */
function softwareDma(session: Session, args: ActionArguments<"dma">): StepOutcome {
  const access = need(
    session.device(args.device).object.access,
    `"${args.device}" is attached to no space`,
  );
  return attempt(() => {
    const bytes = args.write === undefined ? new Uint8Array(args.read ?? 1) : encode(args.write);
    access.readWrite(BigInt(placeOf(session, args.at)), bytes, { write: args.write !== undefined });
    return { unseen: true, data: args.write === undefined ? decode(bytes) : undefined };
  });
}

/** The last thing that happened, in the words of expectations. */
function describe(
  session: Session,
  trace: readonly TraceRecord[],
  engine: Bdf,
  outcome: EngineOutcome,
  data: string | undefined,
): StepOutcome {
  const delivered = trace.filter((record) => record.kind === "delivered").at(-1);
  const seen = trace.some((record) => record.kind === "unit");
  const waits = session.world.machine.engine(engine)?.isBusy === true;
  const reaches = delivered?.kind === "delivered" && REACHED.includes(delivered.delivery.kind);
  const common = { error: outcome.error, waits, unseen: !seen, data, reaches };
  if (delivered?.kind !== "delivered") return common;
  return { ...common, ...deliveryOutcome(session, delivered.delivery) };
}

/** Where a transaction ended. */
export function deliveryOutcome(session: Session, delivery: Delivery): StepOutcome {
  switch (delivery.kind) {
    case "memory": {
      const { address } = delivery;
      return landsAt(session, Number(address >> 12n), Number(address & 0xfffn));
    }
    case "peer":
      return { peer: session.nameOf(delivery.device) };
    case "fault":
      return { fault: delivery.name };
    case "lost":
      return { lost: delivery.why };
    case "interrupt":
      return { interrupt: true };
    default:
      return {};
  }
}

/**
 * The device raises an interrupt that software has set up for it; `as` another requester, or with a
 * message that nobody set up.
 */
export function interrupt(
  session: Session,
  args: ActionArguments<"interrupt">,
  trace: readonly TraceRecord[],
): StepOutcome {
  const bdf = session.bdf(args.device);
  const bar = barOf(session, bdf);
  const message = args.at === undefined ? messageFor(session, bdf) : undefined;
  const forged = args.as === undefined ? undefined : ridOf(session.bdf(args.as));
  const outcome = startCommand(bar, {
    opcode: Opcode.Message,
    destination: message === undefined ? BigInt(args.at ?? 0) : BigInt(message.address),
    pattern: BigInt(args.data ?? message?.data ?? 0),
    requester: forged,
    hostile: forged !== undefined,
  });
  session.world.driver.poll();
  return describe(session, trace, bdf, outcome, undefined);
}

/** An interrupt of the device's own; without remapping its plain message. */
function messageFor(session: Session, bdf: Bdf): Pick<InterruptMessage, "address" | "data"> {
  const unit = session.world.machine.unitOf(bdf)?.iommu;
  const own = session.world.driver.vtd.units.find((u) => u.iommu === unit);
  const found = session.messages.get(bdf);
  if (found !== undefined) return found;
  const rid = session.world.analysis().requesterIds(bdf)?.ids.at(-1)?.rid ?? ridOf(bdf);
  const made = own?.interrupts?.allocate(
    { kind: "requester", rid },
    { vector: 0x41, destination: 0 },
  ) ?? { address: 0xfee0_0000, data: 0x41 };
  session.messages.set(bdf, made);
  return made;
}

function barOf(session: Session, bdf: Bdf): BarAccess {
  const engine = need(
    session.world.machine.engine(bdf),
    `"${session.nameOf(bdf)}" has no engine, or is not there`,
  );
  return {
    read: (offset, length) => engine.readBar(0, offset, length),
    write: (offset, data) => engine.writeBar(0, offset, data),
  };
}
