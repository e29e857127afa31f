/**
 * The safety rules of owned devices, checked after every step. They look at what the driver and the
 * hardware hold, not at what the objects believe.
 *
 *   1  an owned device is blocked or on a table of its owner
 *   2  an isolation group has one owner
 *   3  no hardware entry, in memory or cached, points at a table that is gone or another owner's
 *   4  a slot has one attachment
 *   5  devices of one alias set have equal tables
 *   6  never the kernel's own space while owned
 *   7  a request that a unit translated touched memory mapped for its (RID, PASID) only
 */
import type { Domain, NestedDomain, PagingDomain } from "../driver/index.js";
import type { Hwpt, Ioas, Iommufd } from "../iommufd/index.js";
import type { MachineUnit, TraceRecord } from "../machine/index.js";
import { type Bdf, bdfFromRid, formatBdf } from "../units/index.js";
import { type HardwareEntry, readHardwareTables, readWord } from "./hardware-tables.js";
import { nestedFrame } from "./nested-walk.js";
import type { Session } from "./session.js";

/** A rule that does not hold, and where. */
export interface Broken {
  /** R7's number. */
  readonly rule: number;
  readonly text: string;
}

/** @param trace what the step's transactions did. */
export function brokenInvariants(session: Session, trace: readonly TraceRecord[]): Broken[] {
  const out: Broken[] = [];
  const owners = ownersByGroup(session, out);
  for (const [members, fd] of owners) checkMembers(session, members, fd, out);
  checkCaches(session, out);
  checkTables(session, owners, out);
  checkSlots(session, out);
  checkTransactions(session, trace, out);
  return out;
}

/** Groups that users own: their members, and the context of whoever bound one of them. */
function ownersByGroup(session: Session, out: Broken[]): Map<readonly Bdf[], Iommufd> {
  const owners = new Map<readonly Bdf[], Iommufd>();
  for (const { fd, object } of session.bound.values()) {
    const bdf = object.dma.function;
    if (bdf === undefined || object.dma.mediated) continue;
    const members = session.world.isolation.groupOf(bdf)?.members ?? [bdf];
    const other = owners.get(members);
    if (other !== undefined && other !== fd) {
      out.push({ rule: 2, text: `the group of ${formatBdf(bdf)} has two owners` });
    }
    owners.set(members, fd);
  }
  for (const container of session.containers.values()) {
    for (const { members } of container.groups) owners.set(members, container.iommufd);
  }
  return owners;
}

function checkMembers(session: Session, members: readonly Bdf[], fd: Iommufd, out: Broken[]): void {
  const { driver, isolation, machine } = session.world;
  const own = domainsOf(fd);
  for (const member of members) {
    if (!machine.isPresent(member) || machine.unitOf(member) === undefined) continue;
    const domain = driver.attached(member, undefined);
    const at = formatBdf(member);
    if (domain === undefined) {
      out.push({ rule: 6, text: `${at} is owned and in the kernel's own space` });
    } else if (domain.kind !== "blocked" && !own.has(domain)) {
      out.push({ rule: 1, text: `${at} is on a table that its owner does not have` });
    }
    for (const twin of isolation.aliasSetOf(member)) {
      if (!machine.isPresent(twin) || twin <= member) continue;
      if (sameDomain(domain, driver.attached(twin, undefined))) continue;
      out.push({ rule: 5, text: `${at} and ${formatBdf(twin)} send alike and differ in tables` });
    }
  }
}

function sameDomain(a: Domain | undefined, b: Domain | undefined): boolean {
  return a === b || (a?.kind === "blocked" && b?.kind === "blocked");
}

function domainsOf(fd: Iommufd): Set<Domain> {
  const out = new Set<Domain>();
  for (const object of fd.state.objects.all()) {
    if (object.kind !== "hwpt-paging" && object.kind !== "hwpt-nested") continue;
    out.add((object as Hwpt).domain);
  }
  return out;
}

/**
 * The tables of each unit, read from memory: all of them are tables; an owned device's entries lead
 * to tables of its owner, or to an empty one.
 */
function checkTables(
  session: Session,
  owners: ReadonlyMap<readonly Bdf[], Iommufd>,
  out: Broken[],
): void {
  const { memory, units } = session.world.machine;
  for (const unit of units) {
    const { entries, strays } = readHardwareTables(unit.iommu, memory);
    for (const text of strays) out.push({ rule: 3, text: `${unit.name}: ${text}` });
    for (const [members, fd] of owners) {
      const own = rootsOf(domainsOf(fd));
      const others = [...session.world.contexts].filter((other) => other !== fd);
      const foreign = rootsOf(others.flatMap((other) => [...domainsOf(other)]));
      const requesters = requestersOf(session, members, unit);
      for (const entry of entries) {
        if (unit.iommu.kind !== "single-table" && !requesters.has(entry.requester)) continue;
        if (requesters.size === 0) continue;
        checkEntry(session, unit.name, entry, { own, foreign }, out);
      }
    }
  }
}

function checkEntry(
  session: Session,
  unit: string,
  entry: HardwareEntry,
  roots: { readonly own: ReadonlySet<number>; readonly foreign: ReadonlySet<number> },
  out: Broken[],
): void {
  const { requester, pasid, translation, stage1, stage2 } = entry;
  const where = `${unit}: requester ${requester}, PASID ${pasid ?? "-"}`;
  if (translation === "pass-through") {
    out.push({ rule: 6, text: `${where}: requests of an owned device pass unchanged` });
    return;
  }
  const root = translation === "stage1" ? stage1 : stage2;
  if (root === undefined || roots.own.has(root)) return;
  if (!roots.foreign.has(root) && isEmpty(session, root)) return;
  out.push({ rule: 3, text: `${where} leads to a table that its owner does not have` });
}

/** A table without entries: blocked, where hardware needs a table for that. */
function isEmpty(session: Session, root: number): boolean {
  const { memory } = session.world.machine;
  for (let at = root * 4096; at < (root + 1) * 4096; at += 8) {
    if (readWord(memory, at) !== 0n) return false;
  }
  return true;
}

/** Frames of the first tables that memory has, of paging domains and of those under nested ones. */
function rootsOf(domains: Iterable<Domain>): Set<number> {
  const out = new Set<number>();
  for (const domain of domains) {
    const paging = domain.kind === "nested" ? domain.parent : domain;
    const { root } = paging as { readonly root?: unknown };
    if (typeof root === "number") out.add(root);
  }
  return out;
}

/** Requester IDs under which owned functions' requests reach a unit. */
function requestersOf(
  session: Session,
  members: readonly Bdf[],
  unit: MachineUnit,
): ReadonlySet<number> {
  const { machine } = session.world;
  const out = new Set<number>();
  for (const member of members) {
    if (!machine.isPresent(member) || machine.unitOf(member) !== unit) continue;
    for (const { rid } of session.world.analysis().requesterIds(member)?.ids ?? []) out.add(rid);
  }
  return out;
}

/** Every table root in a unit's caches is a table frame that is there. */
function checkCaches(session: Session, out: Broken[]): void {
  const { memory, units } = session.world.machine;
  for (const { iommu, name } of units) {
    const { contexts, pasids } = iommu.inspect();
    for (const { requester, table } of contexts) {
      if (table !== 0 && memory.useOf(table)?.kind !== "table") {
        out.push({ rule: 3, text: `${name}: requester ${requester} leads to a freed table` });
      }
    }
    for (const { requester, pasid, stage2Table } of pasids) {
      if (stage2Table !== 0 && memory.useOf(stage2Table)?.kind !== "table") {
        const text = `${name}: requester ${requester}, PASID ${pasid} lead to a freed table`;
        out.push({ rule: 3, text });
      }
    }
  }
}

function checkSlots(session: Session, out: Broken[]): void {
  const seen = new Map<string, Iommufd>();
  for (const { fd, object } of session.bound.values()) {
    for (const { hardware } of object.attachments.values()) {
      const key = `${hardware.device} ${hardware.pasid ?? "-"}`;
      const other = seen.get(key);
      if (other !== undefined) out.push({ rule: 4, text: `slot ${key} is attached twice` });
      seen.set(key, fd);
    }
  }
}

/** Follows each transaction that a unit translated by itself, in the driver's own tables. */
function checkTransactions(session: Session, trace: readonly TraceRecord[], out: Broken[]): void {
  const { driver, machine } = session.world;
  let request: Extract<TraceRecord, { kind: "request" }> | undefined;
  let arrived: Bdf | undefined;
  for (const record of trace) {
    if (record.kind === "request") {
      request = record;
      arrived = undefined;
    } else if (record.kind === "unit" && request !== undefined) {
      arrived = bdfFromRid(Math.floor(request.from / 65_536), record.requester);
    } else if (record.kind === "translated" && request?.addressType === "untranslated") {
      if (arrived === undefined || !machine.isPresent(arrived)) continue;
      const domain = driver.attached(arrived, request.prefix?.pasid);
      if (domain === undefined) continue;
      if (mayReach(session, arrived, domain, request, record)) continue;
      const where = `0x${record.address.toString(16)}`;
      const text = `${formatBdf(arrived)} reached ${where}, which is not mapped for it`;
      out.push({ rule: 7, text });
    }
  }
}

type Request = Extract<TraceRecord, { kind: "request" }>;
type Translated = Extract<TraceRecord, { kind: "translated" }>;

/** What the unit gave is what the tables mean. */
function mayReach(
  session: Session,
  arrived: Bdf,
  domain: Domain,
  request: Request,
  { address, source }: Translated,
): boolean {
  const found = Number(address >> 12n);
  if (domain.kind === "paging") return domain.translate(granule(request.address)) === found;
  if (domain.kind !== "nested") return false;
  if (nestedTarget(session, arrived, domain, request) === found) return true;
  // What the guest has changed and not invalidated may be cached: it is the guest's memory still.
  return source === "cache" && isMappedSomewhere(session, domain.parent, found);
}

function nestedTarget(
  session: Session,
  arrived: Bdf,
  { parent }: NestedDomain,
  request: Request,
): number | undefined {
  const { machine } = session.world;
  const unit = machine.unitOf(arrived);
  if (unit === undefined) return undefined;
  const { memory } = machine;
  const requester = arrived & 0xffff;
  const pasid = request.prefix?.pasid;
  const entry = readHardwareTables(unit.iommu, memory).entries.find(
    (e) => e.requester === requester && e.pasid === pasid,
  );
  if (entry?.stage1 === undefined || entry.translation !== "nested") return undefined;
  const host = (guest: number) => parent.translate(guest);
  return nestedFrame(memory, entry.stage1, entry.stage1Levels, host, request.address);
}

/** Some address of the table leads to the frame. */
function isMappedSomewhere(session: Session, domain: PagingDomain, frame: number): boolean {
  for (const fd of session.world.contexts) {
    for (const object of fd.state.objects.all()) {
      if (object.kind !== "ioas" || !(object as Ioas).space.domains.includes(domain)) continue;
      const { areas } = (object as Ioas).space;
      for (areas.toFirst(); areas.found; areas.next()) {
        const last = areas.rows.lastPage(areas.row);
        for (let page = areas.firstPage; page <= last; page++) {
          if (domain.translate(page) === frame) return true;
        }
      }
    }
  }
  return false;
}

function granule(address: bigint): number {
  return Number(address >> 12n);
}
