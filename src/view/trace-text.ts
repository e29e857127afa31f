/** Traces of transactions in words: one line for each record. */
import type { Delivery, TraceRecord } from "../machine/index.js";
import { ROUTE_REASONS } from "../pcie/index.js";
import { type Bdf, formatBdf, formatRid } from "../units/index.js";

/** What a trace calls things. */
export interface TraceNames {
  /** A device's name in its platform, or its address. */
  readonly device: (bdf: Bdf) => string;
  /** `red, page 0` for an address of named memory; undefined elsewhere. */
  readonly memory: (address: bigint) => string | undefined;
}

/** How deep a record stands: 0 the request, 1 what becomes of it, 2 single table entries. */
export interface TraceLine {
  readonly depth: 0 | 1 | 2;
  readonly text: string;
}

const VERBS = { read: "reads", write: "writes", atomic: "adds to" } as const;
const TYPES = {
  untranslated: "",
  "translation-request": ", asking for a translation",
  translated: ", address already translated",
} as const;

/** One line for a record. */
export function traceLine(record: TraceRecord, names: TraceNames): TraceLine {
  switch (record.kind) {
    case "request":
      return { depth: 0, text: requestText(record, names) };
    case "hop": {
      const { hop } = record;
      const bits = hop.bits.length > 0 ? ` [${hop.bits.join(" ")}]` : "";
      const { states, cite } = ROUTE_REASONS[hop.reason.kind];
      return { depth: 1, text: `${names.device(hop.at.bdf)}: ${states}${bits} (${cite})` };
    }
    case "unit":
      return { depth: 1, text: `${record.unit} gets it from ${formatRid(record.requester)}` };
    case "entry": {
      const level = record.level > 0 ? `, level ${record.level}` : "";
      const what = record.structure.replaceAll("-", " ");
      return {
        depth: 2,
        text: `reads ${what}${level} at ${hex(record.address)}: ${hex(record.value)}`,
      };
    }
    case "translated": {
      const how = { bypass: "passes it on", cache: "finds it in its cache", walk: "translates" };
      return { depth: 1, text: `${record.unit} ${how[record.source]}: ${hex(record.address)}` };
    }
    case "delivered":
      return { depth: 1, text: `=> ${deliveryText(record.delivery, names)}` };
    case "page-request": {
      const { message, from } = record;
      const pasid = message.pasid === undefined ? "" : `, PASID ${message.pasid}`;
      const page = hex(BigInt(message.pfn) * 4096n);
      return { depth: 0, text: `${names.device(from)} asks for the page at ${page}${pasid}` };
    }
    case "page-answer": {
      const words: Readonly<Record<number, string>> = { 0: "success", 1: "invalid" };
      const code = words[record.code] ?? "failure";
      return { depth: 0, text: `${names.device(record.to)} is answered: ${code}` };
    }
    default: {
      const pasid = record.pasid === undefined ? "" : `, PASID ${record.pasid}`;
      const late = record.answered ? "" : " (no answer)";
      return { depth: 1, text: `the device TLB of ${formatRid(record.to)}${pasid} forgets${late}` };
    }
  }
}

function requestText(record: Extract<TraceRecord, { kind: "request" }>, names: TraceNames): string {
  const { from, access, addressType, address, length, prefix, requester } = record;
  const pasid = prefix === undefined ? "" : `, PASID ${prefix.pasid}`;
  const mode = prefix?.privileged === true ? ", privileged" : "";
  const own = formatRid(requester) === formatBdf(from).slice(-7);
  const forged = own ? "" : `, as requester ${formatRid(requester)}`;
  const bytes = `${length} ${length === 1 ? "byte" : "bytes"}`;
  const what = `${VERBS[access]} ${bytes} at ${hex(address)}`;
  return `${names.device(from)} ${what}${pasid}${mode}${TYPES[addressType]}${forged}`;
}

/** Where a transaction ended. */
export function deliveryText(delivery: Delivery, names: TraceNames): string {
  switch (delivery.kind) {
    case "memory": {
      const named = names.memory(delivery.address);
      return `memory ${hex(delivery.address)}${named === undefined ? "" : ` (${named})`}`;
    }
    case "peer": {
      const by = delivery.byAgent ? "sent there by the IOMMU" : "no IOMMU saw it";
      const where = `BAR ${delivery.bar} + ${hex(delivery.offset)}`;
      return `${names.device(delivery.device)}, ${where}: ${by}`;
    }
    case "interrupt":
      return `an interrupt${delivery.remapped ? ", remapped" : ", as the device wrote it"}`;
    case "translation": {
      const may = [delivery.read && "read", delivery.write && "write"].filter((x) => x !== false);
      return may.length === 0 ? "no translation" : `a translation to ${may.join(" and ")}`;
    }
    case "fault":
      return `refused by ${delivery.unit}: ${delivery.name} (code ${hex(BigInt(delivery.reason))})`;
    default: {
      const at = delivery.at === undefined ? "" : ` at ${names.device(delivery.at)}`;
      const bits = delivery.bits.length > 0 ? ` [${delivery.bits.join(" ")}]` : "";
      return `lost: ${delivery.why.replaceAll("-", " ")}${at}${bits}`;
    }
  }
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}
