/** What of a hostile host follows from its description: modes of units, and who sends as whom. */
import type { HostDriver } from "../../src/driver/index.js";
import { makeRid } from "../../src/units/index.js";
import { pathOf } from "./hostile-fates.js";
import {
  bdfOfNode,
  type HostileHost,
  type HostileNode,
  type HostileUnit,
  isBehindSecond,
  isCovered,
  isOwned,
  ridOfNode,
} from "./hostile-host.js";
import type { HostileRows } from "./hostile-oracle.js";
import type { Random } from "./random.js";

/** How the unit in front of it works. */
export function modeOf(host: HostileHost, node: HostileNode): HostileUnit {
  const { second, unit } = host;
  if (second === undefined || !isBehindSecond(host, node)) return unit;
  return second.scalable ? "scalable" : "legacy";
}

export function mayUsePasids(host: HostileHost, node: HostileNode): boolean {
  return (
    modeOf(host, node) === "scalable" &&
    node.pasidWidth > 0 &&
    pathOf(node).every((at) => at.takesPrefix)
  );
}

export const mayNest = (host: HostileHost, node: HostileNode): boolean =>
  node === host.attacker && modeOf(host, node) === "scalable";

/** The requester ID with which it arrives. */
export const senderOf = (host: HostileHost, node: HostileNode): number =>
  ridOfNode((isOwned(node) ? host.vmd : undefined) ?? node);

/** An interrupt for each function; those of the attacker's unit are kept in `rows`. */
export function addInterrupts(
  host: HostileHost,
  driver: HostDriver,
  rows: HostileRows,
  random: Random,
): void {
  for (const node of host.functions) {
    if (!isCovered(host, node)) continue;
    const table = driver.interruptTableOf(bdfOfNode(node));
    if (table === undefined) {
      if (host.remapping && host.unit !== "single-table") {
        throw new Error("interrupts are not remapped");
      }
      continue;
    }
    const sender = isOwned(node) ? host.vmd : node;
    const isBehindBridge = node.kind === "conventional";
    const requester = isBehindBridge || sender === undefined ? undefined : ridOfNode(sender);
    const bus = node.parent?.secondary ?? 0;
    const buses = requester === undefined ? { first: bus, last: bus } : undefined;
    const source =
      requester === undefined
        ? ({ kind: "buses", first: bus, last: bus } as const)
        : ({ kind: "requester", rid: makeRid(requester) } as const);
    const vector = 0x20 + random.below(0x80);
    const destination = random.below(256);
    const { index } = table.allocate(source, { vector, destination });
    if (isBehindSecond(host, node)) continue;
    rows.interrupts[index] = { index, vector, destination, requester, buses };
  }
}

/** Conventional functions by their bus. */
export function behindBridges(host: HostileHost): Map<number, HostileNode[]> {
  const bridges = new Map<number, HostileNode[]>();
  for (const node of host.functions) {
    if (node.kind !== "conventional") continue;
    const bus = node.parent?.secondary ?? 0;
    bridges.set(bus, [...(bridges.get(bus) ?? []), node]);
  }
  return bridges;
}

/** Pages that address spaces map: low ones, one beyond 4 GiB, and some that BARs have. */
export function chooseIovas(
  { mmio }: HostileHost,
  barPages: readonly number[],
  random: Random,
): number[] {
  const iovas: number[] = [];
  for (let i = 0; i < 12; i++) iovas.push(0x10 + i);
  for (let i = 0; i < 8; i++) iovas.push(random.pick(barPages));
  for (let i = 0; i < 4; i++) {
    iovas.push(mmio.first + random.below(mmio.last - mmio.first + 1));
  }
  iovas.push(0x1_2345_6789 + random.below(4));
  return iovas;
}
