/**
 * Through the door: random calls of many threads and processes at once, and programs killed at
 * random points beside one that goes on. The programs are C; they check, and print what they did.
 */
import { join } from "node:path";
import type { Campaign } from "../../tools/campaign.js";
import { compile, doorSkip, ROOT, runOn, scratchFolder } from "../support/door-run.js";

const FOLDER = join(ROOT, "test/door");
const PLATFORM = join(FOLDER, "platform.yaml");
const LIMIT_MS = 60 * 60_000;

/** Calls of each thread, threads, processes; programs killed. */
const SIZES = {
  ci: { calls: 100, threads: 64, processes: 16, killed: 100 },
  full: { calls: 4000, threads: 64, processes: 16, killed: 5000 },
} as const;

export const campaign: Campaign = {
  name: "programs through the door",
  run({ size, seed, log }) {
    const skip = doorSkip();
    if (skip !== false) return { cases: 0, text: `not run: ${skip}` };
    const { calls, threads, processes, killed } = SIZES[size];
    const scratch = scratchFolder("door");
    try {
      const run = (name: string, ...args: readonly (number | string)[]): string => {
        const includes = [`-I${join(ROOT, "client")}`, `-I${join(ROOT, "examples/programs")}`];
        const program = join(scratch.path, name);
        compile(join(FOLDER, `${name}.c`), program, ...includes, "-pthread");
        const command = [program, ...args.map(String)];
        const ended = runOn(PLATFORM, command, { limit: LIMIT_MS });
        if (ended.status === 0) return ended.stdout.trim();
        const said = `${ended.stdout}${ended.stderr}`.slice(-2000);
        throw new Error(`${command.join(" ")} ended with ${ended.status}:\n${said}`);
      };
      const endings = run("random-calls", seed, calls, threads, processes);
      log(`${processes} processes of ${threads} threads: ${endings}`);
      const deaths = run("kills", seed, killed);
      log(deaths);
      const total = calls * threads * processes;
      const text = `${total} calls of ${processes} processes with ${threads} threads: ${endings}`;
      return { cases: total + killed, text: `${text}; ${deaths}, nothing of them was left` };
    } finally {
      scratch.remove();
    }
  },
};
