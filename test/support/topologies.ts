/**
 * Small hosts by name: the topologies that the scenarios of the project speak of (T1 to T10), and
 * their parts.
 */
import {
  Acs,
  buildFabric,
  describeFunction,
  type Fabric,
  type FunctionSpec,
  type PciFunction,
  PortType,
} from "../../src/pcie/index.js";
import { layOut, type PlannedFunction } from "../../src/platform/index.js";
import { type Bdf, formatBdf, parseBdf } from "../../src/units/index.js";

type Extra = Partial<Omit<PlannedFunction, "devFn" | "type">>;

export const ACS_REQUEST = Acs.SV | Acs.RR | Acs.CR | Acs.UF;
export const ACS_ON = { capability: 0x1f, control: ACS_REQUEST };
export const ACS_OFF = { capability: 0x1f, control: 0 };
/** Request redirect and upstream forwarding only. */
export const ACS_PATH_ONLY = { capability: 0x1f, control: Acs.RR | Acs.UF };
const PREFIX = { endEndPrefix: true };

export const slot = (device: number, fn = 0): number => device * 8 + fn;

const BAR = { index: 0, kind: "memory32", size: 0x10000n } as const;

/** One with a BAR, PASID, ATS and PRI. */
export function endpoint(devFn: number, extra: Extra = {}): PlannedFunction {
  return {
    devFn,
    type: PortType.Endpoint,
    bars: [BAR],
    driver: null,
    ats: {},
    pri: {},
    pasid: { width: 20 },
    ...PREFIX,
    ...extra,
  };
}

export function conventional(devFn: number, extra: Extra = {}): PlannedFunction {
  return { devFn, bars: [BAR], driver: null, ...extra };
}

export function port(
  type: PortType,
  devFn: number,
  below: readonly PlannedFunction[],
  extra: Extra = {},
): PlannedFunction {
  return { devFn, type, below, driver: "pcieport", ...PREFIX, ...extra };
}

export const rootPort = (
  devFn: number,
  below: readonly PlannedFunction[],
  extra: Extra = { acs: ACS_ON },
): PlannedFunction => port(PortType.RootPort, devFn, below, extra);

/** Below a root port: an upstream port and these downstream ports. */
export function switchBelow(
  downstream: readonly PlannedFunction[],
  extra: Extra = {},
): PlannedFunction {
  return port(PortType.UpstreamPort, 0, downstream, extra);
}

export const downstream = (
  devFn: number,
  below: readonly PlannedFunction[],
  extra: Extra = {},
): PlannedFunction => port(PortType.DownstreamPort, devFn, below, extra);

/** Without a type, a bridge is a conventional one. */
export function conventionalBridge(
  devFn: number,
  below: readonly PlannedFunction[],
  extra: Extra = {},
): PlannedFunction {
  return { devFn, bridge: true, below, driver: null, ...extra };
}

export class TestHost {
  readonly fabric: Fabric;

  constructor(fabric: Fabric) {
    this.fabric = fabric;
  }

  /** `01:00.0`, in segment 0 unless it says more. */
  fn(address: string): PciFunction {
    const fn = this.fabric.function(bdf(address));
    if (fn !== undefined) return fn;
    const all = this.fabric.functions.map((f) => formatBdf(f.bdf)).join(" ");
    throw new Error(`${address} is not among ${all}`);
  }
}

export function bdf(address: string): Bdf {
  const parsed = parseBdf(address);
  if (parsed === undefined) throw new Error(`${address} is no address`);
  return parsed;
}

export function host(...functions: PlannedFunction[]): TestHost {
  const layout = layOut([{ segment: 0, functions }]);
  const first = layout.problems[0];
  if (first !== undefined) throw new Error(first.text);
  return hostOf(layout.functions.map((f) => f.spec));
}

export function hostOf(specs: readonly FunctionSpec[]): TestHost {
  return new TestHost(buildFabric({ functions: specs.map(describeFunction) }));
}

/** Bdfs as `01:00.0`, for comparison. */
export function names(members: Iterable<Bdf>): string[] {
  return [...members].map((m) => formatBdf(m).replace(/^0000:/, ""));
}

/** A root port with ACS and one endpoint: 01:00.0. */
export const t1 = () => host(rootPort(slot(1), [endpoint(0)]));

const twoPorts = (acs: Extra, first: number, second: number) =>
  host(
    rootPort(slot(1), [
      switchBelow([downstream(first, [endpoint(0)], acs), downstream(second, [endpoint(0)], acs)]),
    ]),
  );

/** A switch without ACS, ports in different slots: endpoints 03:00.0 and 04:00.0. */
export const t2 = () => twoPorts({}, slot(0), slot(1));
/** The same with the ports in one slot. */
export const t2m = () => twoPorts({ multifunction: true }, slot(0, 0), slot(0, 1));
/** The same with ACS on. */
export const t3 = () => twoPorts({ acs: ACS_ON }, slot(0), slot(1));
/** Two conventional devices behind a PCIe-to-PCI bridge: 02:00.0 and 02:01.0. */
export const t4 = () =>
  host(
    rootPort(slot(1), [
      port(PortType.PcieToPciBridge, 0, [conventional(slot(0)), conventional(slot(1))]),
    ]),
  );
/** A multi-function endpoint without ACS: 01:00.0 and 01:00.1. */
export const t5 = () =>
  host(rootPort(slot(1), [endpoint(slot(0, 0), { multifunction: true }), endpoint(slot(0, 1))]));
/** Function 0 also sends as function 1 (Marvell 1b4b:9235); both present. */
export const t6 = () =>
  host(
    rootPort(slot(1), [
      endpoint(slot(0, 0), { multifunction: true, vendor: 0x1b4b, device: 0x9235, acs: ACS_ON }),
      endpoint(slot(0, 1), { acs: ACS_ON }),
    ]),
  );
/** A and B share a requester ID, C only lacks isolation: 01:00.0, 01:00.1, 01:00.2. */
export const t7 = () =>
  host(
    rootPort(slot(1), [
      endpoint(slot(0, 0), { multifunction: true, vendor: 0x1b4b, device: 0x9235 }),
      endpoint(slot(0, 1)),
      endpoint(slot(0, 2)),
    ]),
  );
/** RR and UF on, SV and CR off; the second function without PASID. */
export const t9 = () =>
  host(
    rootPort(slot(1), [
      endpoint(slot(0, 0), { multifunction: true, acs: ACS_PATH_ONLY }),
      endpoint(slot(0, 1), { acs: ACS_PATH_ONLY, pasid: undefined }),
    ]),
  );
