/**
 * Calls through the door, against C doing the same over the same transport, in the same run.
 *
 * One C client measures both servers: the daemon, and one in C that answers every call with 0.
 * Asleep: calls 100 us apart, so that neither side looks for long. Looking: calls at once. While
 * more threads want to run than there are processors nobody looks, so such rounds do not count:
 * the goal holds for rounds in which the C pair looked, and what is compared is compared within
 * one regime.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { compileFloor } from "./floor.js";
import { type Bench, type BenchContext, interleave, median, medianRatio, ROOT } from "./harness.js";

const COMMAND = join(ROOT, "bin", "ioasis.js");
const ROUNDS = 5;
/** Looks of the C server before it sleeps: as long as the daemon looks at most. */
const LOOKS = 5000;
/** A call of the C pair that takes longer, in ns, had somebody asleep. */
const LOOKING_LIMIT = 1000;
/** A pair of calls that takes longer, in ns, had somebody asleep. */
const PAIR_LOOKING_LIMIT = 8000;
const GOALS = { asleep: 1.25, looking: 2.2, map: 1.5, chosen: 2, runTrue: 4, traced: 1.3 };

export const bench: Bench = { name: "the door", run: measure };

async function measure(context: BenchContext): Promise<void> {
  if (process.arch !== "x64" || spawnSync("cc", ["--version"]).status !== 0) {
    context.skip("door", "no C compiler for x86-64");
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "ioasis-bench-"));
  chmodSync(folder, 0o700);
  try {
    const client = compileFloor("door-client", folder);
    const server = compileFloor("door-server", folder);
    const peers = { folder, client, server };
    await withDaemon(folder, "plain", [], async (socket) => {
      await measureTrips(context, peers, socket);
      measureMaps(context, peers, socket);
      const traced = ["--trace", join(folder, "trace.json")];
      await withDaemon(folder, "traced", traced, async (other) => {
        measureTraced(context, peers, socket, other);
      });
    });
    await measureRunTrue(context);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Peers {
  readonly folder: string;
  readonly client: string;
  readonly server: string;
}

type Socket = string;

async function withDaemon(
  folder: string,
  name: string,
  options: readonly string[],
  use: (socket: Socket) => Promise<void>,
): Promise<void> {
  const env = { ...process.env, XDG_RUNTIME_DIR: folder };
  const args = [COMMAND, "serve", "--name", name, ...options];
  const daemon = spawn(process.execPath, args, { env, stdio: "ignore" });
  try {
    const socket = join(folder, "ioasis", name, "socket");
    await until(daemon, socket);
    await use(socket);
  } finally {
    daemon.kill("SIGTERM");
    if (daemon.exitCode === null) await once(daemon, "exit");
  }
}

/** Until somebody serves the socket. */
async function until(server: ChildProcess, socket: string): Promise<void> {
  while (!existsSync(socket)) {
    if (server.exitCode !== null) throw new Error(`the server ended with ${server.exitCode}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function client(peers: Peers, socket: Socket, what: string, count: number, pause = 0): number[] {
  const args = [socket, what, String(count), String(pause)];
  return execFileSync(peers.client, args, { encoding: "utf8" }).split(" ").map(Number);
}

async function throughC(
  peers: Peers,
  looks: number,
  count: number,
  pause: number,
): Promise<number> {
  const socket = join(peers.folder, "c-socket");
  rmSync(socket, { force: true });
  const stdio = ["ignore", "ignore", "inherit"] as const;
  const server = spawn(peers.server, [socket, String(looks)], { stdio: [...stdio] });
  await until(server, socket);
  await new Promise((resolve) => setTimeout(resolve, 10));
  return client(peers, socket, "bare", count, pause)[0] ?? Number.NaN;
}

async function measureTrips(context: BenchContext, peers: Peers, socket: Socket): Promise<void> {
  const few = context.size === "ci" ? 1000 : 4000;
  const many = few * 25;
  client(peers, socket, "bare", many);
  const taken: Record<"c" | "cLooking" | "here" | "hereLooking", number[]> = {
    c: [],
    cLooking: [],
    here: [],
    hereLooking: [],
  };
  for (let round = 0; round < ROUNDS; round++) {
    taken.c.push(await throughC(peers, 0, few, 100));
    taken.here.push(client(peers, socket, "bare", few, 100)[0] ?? Number.NaN);
    const busyBefore = isBusy();
    const c = await throughC(peers, LOOKS, many, 0);
    const here = client(peers, socket, "bare", many)[0] ?? Number.NaN;
    if (busyBefore || isBusy() || c > LOOKING_LIMIT) continue;
    taken.cLooking.push(c);
    taken.hereLooking.push(here);
  }
  const text = (c: number[], here: number[]): string =>
    `C ${median(c).toFixed(0)} ns, here ${median(here).toFixed(0)} ns`;
  context.report({
    metric: "door.trip-asleep",
    // Of each side the round that other processes disturbed least: waking takes the scheduler.
    value: Math.min(...taken.here) / Math.min(...taken.c),
    unit: "x",
    goal: GOALS.asleep,
    floor: text([Math.min(...taken.c)], [Math.min(...taken.here)]),
  });
  if (taken.cLooking.length === 0) {
    context.log("door.trip-looking: no round with processors to spare, nothing to compare");
    return;
  }
  context.report({
    metric: "door.trip-looking",
    value: medianRatio(taken.hereLooking, taken.cLooking),
    unit: "x",
    goal: GOALS.looking,
    floor: `${text(taken.cLooking, taken.hereLooking)}, ${taken.cLooking.length} rounds`,
  });
}

/** More threads want to run than there are processors. */
function isBusy(): boolean {
  const running = / (\d+)\/\d+ /.exec(readFileSync("/proc/loadavg", "latin1"))?.[1];
  return Number(running) > availableParallelism();
}

function measureMaps(context: BenchContext, peers: Peers, socket: Socket): void {
  const count = context.size === "ci" ? 5000 : 20_000;
  const maps = context.size === "ci" ? 10_000 : 100_000;
  const pairs: number[] = [];
  const bare: number[] = [];
  client(peers, socket, "map", count);
  for (let round = 0; round < ROUNDS; round++) {
    pairs.push(client(peers, socket, "map", count)[0] ?? Number.NaN);
    bare.push(client(peers, socket, "bare", 2 * count)[0] ?? Number.NaN);
  }
  context.report({
    metric: "door.map-unmap-4k",
    value: median(pairs) / 1000,
    unit: "us",
    floor: `two bare calls ${((2 * median(bare)) / 1000).toFixed(2)} us`,
  });
  // The quietest of several: when somebody falls asleep on the way it is not the map that grew.
  const tenths = Array.from({ length: ROUNDS }, () => client(peers, socket, "chosen", maps));
  const first = Math.min(...tenths.map(([early]) => early ?? Number.NaN));
  const last = Math.min(...tenths.map(([, late]) => late ?? Number.NaN));
  context.report({
    metric: `door.chosen-iova-${maps}`,
    value: last / first,
    unit: "x",
    goal: GOALS.chosen,
    floor: `first tenth ${first.toFixed(0)} ns, last tenth ${last.toFixed(0)} ns`,
  });
}

function measureTraced(context: BenchContext, peers: Peers, plain: Socket, traced: Socket): void {
  const count = context.size === "ci" ? 5000 : 20_000;
  const taken: Record<"plain" | "traced", number[]> = { plain: [], traced: [] };
  client(peers, traced, "map", count);
  for (let round = 0; round < 4 * ROUNDS && taken.plain.length < ROUNDS; round++) {
    const without = client(peers, plain, "map", count)[0] ?? Number.NaN;
    const withTrace = client(peers, traced, "map", count)[0] ?? Number.NaN;
    if (without < PAIR_LOOKING_LIMIT !== withTrace < PAIR_LOOKING_LIMIT) continue;
    taken.plain.push(without);
    taken.traced.push(withTrace);
  }
  if (taken.plain.length === 0) {
    context.log("door.traced: no round in which both looked or both slept");
    return;
  }
  context.report({
    metric: "door.traced",
    value: medianRatio(taken.traced, taken.plain),
    unit: "x",
    goal: GOALS.traced,
    floor: `plain ${median(taken.plain).toFixed(0)} ns`,
  });
}

async function measureRunTrue(context: BenchContext): Promise<void> {
  const node = (...args: string[]): void => {
    const { status } = spawnSync(process.execPath, args, { stdio: "ignore" });
    if (status !== 0) throw new Error(`node ${args.join(" ")} exits ${status}`);
  };
  const taken = await interleave(context.size === "ci" ? 5 : 15, {
    nothing: () => node("-e", "0"),
    run: () => node(COMMAND, "run", "--", "true"),
  });
  context.report({
    metric: "door.run-true",
    value: medianRatio(taken.run, taken.nothing),
    unit: "x",
    goal: GOALS.runTrue,
    floor: `node -e 0: ${median(taken.nothing).toFixed(1)} ms`,
  });
}
