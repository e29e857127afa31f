/**
 * Two devices below a switch without ACS: what Linux's rules say, and what the fabric does.
 *
 * Builds the fabric from a plan, as a test of a virtual machine monitor or a driver would.
 */
import { analyse, type Partition } from "ioasis/isolation";
import { buildFabric, describeFunction, memoryRequest, PortType, routeMemory } from "ioasis/pcie";
import { layOut, type PlannedFunction } from "ioasis/platform";
import { formatBdf, formatSpan, parseBdf } from "ioasis/units";

/** All seven ACS bits implemented; source validation and the redirections on. */
const acs = { capability: 0x5f, control: 0x1d };

const card = (device: number): PlannedFunction => ({
  devFn: 0,
  type: PortType.Endpoint,
  vendor: 0x8086,
  device,
  bars: [{ index: 0, kind: "memory32", size: 0x10000n }],
});
const slot = (number: number, below: PlannedFunction): PlannedFunction => ({
  devFn: number * 8,
  type: PortType.DownstreamPort,
  below: [below],
});
const rootPort: PlannedFunction = {
  devFn: 1 * 8,
  type: PortType.RootPort,
  acs,
  below: [
    {
      devFn: 0,
      type: PortType.UpstreamPort,
      below: [slot(0, card(0x10d3)), slot(1, card(0x1533))],
    },
  ],
};

const { functions } = layOut([{ segment: 0, functions: [rootPort] }]);
const fabric = buildFabric({ functions: functions.map((f) => describeFunction(f.spec)) });

const analysis = analyse(fabric, { iommuInUse: true }, { rules: "linux-7.2" });
print(analysis.partition);
print(analysis.deviceCentric);

function print({ rules, groups }: Partition) {
  console.log(rules);
  groups.forEach((members, id) => {
    console.log(`  group ${id}: ${members.map(formatBdf).join(" ")}`);
  });
}

function find(address: string) {
  const bdf = parseBdf(address);
  const fn = bdf === undefined ? undefined : fabric.function(bdf);
  if (fn === undefined) throw new Error(`the fabric has no function ${address}`);
  return fn;
}
const from = find("03:00.0");
const to = find("04:00.0");
const bar = to.bars?.[0];
if (bar?.base === undefined) throw new Error("the second card has no address");

const request = memoryRequest({ requester: from.rid, address: bar.base, access: "write" });
const { hops, result } = routeMemory(fabric, from, request);
const window = formatSpan({ first: bar.base, last: bar.base + 0xffffn });
console.log(`\na write of ${formatBdf(from.bdf)} into ${window} of ${formatBdf(to.bdf)}:`);
for (const hop of hops) {
  console.log(`  ${formatBdf(hop.at.bdf)}  ${hop.decision.padEnd(8)} ${hop.reason.kind}`);
}
console.log(`ends at: ${result.kind === "peer" ? formatBdf(result.function.bdf) : result.kind}`);
