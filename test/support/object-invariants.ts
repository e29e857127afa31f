/**
 * The safety rules (R7 of the system's description), read from the mock driver's tables and from
 * the memory's pins, not from what the object layer believes.
 */
import type { Domain } from "../../src/driver/index.js";
import { MockPagingDomain } from "../../src/driver/mock/index.js";
import type { Hwpt, Ioas, Iommufd } from "../../src/iommufd/index.js";
import { type Bdf, formatBdf } from "../../src/units/index.js";
import type { TestProcess, TestSystem } from "./iommufd.js";

/** @throws Error that names the rule that does not hold. */
export function checkInvariants(
  system: TestSystem,
  contexts: readonly Iommufd[],
  caller: TestProcess,
): void {
  for (const bdf of system.devices) checkDevice(system, contexts, bdf);
  checkSlots(contexts);
  checkTables(system, contexts);
  checkPins(caller);
}

function demand(holds: boolean, rule: string, what: string): void {
  if (!holds) throw new Error(`rule ${rule} does not hold: ${what}`);
}

function checkDevice(system: TestSystem, contexts: readonly Iommufd[], bdf: Bdf): void {
  const name = formatBdf(bdf);
  const owner = system.ownership.ownerOf(bdf);
  const domain = system.driver.attached(bdf, undefined);
  const holders = contexts.filter((fd) => boundIn(fd, system, bdf));
  demand(holders.length <= 1, "2", `${name}: its group is bound in ${holders.length} contexts`);
  const [holder] = holders;
  demand(holder?.state.owner === owner, "2", `${name}: owner and binder differ`);
  if (holder === undefined) {
    demand(domain === undefined, "1", `${name} has no owner and is on a user's table`);
    return;
  }
  demand(domain !== undefined, "6", `${name} is owned and in the kernel's space`);
  demand(isOwn(holder, domain), "1", `${name} is on a table that its owner does not have`);
  for (const pasid of system.driver.pasidsOf(bdf)) {
    const table = system.driver.attached(bdf, pasid);
    demand(isOwn(holder, table), "1", `${name} PASID ${pasid}: not its owner's table`);
  }
  for (const twin of system.isolation.aliasSetOf(bdf)) {
    const same = system.driver.attached(twin, undefined) === domain;
    demand(same, "5", `${name} and ${formatBdf(twin)} send alike and differ`);
  }
}

/** Some device of the group of `bdf` is bound there. */
function boundIn(fd: Iommufd, system: TestSystem, bdf: Bdf): boolean {
  const members = system.isolation.groupOf(bdf)?.members ?? [];
  return [...fd.state.objects.all()].some((object) => {
    if (object.kind !== "device") return false;
    const { function: own, mediated } = fd.device(object.id).dma;
    return own !== undefined && !mediated && members.includes(own);
  });
}

function isOwn(fd: Iommufd, domain: Domain | undefined): boolean {
  if (domain === undefined || domain.kind === "blocked") return true;
  return tablesOf(fd).some((hwpt) => hwpt.domain === domain);
}

function tablesOf(fd: Iommufd): Hwpt[] {
  return [...fd.state.objects.all()].flatMap((o) => fd.hwpt(o.id) ?? []);
}

function checkSlots(contexts: readonly Iommufd[]): void {
  for (const fd of contexts) {
    for (const slot of fd.state.slots.all()) {
      demand(slot.attached.size > 0, "4", "a slot without attachments is kept");
      demand(fd.hwpt(slot.hwpt.id) === slot.hwpt, "3", "a slot holds a table that is gone");
      for (const member of slot.members) {
        const found = fd.state.system.driver.attached(member, slot.pasid);
        demand(found === slot.hwpt.domain, "4", `${formatBdf(member)}: hardware has another table`);
      }
    }
  }
}

/** Tables that are gone are attached nowhere; the others show exactly their space. */
function checkTables(system: TestSystem, contexts: readonly Iommufd[]): void {
  for (const domain of system.driver.domains) {
    if (domain.isFreed) demand(domain.attachCount === 0, "3", "a freed table is attached");
  }
  for (const fd of contexts) {
    for (const object of fd.state.objects.all()) {
      if (object.kind === "ioas") checkSpace(object as Ioas);
      demand(object.users >= 0, "users", `object ${object.id} has ${object.users} users`);
    }
  }
}

function checkSpace({ space }: Ioas): void {
  const { areas } = space;
  const { rows } = areas;
  for (const domain of space.domains) {
    if (!(domain instanceof MockPagingDomain)) continue;
    const perPage = 4096 >>> domain.granuleShift;
    let granules = 0;
    for (areas.toFirst(); areas.found; areas.next()) {
      const { row, firstPage } = areas;
      const pages = rows.lastPage(row) - firstPage;
      const bytes = rows.lastOffset(row) - rows.firstOffset(row) + 1;
      granules += pages * perPage + bytes / (4096 / perPage);
      const first = firstPage * perPage + (rows.firstOffset(row) >>> domain.granuleShift);
      const shown = domain.translate(first);
      const start = rows.startPage(row) * perPage;
      const wanted = 0x100000 * perPage + start + (rows.startOffset(row) >>> domain.granuleShift);
      demand(shown === wanted, "7", `IOVA page ${firstPage} shows ${shown}, not ${wanted}`);
    }
    demand(domain.mapped === granules, "7", `${domain.mapped} granules, areas have ${granules}`);
  }
}

function checkPins(caller: TestProcess): void {
  const { pinned } = caller.memory;
  demand(caller.pinnedPages === pinned, "pins", `${caller.pinnedPages} counted, ${pinned} are`);
  const { charged } = caller.userLocked;
  demand(charged === pinned, "pins", `${charged} charged, ${pinned} pinned`);
}
