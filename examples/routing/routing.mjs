// Two endpoints below one switch: where does a request of A to an address in B's BAR go?
//
// Run after a build, from anywhere:   node examples/routing/routing.mjs
import {
  acsWord,
  buildFabric,
  describeFunction,
  memoryRequest,
  PortType,
  ROUTE_REASONS,
  Router,
} from "ioasis/pcie";
import { formatBdf, formatRid, makePasid, parseBdf } from "ioasis/units";

const WINDOW = { first: 0xe0000000n, last: 0xe01fffffn };
const WINDOW_A = { first: 0xe0000000n, last: 0xe00fffffn };
const WINDOW_B = { first: 0xe0100000n, last: 0xe01fffffn };
const TARGET = 0xe0100040n;

/**
 * 00:01.0 root port, 01:00.0 upstream port, 02:00.0 and 02:01.0 downstream ports, 03:00.0 A,
 * 04:00.0 B.
 */
function host(acsBits) {
  const acs = acsBits && { capability: 0x5f, control: acsWord(acsBits) };
  const forwards = { capability: 0x5f, control: acsWord(["SV", "RR", "CR", "UF"]) };
  const { RootPort, UpstreamPort, DownstreamPort, Endpoint } = PortType;
  const specs = {
    "00:01.0": { type: RootPort, buses: [0, 1, 4], memoryWindow: WINDOW, acs: forwards },
    "01:00.0": { type: UpstreamPort, buses: [1, 2, 4], memoryWindow: WINDOW },
    "02:00.0": { type: DownstreamPort, buses: [2, 3, 3], memoryWindow: WINDOW_A, acs },
    "02:01.0": { type: DownstreamPort, buses: [2, 4, 4], memoryWindow: WINDOW_B, acs },
    "03:00.0": { type: Endpoint, bars: [{ index: 0, base: WINDOW_A.first, size: 0x4000n }] },
    "04:00.0": { type: Endpoint, bars: [{ index: 0, base: WINDOW_B.first, size: 0x4000n }] },
  };
  const functions = Object.entries(specs).map(([bdf, spec]) =>
    describeFunction({ bdf: parseBdf(bdf), endEndPrefix: true, ...spec }),
  );
  return buildFabric({ functions });
}

/** Three IOMMUs that answer the redirected request in three ways. */
const AGENTS = {
  "an IOMMU that maps the address to memory at 0x12345000": {
    translate: () => ({ kind: "translated", pfn: 0x12345, offset: 0x40 }),
  },
  "an IOMMU without a mapping for the address": {
    translate: () => ({ kind: "refused", reason: "no mapping" }),
  },
  "an IOMMU that maps the address to B's BAR": {
    translate: ({ pfn, offset }) => ({ kind: "translated", pfn, offset }),
  },
};

const REQUESTS = {
  "a plain write": { access: "write" },
  "a write with PASID 5": {
    access: "write",
    prefix: { pasid: makePasid(5), privileged: false, execute: false },
  },
  "a translation request": { addressType: "translation-request" },
};

const REDIRECT = ["SV", "RR", "CR", "UF"];
const rows = [];
for (const [acs, bits] of [
  ["no ACS at the switch", undefined],
  ["ACS with P2P Request Redirect at the switch", REDIRECT],
]) {
  for (const [request, extra] of Object.entries(REQUESTS)) {
    const outcome = show(`${acs}: ${request}`, host(bits), extra);
    rows.push([acs, request, outcome]);
  }
}
for (const [name, agent] of Object.entries(AGENTS)) {
  const outcome = show(
    `redirected, and answered by ${name}`,
    host(REDIRECT),
    { access: "write" },
    agent,
  );
  rows.push(["redirected to", name, outcome]);
}
console.log("In short");
for (const [a, b, outcome] of rows) console.log(`  ${a}, ${b}:\n      ${outcome}`);

/** Routes one request of A and prints every hop. */
function show(title, fabric, extra, agent) {
  const from = fabric.function(parseBdf("03:00.0"));
  const tlp = memoryRequest({ requester: from.rid, address: TARGET, ...extra });
  const { hops, result } = new Router(fabric).route(from, tlp, agent);
  console.log(`${title}\n  A 03:00.0 sends to 0x${TARGET.toString(16)}, inside BAR 0 of B 04:00.0`);
  for (const hop of hops) {
    const bits = hop.bits.length > 0 ? ` [${hop.bits.join(" ")}]` : "";
    const { states } = ROUTE_REASONS[hop.reason.kind];
    const at = formatRid(hop.at.rid);
    console.log(`  ${at}  ${hop.decision.padEnd(7)}  ${states}${bits}`);
  }
  const outcome = inWords(result);
  console.log(`  => ${outcome}\n`);
  return outcome;
}

function inWords(result) {
  switch (result.kind) {
    case "peer": {
      const how = result.byAgent ? "by the IOMMU's decision" : "peer to peer; no IOMMU saw it";
      return `delivered to ${formatBdf(result.function.bdf)} BAR ${result.bar}, ${how}`;
    }
    case "translation-agent": {
      const { requester, prefix } = result.arrived;
      const pasid = prefix === undefined ? "no PASID" : `PASID ${prefix.pasid}`;
      return `reaches the translation agent as requester ${formatRid(requester)}, ${pasid}`;
    }
    case "memory":
      return `translated: goes to memory at 0x${(result.pfn * 4096 + result.offset).toString(16)}`;
    case "refused":
      return `refused by the IOMMU: ${result.reason}`;
    default:
      return result.kind;
  }
}
