/**
 * The safety rules of owned devices, checked after every step. They look at what the driver and the
 * hardware hold, not at what the objects believe.
 *
 *   1  an owned device is blocked or on a table of its owner
 *   2  an isolation group has one owner
 *   3  no hardware entry points at a table that is gone
 *   4  a slot has one attachment
 *   5  devices of one alias set have equal tables
 *   6  never the kernel's own space while owned
 *   7  a request that a unit translated touched memory mapped for its (RID, PASID) only
 */
import type { Domain } from "../driver/index.js";
import type { Hwpt, Iommufd } from "../iommufd/index.js";
import type { TraceRecord } from "../machine/index.js";
import { type Bdf, bdfFromRid, formatBdf } from "../units/index.js";
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
      if (domain === undefined || domain.kind === "nested") continue;
      const pages =
        domain.kind === "paging" ? domain.translate(granule(request.address)) : undefined;
      if (pages !== undefined && BigInt(pages) === record.address >> 12n) continue;
      const where = `0x${record.address.toString(16)}`;
      const text = `${formatBdf(arrived)} reached ${where}, which is not mapped for it`;
      out.push({ rule: 7, text });
    }
  }
}

function granule(address: bigint): number {
  return Number(address >> 12n);
}
