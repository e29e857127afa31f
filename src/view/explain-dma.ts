/**
 * What happens to one transaction of a device: contract `ioasis/explain-dma/1`.
 *
 * The fabric is asked, hop by hop; where the request reaches an IOMMU, what is mapped there is up
 * to software, and only which table it looks into is said. For a request with a PASID the
 * conditions of PASIDs follow, and what each policy of an owner makes of this address.
 */
import type { Analysis, Eligibility } from "../isolation/index.js";
import { hardwareRouting } from "../machine/index.js";
import {
  type AddressType,
  type MemoryAccess,
  memoryRequest,
  ROUTE_REASONS,
  type Route,
  Router,
} from "../pcie/index.js";
import { type Bdf, formatBdf, formatRid, makePasid } from "../units/index.js";
import { callDevice } from "./device-name.js";
import { type EvidenceJson, evidenceJson } from "./evidence-json.js";
import { hopSentences } from "./proof-view.js";

export interface DmaQuestion {
  readonly device: Bdf;
  readonly address: bigint;
  readonly pasid: number | undefined;
  readonly access: MemoryAccess;
  readonly addressType: AddressType;
}

export interface DmaExplanation {
  readonly question: DmaQuestion;
  readonly route: Route;
  /** One sentence for each hop. */
  readonly steps: readonly string[];
  readonly outcome: string;
  /** What follows from the outcome. */
  readonly remarks: readonly string[];
  /** Conditions of PASIDs on this device; undefined without a PASID. */
  readonly pasid: Eligibility | undefined;
}

export interface DmaPayload {
  readonly schema: "ioasis/explain-dma/1";
  readonly device: string;
  readonly address: string;
  readonly pasid: number | null;
  readonly access: MemoryAccess;
  readonly addressType: AddressType;
  readonly hops: readonly {
    readonly at: string;
    readonly decision: string;
    readonly reason: string;
    readonly states: string;
    readonly bits: readonly string[];
    readonly unknown: boolean;
    readonly cite: string;
  }[];
  readonly outcome: {
    readonly kind: Route["result"]["kind"];
    /** The peer, or where it was stopped. */
    readonly at: string | null;
    /** As it reaches the IOMMU. */
    readonly requesterId: string | null;
    readonly text: string;
  };
  readonly remarks: readonly string[];
  readonly pasidAllowed: boolean | null;
  readonly because: readonly EvidenceJson[];
}

/** @throws RangeError for a device that is not in the analysis' fabric, or numbers out of range. */
export function explainDma(analysis: Analysis, question: DmaQuestion): DmaExplanation {
  const { device, address, pasid, access, addressType } = question;
  const { fabric, facts } = analysis;
  const fn = fabric.function(device);
  if (fn === undefined) throw new RangeError("the device is not one of this fabric's");
  const prefix =
    pasid === undefined
      ? undefined
      : { pasid: makePasid(pasid), privileged: false, execute: false };
  const length = Math.min(4, 4096 - Number(address & 0xfffn));
  const tlp = memoryRequest({ requester: fn.rid, access, address, addressType, length, prefix });
  const route = new Router(fabric, hardwareRouting(fabric, facts)).route(fn, tlp);
  const report = analysis.deviceReport(device);
  return {
    question,
    route,
    steps: hopSentences(analysis, route),
    outcome: outcomeOf(analysis, question, route),
    remarks: remarksOf(analysis, question, route),
    pasid: pasid === undefined ? undefined : report?.pasid,
  };
}

/** The explanation as JSON. */
export function explainDmaPayload(explanation: DmaExplanation): DmaPayload {
  const { question, route, outcome, remarks, pasid } = explanation;
  const { result } = route;
  const at = result.kind === "peer" ? result.function : "at" in result ? result.at : undefined;
  const arrived = "arrived" in result ? result.arrived : undefined;
  return {
    schema: "ioasis/explain-dma/1",
    device: formatBdf(question.device),
    address: hex(question.address),
    pasid: question.pasid ?? null,
    access: question.access,
    addressType: question.addressType,
    hops: route.hops.map(({ at: hop, decision, reason, bits, unknown }) => ({
      at: formatBdf(hop.bdf),
      decision,
      reason: reason.kind,
      states: ROUTE_REASONS[reason.kind].states,
      bits,
      unknown,
      cite: reason.cite,
    })),
    outcome: {
      kind: result.kind,
      at: at === undefined ? null : formatBdf(at.bdf),
      requesterId: arrived === undefined ? null : formatRid(arrived.requester),
      text: outcome,
    },
    remarks,
    pasidAllowed: pasid?.ok ?? null,
    because: (pasid?.because ?? []).map(evidenceJson),
  };
}

function outcomeOf({ fabric, facts }: Analysis, question: DmaQuestion, { result }: Route): string {
  switch (result.kind) {
    case "peer":
      return (
        `It arrives at ${callDevice(fabric, result.function.bdf)}, BAR ${result.bar}. No ` +
        "IOMMU sees it."
      );
    case "translation-agent": {
      const { requester, prefix } = result.arrived;
      const id = formatRid(requester);
      const slot =
        prefix === undefined ? `requester ${id}` : `requester ${id}, PASID ${prefix.pasid}`;
      if (isMessage(facts, question)) {
        return `It is an interrupt message of requester ${id}: no page table is asked.`;
      }
      if (facts.iommuInUse === false) return "It reaches memory as it is: no IOMMU is in use.";
      return `It reaches the IOMMU as ${slot}: the table of that slot decides.`;
    }
    case "acs-violation":
      return `${callDevice(fabric, result.at.bdf)} refuses it: an ACS violation.`;
    case "prefix-blocked":
      return `${callDevice(fabric, result.at.bdf)} refuses it: its prefix cannot pass.`;
    case "malformed":
      return `${callDevice(fabric, result.at.bdf)} discards it as malformed.`;
    default:
      return "Nobody takes it: an unsupported request.";
  }
}

function remarksOf(analysis: Analysis, question: DmaQuestion, { result }: Route): string[] {
  const out: string[] = [];
  const { pasid, addressType } = question;
  if (result.kind === "peer") {
    if (addressType !== "translated") {
      out.push(
        "An address space that maps this address would be bypassed: with exclude-windows it " +
          "cannot be mapped, with raw it goes to the peer.",
      );
    }
    if (analysis.partition.groupOf.get(result.function.bdf) !== groupOf(analysis, question)) {
      out.push(
        `Under ${analysis.rules} the two are in different groups: two owners could reach each ` +
          "other so. Device-centric groups keep them together.",
      );
    }
  }
  if (result.kind !== "translation-agent") return out;
  const { requester } = result.arrived;
  const fn = analysis.fabric.function(question.device);
  if (fn !== undefined && requester !== fn.rid) {
    out.push("The requester ID was replaced on the way: others behind the same bridge look alike.");
  }
  if (addressType === "translated") {
    out.push("While ATS is on for this device the IOMMU does not check translated addresses.");
  }
  if (pasid !== undefined && analysis.facts.requesterMatching === false) {
    out.push("This IOMMU does not look at requester IDs and knows no PASIDs.");
  }
  return out;
}

/**
 * Writes without PASID to 0xfeexxxxx are interrupts on x86: no page table is asked, the interrupt
 * remapping is (VT-d 5.0 § 3.14, § 5.1).
 */
function isMessage(facts: Analysis["facts"], question: DmaQuestion): boolean {
  const { address, access, addressType, pasid } = question;
  const inRange = address >> 20n === 0xfeen && facts.architecture === "x86";
  return inRange && access === "write" && addressType === "untranslated" && pasid === undefined;
}

function groupOf(analysis: Analysis, { device }: DmaQuestion): number | undefined {
  return analysis.partition.groupOf.get(device);
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}
