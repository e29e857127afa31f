/** What the product says of a device's exposures, read before the device does anything. */
import { type Analysis, analyse, type Reach, uncheckedClaims } from "../../src/isolation/index.js";
import type { Machine } from "../../src/machine/index.js";
import type { Bdf } from "../../src/units/index.js";

export interface NamedExposures {
  /** Other devices use the same maps. */
  readonly shared: boolean;
  /** Pages behind BARs that requests reach for certain, possibly, or when translated. */
  readonly peers: ReadonlySet<number>;
  readonly optionalPeers: ReadonlySet<number>;
  readonly translatedPeers: ReadonlySet<number>;
  /** All memory while ATS is on. */
  readonly translated: boolean;
  readonly interrupts: boolean;
  /** No unit covers it. */
  readonly outside: boolean;
  /** The device may use this requester ID. */
  claims(rid: number): boolean;
  /** Some device has this requester ID, and it is named as one that the device may act for. */
  impersonates(rid: number): boolean;
}

export function nameExposures(machine: Machine, device: Bdf): NamedExposures {
  const analysis = analyse(machine.fabric, machine.facts, { rules: "device-centric" });
  const report = analysis.deviceReport(device);
  const claims = uncheckedClaims(analysis, device);
  if (report === undefined || claims === undefined) throw new Error("the device has no report");
  const certain = report.reaches.filter((reach) => reach.certainty === "certain");
  const { requesters, translated } = claims;
  return {
    shared: report.mustShare.value || isUnmatched(analysis),
    peers: pagesOf(certain),
    optionalPeers: pagesOf(report.reaches),
    translatedPeers: pagesOf(translated.peers),
    translated: translated.openWhileAtsOn.length > 0,
    interrupts: claims.anyInterrupt,
    outside: claims.outside,
    claims: (rid) =>
      requesters.kind === "buses"
        ? rid >>> 8 >= requesters.first && rid >>> 8 <= requesters.last
        : rid === requesters.rid,
    impersonates: (rid) =>
      claims.impersonates.some((other) =>
        analysis.requesterIds(other)?.ids.some((id) => id.rid === rid),
      ),
  };
}

const isUnmatched = ({ facts }: Analysis): boolean => facts.requesterMatching === false;

function pagesOf(reaches: readonly Reach[]): Set<number> {
  const pages = new Set<number>();
  for (const { windows } of reaches) {
    for (const { first, last } of windows) {
      for (let page = Number(first >> 12n); page <= Number(last >> 12n); page++) pages.add(page);
    }
  }
  return pages;
}
