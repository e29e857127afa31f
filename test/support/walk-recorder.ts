/**
 * The calls of an object walk as steps of a scenario, and the platform on which they can be played:
 * the same groups and aliases in real topology. What no step can say is listed.
 */
import type { IommufdDevice } from "../../src/iommufd/index.js";
import type { Bdf } from "../../src/units/index.js";
import { type FailureFile, keepFailure } from "./failure-scenario.js";
import { device } from "./iommufd.js";

const engine = (name: string, more: object = {}) => ({
  kind: "endpoint",
  name,
  engine: "dma",
  driver: null,
  pasid: { width: 4, enabled: false },
  ...more,
});
const conventional = (name: string) => ({
  kind: "conventional",
  name,
  engine: "dma",
  driver: null,
});

/** d0 and d1 send alike and are in one group with d2; d3 and d4 are in one group; d5 is alone. */
const PLATFORM = {
  schema: "ioasis/platform/1",
  iommu: { kind: "intel" },
  roots: [
    {
      devices: [
        {
          kind: "root-port",
          acs: "full",
          below: [
            {
              kind: "pcie-to-pci-bridge",
              at: "00.0",
              below: [conventional("d0"), conventional("d1")],
            },
            engine("d2", { at: "00.1" }),
          ],
        },
        {
          kind: "root-port",
          acs: "full",
          below: [engine("d3", { at: "00.0" }), engine("d4", { at: "00.1" })],
        },
        { kind: "root-port", acs: "full", below: [engine("d5")] },
      ],
    },
  ],
};

const MEMORY_PAGES = 128;

export class WalkRecorder {
  readonly #steps: object[] = [
    { context: "u0" },
    { context: "u1" },
    { memory: { name: "m", pages: MEMORY_PAGES } },
    { memory: { name: "guest", pages: 8 } },
    { guestTable: { name: "guestTable", memory: "guest" } },
  ];
  readonly #without = new Set<string>();

  add(step: object): void {
    this.#steps.push(step);
  }

  /** A kind of call that no step says. */
  leaveOut(what: string): void {
    this.#without.add(what);
  }

  keep(why: string, rules: "device-centric" | "linux-7.2"): FailureFile {
    const without = [...this.#without];
    const name = "object-walk";
    return keepFailure({ name, why, rules, platform: PLATFORM, steps: this.#steps, without });
  }
}

/** What a scenario calls an object of a context. */
export const objectName = (context: number, id: number): string => `u${context}-${id}`;

export const deviceName = (bdf: Bdf | undefined): string => {
  for (let n = 0; n < 6; n++) if (device(n) === bdf) return `d${n}`;
  throw new Error(`device ${bdf} has no name`);
};

export const nameOfDevice = (found: IommufdDevice): string => deviceName(found.dma.function);
