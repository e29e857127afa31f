/**
 * Small named topologies for worked examples; addresses and bus numbers are fixed, so tests can
 * name them.
 */
import {
  buildFabric,
  describeFunction,
  type Fabric,
  type FunctionSpec,
  type PciFunction,
  PortType,
} from "../../src/pcie/index.js";
import { parseBdf } from "../../src/units/index.js";

export type Change = Partial<Omit<FunctionSpec, "bdf">>;
/** By address without segment, `02:00.0`. */
export type Changes = Readonly<Record<string, Change>>;

/** ACS with every bit implemented and these on. */
export function acs(control: number, egressVector?: number[]): NonNullable<FunctionSpec["acs"]> {
  const capability = 0x5f | (egressVector === undefined ? 0 : 0x2020);
  return { capability, control, egressVector };
}

const MB = 0x100000n;

function span(first: bigint, megabytes: bigint): { first: bigint; last: bigint } {
  return { first, last: first + megabytes * MB - 1n };
}

function at(bdf: string): FunctionSpec["bdf"] {
  const parsed = parseBdf(bdf);
  if (parsed === undefined) throw new Error(`${bdf} is not an address`);
  return parsed;
}

function bar(base: bigint): FunctionSpec["bars"] {
  return [{ index: 0, base, size: 0x4000n }];
}

/** BAR 0 of A at 03:00.0, B at 04:00.0, and C at 06:00.0. */
export const A_BAR = 0xe0000000n;
export const B_BAR = 0xe0100000n;
export const C_BAR = 0xe1000000n;

/**
 * One switch with two endpoints, and a third endpoint below another root port:
 * 00:01.0 root port - 01:00.0 upstream port - 02:00.0 - 03:00.0 (A)
 *                                           - 02:01.0 - 04:00.0 (B)
 * 00:02.0 root port - 06:00.0 (C)
 */
export function switchOfTwo(changes: Changes = {}): Fabric {
  const port = { endEndPrefix: true };
  const window = span(A_BAR, 2n);
  return build(
    {
      "00:01.0": { ...port, type: PortType.RootPort, buses: [0, 1, 4], memoryWindow: window },
      "01:00.0": { ...port, type: PortType.UpstreamPort, buses: [1, 2, 4], memoryWindow: window },
      "02:00.0": {
        ...port,
        type: PortType.DownstreamPort,
        portNumber: 1,
        buses: [2, 3, 3],
        memoryWindow: span(A_BAR, 1n),
      },
      "02:01.0": {
        ...port,
        type: PortType.DownstreamPort,
        portNumber: 2,
        buses: [2, 4, 4],
        memoryWindow: span(B_BAR, 1n),
      },
      "03:00.0": { ...port, type: PortType.Endpoint, bars: bar(A_BAR) },
      "04:00.0": { ...port, type: PortType.Endpoint, bars: bar(B_BAR) },
      "00:02.0": {
        ...port,
        type: PortType.RootPort,
        portNumber: 9,
        buses: [0, 6, 6],
        memoryWindow: span(C_BAR, 1n),
      },
      "06:00.0": { ...port, type: PortType.Endpoint, bars: bar(C_BAR) },
    },
    changes,
  );
}

/** Root port 00:01.0, one device of two functions 01:00.0 (A_BAR) and 01:00.1 (B_BAR). */
export function twoFunctions(changes: Changes = {}): Fabric {
  const type = PortType.Endpoint;
  const fn = { type, multifunction: true, endEndPrefix: true };
  return build(
    {
      "00:01.0": {
        type: PortType.RootPort,
        endEndPrefix: true,
        buses: [0, 1, 1],
        memoryWindow: span(A_BAR, 2n),
      },
      "01:00.0": { ...fn, bars: bar(A_BAR) },
      "01:00.1": { ...fn, bars: bar(B_BAR) },
    },
    changes,
  );
}

/**
 * Root port 00:01.0, PCIe-to-PCI bridge 01:00.0, on bus 2 two conventional devices 02:00.0 (A_BAR)
 * and 02:01.0 (B_BAR) and a conventional bridge 02:02.0, below it 03:00.0 (0xe0200000).
 */
export function conventional(changes: Changes = {}): Fabric {
  const window = span(A_BAR, 4n);
  return build(
    {
      "00:01.0": {
        type: PortType.RootPort,
        endEndPrefix: true,
        buses: [0, 1, 3],
        memoryWindow: window,
      },
      "01:00.0": { type: PortType.PcieToPciBridge, buses: [1, 2, 3], memoryWindow: window },
      "02:00.0": { bars: bar(A_BAR) },
      "02:01.0": { bars: bar(B_BAR) },
      "02:02.0": { bridge: true, buses: [2, 3, 3], memoryWindow: span(0xe0200000n, 1n) },
      "03:00.0": { bars: bar(0xe0200000n) },
    },
    changes,
  );
}

function build(specs: Record<string, Change>, changes: Changes): Fabric {
  for (const bdf of Object.keys(changes)) {
    if (specs[bdf] === undefined) throw new Error(`${bdf} is not in this topology`);
  }
  return buildFabric({
    functions: Object.entries(specs).map(([bdf, spec]) =>
      describeFunction({ ...spec, ...changes[bdf], bdf: at(bdf) }),
    ),
  });
}

/** The function at `02:00.0` of segment 0. */
export function fnAt(fabric: Fabric, bdf: string): PciFunction {
  const fn = fabric.function(at(bdf));
  if (fn === undefined) throw new Error(`no ${bdf}`);
  return fn;
}
