/**
 * Unchecked claims: what a hostile function may say in its requests that nothing on their way to
 * memory verifies. Reports of groups and peers assume devices that say who they are; this is what
 * remains open when one does not.
 *
 *   requester ID   a port with Source Validation lets only bus numbers below it pass (PCIe 6
 *                  § 6.12.1.1); without one any of 65,536 IDs arrives, and the requester finds the
 *                  maps of whomever it names. A bridge from conventional PCI puts its own ID in.
 *   address type   a translated request is not checked against any map while ATS is on for the
 *                  requester it names (VT-d 5.0 § 4.2.1); Translation Blocking stops it, a
 *                  conventional bus does not carry the type. A port with Direct Translated P2P
 *                  passes it straight to a peer in spite of redirect (§ 6.12.3).
 *   interrupts     an interrupt is a write; without remapping it is taken for what it says (VT-d
 *                  5.0 § 5.1).
 *
 * Cost: the depth of the function, and linear in the functions whose requester IDs it may use.
 */
import { Acs, Flag, NONE, type PciFunction, Place, Role, RouteModel } from "../pcie/index.js";
import type { Bdf, Rid } from "../units/index.js";
import { makeRid } from "../units/index.js";
import { effectiveAcs } from "./analysis.js";
import { iommuScope } from "./iommu-scope.js";
import { buildP2pGraph } from "./p2p-graph.js";
import { reachesOf } from "./p2p-graph-reach.js";
import type { Analysis, Reach } from "./report-types.js";
import { vmdDomains } from "./vmd-domains.js";

/** Requester IDs that requests of a function may carry when they arrive. */
export type ClaimableRequesters =
  | {
      readonly kind: "buses";
      /** Every device and function number of these buses. */
      readonly first: number;
      readonly last: number;
      /** The ports whose Source Validation draws the bounds, bottom up; empty: nobody validates. */
      readonly validatedBy: readonly Bdf[];
    }
  /** Whatever it says is replaced. */
  | { readonly kind: "replaced"; readonly rid: Rid; readonly by: Bdf };

export interface UncheckedClaims {
  readonly device: Bdf;
  readonly requesters: ClaimableRequesters;
  /** Other functions whose requester IDs it may use; ports and absent functions are left out. */
  readonly impersonates: readonly Bdf[];
  readonly translated: {
    /** Translated requests arrive as such at the translation agent. */
    readonly arrive: boolean;
    /** The port that blocks them, or the bridge that drops the type. */
    readonly stoppedBy: Bdf | undefined;
    /**
     * All memory is open to it while ATS is on for one of these: itself, whom it may name, or, in a
     * VMD's segment, who sends as the VMD too.
     */
    readonly openWhileAtsOn: readonly Bdf[];
    /** Peers that a port passes them to directly. */
    readonly peers: readonly Reach[];
  };
  /** No IOMMU unit covers it: all its requests reach memory as they are. */
  readonly outside: boolean;
  /** Its interrupts are taken for what they say: any vector, any processor. */
  readonly anyInterrupt: boolean;
}

/** Undefined for a function that is not in the fabric. */
export function uncheckedClaims(analysis: Analysis, device: Bdf): UncheckedClaims | undefined {
  const { fabric, facts } = analysis;
  const fn = fabric.function(device);
  if (fn === undefined) return undefined;
  const { judge } = analysis.linuxUnder("linux-7.2");
  const acsOf = (at: PciFunction) => effectiveAcs(at, judge);
  const model = new RouteModel(fabric, { effectiveAcs: acsOf });
  const domains = vmdDomains(fabric, "linux-7.2");
  const owner = domains.get(fn.segment)?.vmd;
  const isOwnedBy = (at: PciFunction, by: PciFunction): boolean =>
    at === by || domains.get(at.segment)?.vmd === by;
  const way = climb(model, model.indexOf(fn));
  const requesters: ClaimableRequesters =
    owner === undefined ? way.requesters : { kind: "replaced", rid: owner.rid, by: owner.bdf };
  const scope = iommuScope(fabric, facts);
  const outside = scope.coverage(owner ?? fn) === "outside";
  const unitOf = (at: PciFunction) => scope.unitOf(domains.get(at.segment)?.vmd ?? at);
  // Another unit has no entry for it.
  const isSeen = (at: PciFunction): boolean => unitOf(at) === unitOf(fn);
  const impersonates =
    requesters.kind === "replaced"
      ? []
      : sendersOn(analysis, fn, requesters.first, requesters.last).filter(isSeen);
  const fellows =
    owner === undefined ? [] : fabric.functions.filter((at) => at !== fn && isOwnedBy(at, owner));
  const withAts = [fn, ...impersonates, ...fellows].filter((at) => at.ats != null);
  const open = way.translationStop === undefined ? withAts.map((at) => at.bdf) : [];
  return {
    device,
    requesters,
    impersonates: impersonates.map((at) => at.bdf),
    translated: {
      arrive: way.translationStop === undefined,
      stoppedBy: way.translationStop,
      openWhileAtsOn: facts.requesterMatching === false ? [] : open,
      peers: directPeers(model, fn),
    },
    outside,
    anyInterrupt:
      outside || facts.dmar?.interruptRemapping === false || facts.requesterMatching === false,
  };
}

interface Way {
  readonly requesters: ClaimableRequesters;
  readonly translationStop: Bdf | undefined;
}

/** Up to the root bus, port by port. */
function climb(m: RouteModel, from: number): Way {
  let first = 0;
  let last = 255;
  const validatedBy: Bdf[] = [];
  let stop: Bdf | undefined;
  let fn = from;
  // A tree of 256 buses is at most 256 deep; the bound guards against a broken capture.
  for (let n = 0; n <= 256; n++) {
    const domain = m.domain[fn] as number;
    const bridge = m.bridge[domain] as number;
    if (bridge === NONE) break;
    const place = m.place[domain];
    const at = m.functions[bridge] as PciFunction;
    if (place === Place.Link) {
      const acs = m.acs[bridge] as number;
      if ((acs & Acs.SV) !== 0) {
        first = Math.max(first, m.secondary[bridge] as number);
        last = Math.min(last, m.subordinate[bridge] as number);
        validatedBy.push(at.bdf);
      }
      if ((acs & Acs.TB) !== 0) stop ??= at.bdf;
    }
    const converts = place === Place.Shared || m.role[bridge] === Role.PciToPcie;
    if (converts) {
      stop ??= at.bdf;
      if (((m.flags[bridge] as number) & Flag.KeepsRequester) === 0) {
        const isForward = m.role[bridge] === Role.PcieToPci;
        const rid = isForward ? makeRid((m.secondary[bridge] as number) << 8) : at.rid;
        return { requesters: { kind: "replaced", rid, by: at.bdf }, translationStop: stop };
      }
    }
    fn = bridge;
  }
  return { requesters: { kind: "buses", first, last, validatedBy }, translationStop: stop };
}

/** Functions one of whose requester IDs, a bridge's included, lies on these buses. */
function sendersOn(
  analysis: Analysis,
  fn: PciFunction,
  first: number,
  last: number,
): PciFunction[] {
  return analysis.fabric.functions.filter((other) => {
    if (other === fn || other.isBridge) return false;
    const ids = analysis.requesterIds(other.bdf)?.ids ?? [];
    return ids.some(
      ({ segment, rid }) => segment === fn.segment && rid >>> 8 >= first && rid >>> 8 <= last,
    );
  });
}

/** Peers that translated requests alone reach or reach too: ports pass these directly. */
function directPeers(m: RouteModel, fn: PciFunction): Reach[] {
  if (!m.acs.some((word) => (word & Acs.DT) !== 0)) return [];
  const graph = buildP2pGraph(m.fabric, {
    effectiveAcs: (at) => {
      const word = m.acs[m.indexOf(at)] as number;
      const redirects = (word & Acs.DT) === 0;
      return { word: redirects ? word : word & ~(Acs.RR | Acs.EC), because: [] };
    },
  });
  return reachesOf(graph, fn).map(({ device, via, certainty, windows, unknown }) => ({
    device: device.bdf,
    via,
    certainty,
    windows,
    unknown,
  }));
}
