/** Actions on contexts, spaces, page tables, accesses and queues. */
import { UapiError } from "../abi/index.js";
import { HwptFlag, Iommufd, MapFlag } from "../iommufd/index.js";
import type { Bdf, Span } from "../units/index.js";
import { guestTableData } from "./guest-table.js";
import { attempt, type StepOutcome } from "./outcome.js";
import { makeProcess } from "./process-memory.js";
import type { ActionArguments } from "./scenario-shape.js";
import { type NamedAccess, need, ScriptError, type Session } from "./session.js";

const PAGE = 4096n;
/** Of all buffers of a scenario: 4 GiB. */
const MEMORY_PAGES_MAX = 2 ** 20;
/** Of an unmap: all there is. */
const EVERYTHING = 2n ** 64n - 1n;
const OK: StepOutcome = {};

export function openContext(session: Session, args: ActionArguments<"context">): StepOutcome {
  const name = session.newName(typeof args === "string" ? args : args.name);
  const limit = typeof args === "string" ? undefined : args.memoryLimit;
  const { world } = session;
  const process = makeProcess(name, world.process, limit ?? Number.POSITIVE_INFINITY);
  const fd = new Iommufd(world, process);
  session.contexts.set(name, fd);
  world.contexts.add(fd);
  return OK;
}

export function addMemory(session: Session, args: ActionArguments<"memory">): StepOutcome {
  const buffers = session.world.process;
  const { pages = 1 } = args;
  const name = session.newName(args.name);
  if (buffers.pages + pages > MEMORY_PAGES_MAX) {
    throw new ScriptError(`a scenario has at most ${MEMORY_PAGES_MAX} pages of memory`);
  }
  buffers.add(name, pages);
  return OK;
}

export function makeSpace(session: Session, args: ActionArguments<"space">): StepOutcome {
  const name = session.newName(args.name);
  const fd = session.context(args.in);
  const over = args.over === undefined ? undefined : session.object(args.over, "space").id;
  return attempt(() => {
    if (over !== undefined && session.world.rules === "linux-7.2") {
      throw new UapiError("EOPNOTSUPP", "Linux merges no address spaces in software");
    }
    const id =
      over === undefined
        ? fd.ioasAlloc({ enforceCoherency: args.snoop === true })
        : fd.nestedIoasAlloc(over);
    session.objects.set(name, { kind: "space", fd, id });
    return OK;
  });
}

export function makeTable(session: Session, args: ActionArguments<"table">): StepOutcome {
  const name = session.newName(args.name);
  const { fd, object } = session.device(args.device);
  const on = session.object(args.on, "space", "table");
  const fault = args.faults === undefined ? undefined : session.object(args.faults, "queue").id;
  const guest = args.guest === undefined ? undefined : session.guestTables.get(args.guest);
  const on1 = (is: boolean | undefined, bit: number) => (is === true ? bit : 0);
  const flags =
    on1(args.pasid, HwptFlag.pasid) |
    on1(args.nestParent, HwptFlag.nestParent) |
    on1(args.dirty, HwptFlag.dirtyTracking) |
    on1(fault !== undefined, HwptFlag.faultIdValid);
  return attempt(() => {
    const data = guest === undefined ? undefined : guestTableData(guest);
    const id = fd.hwptAlloc({ flags, devId: object.id, ptId: on.id, data, faultId: fault });
    session.objects.set(name, { kind: "table", fd, id });
    return OK;
  });
}

export function map(session: Session, args: ActionArguments<"map">): StepOutcome {
  const space = session.object(args.space);
  const length = BigInt(args.pages ?? 1) * PAGE;
  const at = args.at === undefined ? undefined : placeOf(session, args.at);
  const flags = accessFlags(args.access) | (at === undefined ? 0 : MapFlag.fixedIova);
  const { fd } = space;
  if (args.parent !== undefined) {
    const parentIova = BigInt(args.parent);
    const nested = { childId: space.id, flags, iova: at, parentIova, length };
    return attempt(() => ({ at: fd.nestedIoasMap(nested) }));
  }
  const name = need(args.memory, "map needs memory, or parent in a nested space");
  const buffer = need(session.world.process.find(name), `no memory is named "${name}"`);
  const userVa = BigInt(buffer.firstPage + (args.page ?? 0)) * PAGE;
  return attempt(() => ({
    at: fd.ioasMap({ ioasId: space.id, flags, userVa, length, iova: at }),
  }));
}

export function unmap(session: Session, args: ActionArguments<"unmap">): StepOutcome {
  const { fd, id } = session.object(args.space, "space");
  const length = BigInt(args.pages ?? 1) * PAGE;
  return attempt(() => {
    if (args.all === true) fd.ioasUnmap(id, 0n, EVERYTHING);
    else fd.ioasUnmap(id, placeOf(session, args.at), length);
    return toldOutcome(session);
  });
}

/** The area that holds `at`, or a part of it, in another space of the same context. */
export function copy(session: Session, args: ActionArguments<"copy">): StepOutcome {
  const from = session.object(args.from, "space");
  const to = session.object(args.to, "space");
  if (from.fd !== to.fd) throw new ScriptError("the two spaces are in different contexts");
  const dstIova = args.toAt === undefined ? undefined : BigInt(args.toAt);
  const flags = accessFlags(args.access) | (dstIova === undefined ? 0 : MapFlag.fixedIova);
  return attempt(() => ({
    at: from.fd.ioasCopy({
      srcIoasId: from.id,
      dstIoasId: to.id,
      srcIova: BigInt(args.at),
      dstIova,
      length: BigInt(args.pages ?? 1) * PAGE,
      flags,
    }),
  }));
}

function accessFlags(access: "r" | "w" | "rw" = "rw"): number {
  return (
    (access.includes("r") ? MapFlag.readable : 0) | (access.includes("w") ? MapFlag.writeable : 0)
  );
}

export function allow(session: Session, args: ActionArguments<"allow">): StepOutcome {
  const { fd, id } = session.object(args.space, "space");
  const spans = args.ranges.map(
    ([first = 0, last = 0]): Span => ({ first: BigInt(first), last: BigInt(last) }),
  );
  return attempt(() => {
    fd.ioasAllowIovas(id, spans);
    return OK;
  });
}

export function ranges(session: Session, args: ActionArguments<"ranges">): StepOutcome {
  const { fd, id } = session.object(args.space, "space");
  return attempt(() => {
    const found = fd.ioasIovaRanges(id, args.room);
    return { ranges: found.ranges, count: found.total };
  });
}

export function destroy(session: Session, name: string): StepOutcome {
  const { fd, id } = session.object(name);
  return attempt(() => {
    fd.destroy(id);
    session.objects.delete(name);
    session.destroyed.add(name);
    return OK;
  });
}

export function makeQueue(session: Session, args: ActionArguments<"queue">): StepOutcome {
  const name = session.newName(args.name);
  const fd = session.context(args.in);
  return attempt(() => {
    const queue = fd.faultQueueAlloc();
    session.objects.set(name, { kind: "queue", fd, id: queue.id, queue });
    return OK;
  });
}

/** Reads all faults; the outcome describes the first one. */
export function readFaults(session: Session, name: string): StepOutcome {
  const { fd, queue } = session.object(name, "queue");
  if (queue === undefined) return OK;
  return attempt(() => {
    const messages = queue.read(Number.MAX_SAFE_INTEGER);
    for (const { cookie } of messages) session.cookies.push(cookie);
    const [first] = messages;
    if (first === undefined) return { count: 0 };
    const bdf: Bdf | undefined = fd.device(first.devId).dma.function;
    return {
      count: messages.length,
      device: bdf === undefined ? undefined : session.nameOf(bdf),
      faultPasid: first.pasid,
      address: first.address,
    };
  });
}

export function answer(session: Session, args: ActionArguments<"answer">): StepOutcome {
  const { queue } = session.object(args.queue, "queue");
  const cookie = args.cookie ?? need(session.cookies.shift(), "no fault was read");
  return attempt(() => {
    queue?.respond(cookie, args.with === "success" ? 0 : 1);
    return OK;
  });
}

export function makeAccess(session: Session, args: ActionArguments<"access">): StepOutcome {
  const name = session.newName(args.name);
  const { fd, id } = session.object(args.space, "space");
  return attempt(() => {
    const object = fd.createAccess({
      pinsPages: args.pins === true,
      unmap: (access, iova, length) => {
        named.told++;
        access.unpinRange(iova, length);
      },
    });
    const named: NamedAccess = { object, pins: [], told: 0 };
    object.attach(fd.ioas(id));
    session.objects.set(name, { kind: "access", fd, id: object.id, access: named });
    return OK;
  });
}

export function pin(session: Session, args: ActionArguments<"pin">): StepOutcome {
  const access = need(session.object(args.access, "access").access, "no access");
  return attempt(() => {
    const length = BigInt(args.pages ?? 1) * PAGE;
    const taken = access.object.pin(BigInt(args.at), length);
    access.pins.push(taken);
    return { ...landsAt(session, taken.frames[0] ?? -1, 0), count: access.object.pinCount };
  });
}

export function unpin(session: Session, name: string): StepOutcome {
  const access = need(session.object(name, "access").access, "no access");
  const last = need(access.pins.pop(), "nothing is pinned");
  access.object.unpin(last);
  return { count: access.object.pinCount };
}

/** Reads or writes what a space maps, through an access or a software device. */
export function peek(session: Session, args: ActionArguments<"peek">): StepOutcome {
  const object =
    session.objects.get(args.access)?.access?.object ??
    session.bound.get(args.access)?.object.access;
  const access = need(object, `"${args.access}" is no access`);
  const write = args.write === undefined ? undefined : encode(args.write);
  return attempt(() => {
    const bytes = write ?? new Uint8Array(args.read ?? 1);
    access.readWrite(BigInt(args.at), bytes, { write: write !== undefined });
    return { data: write === undefined ? decode(bytes) : undefined };
  });
}

export function showMemory(session: Session, args: ActionArguments<"show">): StepOutcome {
  const buffer = need(session.world.process.find(args.memory), `no memory "${args.memory}"`);
  const bytes = new Uint8Array(args.length ?? 16);
  buffer.backing.read((args.page ?? 0) * 4096 + (args.offset ?? 0), bytes);
  return { data: decode(bytes).replace(/\0+$/u, "") };
}

/** The place of a frame in the scenario's memory. */
export function landsAt(session: Session, pfn: number, offset: number): StepOutcome {
  const place = session.world.process.placeOf(pfn);
  if (place === undefined) return {};
  return { lands: { memory: place.buffer.name, page: place.page, offset } };
}

/** An address, or a place in a device's BAR. */
export function placeOf(session: Session, place: ActionArguments<"dma">["at"]): bigint {
  if (typeof place !== "object") return BigInt(place);
  const fn = session.function(place.bar);
  const index = place.index ?? 0;
  const base = fn.bars?.find((bar) => bar.index === index)?.base;
  return need(base, `"${place.bar}" has no BAR ${index}`) + BigInt(place.offset ?? 0);
}

function toldOutcome(session: Session): StepOutcome {
  let told = 0;
  for (const { access } of session.objects.values()) told += access?.told ?? 0;
  return { unmapped: told };
}

export function encode(text: string): Uint8Array {
  return Uint8Array.from(text, (c) => c.charCodeAt(0) & 0xff);
}

export function decode(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
