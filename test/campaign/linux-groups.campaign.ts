/**
 * Linux's groups: the product against the naive second implementation, on random hosts. It is the
 * test of that name at another size, in a process of its own.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Campaign } from "../../tools/campaign.js";

const TEST = fileURLToPath(new URL("../linux-groups-naive.test.js", import.meta.url));
const HOSTS = { ci: 3000, full: 50_000 } as const;

export const campaign: Campaign = {
  name: "Linux groups against the naive implementation",
  run: ({ size, seed }) => {
    const hosts = HOSTS[size];
    const { status, stdout, stderr } = spawnSync(process.execPath, ["--test", TEST], {
      encoding: "utf8",
      env: { ...process.env, CAMPAIGN_SIZE: String(hosts), CAMPAIGN_SEED: String(seed) },
      maxBuffer: 64 << 20,
    });
    if (status !== 0) throw new Error(`seed ${seed}: the two disagree\n${stdout}${stderr}`);
    return { cases: hosts, text: "equal groups under all three rule sets on every host" };
  },
};
