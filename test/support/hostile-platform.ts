/** A hostile host as a platform file, and in few words for messages. */
import { formatBdf } from "../../src/units/index.js";
import {
  bdfOfNode,
  type HostileHost,
  type HostileNode,
  type HostileVirtual,
  isBehindSecond,
  isCovered,
  VMD_SEGMENT,
} from "./hostile-host.js";

/** The same host as a platform file. */
export function platformOf(host: HostileHost): object {
  const { remapping, unit, vmd } = host;
  const inside = host.roots.filter(({ segment }) => segment !== 0);
  const outside = host.roots.filter(({ segment }) => segment === 0);
  return {
    schema: "ioasis/platform/1",
    roots: [
      { bus: 0, devices: outside.map(deviceOfNode) },
      ...(vmd === undefined
        ? []
        : [
            {
              segment: VMD_SEGMENT,
              bus: inside[0]?.bus,
              vmd: vmd.name,
              devices: inside.map(deviceOfNode),
            },
          ]),
    ],
    iommu: {
      kind: "intel",
      ...unitsOf(host),
      interruptRemapping: remapping,
      requesterMatching: unit !== "single-table",
    },
  };
}

/** One unit, or two; without the attacker when that is not covered. */
function unitsOf(host: HostileHost): object {
  const { covered, second, unit } = host;
  const mode = (scalable: boolean) => ({ scalable, pasid: scalable });
  const own = mode(unit === "scalable");
  const others = host.functions.filter(
    (node) => isCovered(host, node) && node.physfn === undefined,
  );
  const names = (nodes: readonly HostileNode[]) => nodes.map(({ name }) => name);
  if (second === undefined) return { ...own, ...(covered ? {} : { covers: names(others) }) };
  const first = others.filter((node) => !isBehindSecond(host, node));
  return {
    units: [
      { covers: names(second.roots), ...mode(second.scalable) },
      ...(covered
        ? [{ covers: "all", ...own }]
        : first.length > 0
          ? [{ covers: names(first), ...own }]
          : []),
    ],
  };
}

const NAMES = ["SV", "TB", "RR", "CR", "UF", "EC", "DT"] as const;

/** A PF's is on from the beginning: its VFs cannot switch it on. */
const PASID = { execute: true, privileged: true } as const;

function deviceOfNode(node: HostileNode): object {
  const isExpress = node.kind !== "conventional";
  const at = `${node.device.toString(16).padStart(2, "0")}.${node.fn}`;
  const { bar, virtual, window } = node;
  return {
    kind: node.kind === "vmd" ? "integrated-endpoint" : node.kind,
    name: node.name,
    ...(node.kind === "vmd" ? { id: "8086:467f", class: "010400", driver: "vmd" } : {}),
    at,
    ...(isExpress ? factsOf(node) : {}),
    ...(node.pasidWidth > 0
      ? { pasid: { ...PASID, width: node.pasidWidth, enabled: virtual !== undefined } }
      : {}),
    ...(node.name === "a" ? { engine: "dma" } : {}),
    ...(bar === undefined ? {} : { bars: [barOf(bar)] }),
    ...(virtual === undefined ? {} : { sriov: virtualOf(virtual) }),
    ...(window === undefined
      ? {}
      : {
          windows: {
            io: "closed",
            prefetchable: "closed",
            memory: { first: hex(window.first * 4096), last: hex(window.last * 4096 + 4095) },
          },
          buses: { secondary: node.secondary, subordinate: node.subordinate },
          below: node.below.filter(({ physfn }) => physfn === undefined).map(deviceOfNode),
        }),
  };
}

/** Facts that a PF and its VFs have each. */
function factsOf(node: HostileNode): object {
  const { acs, ats, egressBlocks, takesPrefix } = node;
  const enabled = NAMES.filter((_, i) => (((acs ?? 0) >>> i) & 1) !== 0);
  const egressVector = [egressBlocks ? 0xffff_ffff : 0];
  return {
    endEndPrefix: takesPrefix,
    ...(acs === undefined ? {} : { acs: { capability: NAMES, enabled, egressVector } }),
    ...(ats ? { ats: { enabled: false } } : {}),
  };
}

/** All VFs are as the first; the engine is in each when the attacker is one of them. */
function virtualOf({ functions, offset, stride }: HostileVirtual): object {
  const [first] = functions;
  const bar = first?.bar;
  const isAttacker = functions.some(({ name }) => name === "a");
  return {
    vfs: functions.length,
    offset,
    stride,
    device: "0x1889",
    bars: bar === undefined ? [] : [barOf(bar)],
    each: {
      ...(first === undefined ? {} : factsOf(first)),
      ...(isAttacker ? { engine: "dma" } : {}),
    },
  };
}

const barOf = ({ first, last }: { readonly first: number; readonly last: number }): object => ({
  size: hex((last - first + 1) * 4096),
  base: hex(first * 4096),
});

const hex = (value: number): string => `0x${value.toString(16)}`;

/** For messages: the configuration on few lines. */
export function describeHost(host: HostileHost): string {
  const line = (node: HostileNode, depth: number): string => {
    const acs = node.acs === undefined ? "-" : `0x${node.acs.toString(16)}`;
    const facts = [
      `${" ".repeat(depth)}${node.name} ${node.kind} ${formatBdf(bdfOfNode(node))}`,
      `acs ${acs}${node.egressBlocks ? " egress" : ""}`,
      node.takesPrefix ? "prefix" : "no-prefix",
      ...(node.ats ? ["ats"] : []),
      ...(node.pasidWidth > 0 ? [`pasid ${node.pasidWidth}`] : []),
      ...(node.bar === undefined ? [] : [`bar ${hex(node.bar.first)}000`]),
      ...(node.window === undefined
        ? []
        : [`buses ${node.secondary}-${node.subordinate} window ${hex(node.window.first)}000`]),
    ];
    return [facts.join(" "), ...node.below.map((child) => line(child, depth + 1))].join("\n");
  };
  const { unit, remapping, covered, functionPeers, rootPeers, second, shape } = host;
  const head = JSON.stringify({
    seed: host.seed,
    shape,
    unit,
    remapping,
    covered,
    functionPeers,
    rootPeers,
    second: second && { behind: second.roots.map(({ name }) => name), scalable: second.scalable },
  });
  return [head, ...host.roots.map((node) => line(node, 1))].join("\n");
}
