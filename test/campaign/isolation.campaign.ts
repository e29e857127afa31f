/** Device-centric groups, alias sets, proofs and reports on random hosts, against slower means. */
import { analyse } from "../../src/isolation/index.js";
import { buildFabric, describeFunction } from "../../src/pcie/index.js";
import type { Campaign } from "../../tools/campaign.js";
import { checkAnalysis } from "../support/isolation-properties.js";
import { sampleFabrics } from "../support/random-fabric.js";

const BATCH = 50;
const HOSTS = { ci: 200, full: 5000 };

/** Ids with alias, ACS and PASID rows. */
const IDS = [
  { vendor: 0x1b4b, device: 0x9235 },
  { vendor: 0x1180, device: 0xe832 },
  { vendor: 0x10b5, device: 0x87b0 },
  { vendor: 0x8086, device: 0x2260 },
  { vendor: 0x1a03, device: 0x1150 },
  { vendor: 0x19e5, device: 0xa250 },
];

export const campaign: Campaign = {
  name: "isolation",
  run({ size, seed, log }) {
    const hosts = HOSTS[size];
    let functions = 0;
    let enlarged = 0;
    for (let done = 0; done < hosts; done += BATCH) {
      for (const specs of sampleFabrics(seed + done, BATCH, { ids: IDS, maxBuses: 16 })) {
        const fabric = buildFabric({ functions: specs.map(describeFunction) });
        const facts = { iommuInUse: true, architecture: "x86" } as const;
        for (const strict of [false, true]) {
          const seen = analyse(fabric, facts, { rules: "device-centric", strict });
          try {
            checkAnalysis(seen);
          } catch (error) {
            throw new Error(`seed ${seed + done}, strict ${strict}`, { cause: error });
          }
          enlarged += seen.enlargements.length;
        }
        functions += fabric.functions.length;
      }
      log(`${done + BATCH} hosts, ${functions} functions`);
    }
    const text = `${hosts} hosts, ${functions} functions, ${enlarged} enlarged groups: all hold`;
    return { cases: hosts, text };
  },
};
