/** `ioasis play` and `ioasis explain-dma`: answers, contracts, refusals. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Ajv2020 } from "ajv/dist/2020.js";
import { parse } from "yaml";
import { main } from "../src/cli/main.js";
import { makePaint } from "../src/cli/render/text.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PLATFORMS = join(ROOT, "examples/platforms");
const SCENARIOS = join(ROOT, "examples/scenarios");
const T2 = join(PLATFORMS, "t2.yaml");
const scratch = mkdtempSync(join(tmpdir(), "ioasis-play-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

async function run(...args: string[]) {
  const got = { out: "", err: "" };
  const code = await main(args, {
    paint: makePaint(false),
    interactive: false,
    line: (text = "") => {
      got.out += `${text}\n`;
    },
    note: (text) => {
      got.err += `${text}\n`;
    },
  });
  return { code, ...got };
}

function scenario(name: string, steps: string, platforms = `["${T2}"]`): string {
  const file = join(scratch, `${name}.yaml`);
  const head = `schema: ioasis/scenario/1\nname: ${name}\nplatforms: ${platforms}\nsteps:\n`;
  writeFileSync(file, head + steps);
  return file;
}

function valid(schema: string, json: unknown): void {
  const text = readFileSync(join(ROOT, `schemas/${schema}.schema.json`), "utf8");
  const ajv = new Ajv2020({ allErrors: true });
  const check = ajv.compile(JSON.parse(text) as object);
  assert.ok(check(json), ajv.errorsText(check.errors));
}

test("a scenario shows every hop, every table entry, and where it ends", async () => {
  const { code, out } = await run("play", join(SCENARIOS, "s14-raw.yaml"));
  assert.equal(code, 0);
  for (const part of [
    /port-a: the switch routes by address/,
    /no IOMMU saw it/,
    /reads pasid entry at 0x/,
    /=> memory 0x[0-9a-f]+ \(red, page 0\)/,
  ]) {
    assert.match(out, part);
  }
  for (const line of out.split("\n")) assert.ok(line.length <= 100, line);
});

test("JSON follows its schema, and names what differs between rule sets", async () => {
  const file = join(SCENARIOS, "s08-two-spaces-in-one-group.yaml");
  const { out } = await run("play", file, "--rules", "device-centric,linux-7.2", "--json");
  const json = JSON.parse(out) as { differences: { platform: string }[]; plays: unknown[] };
  valid("play", json);
  assert.equal(json.plays.length, 6);
  assert.ok(json.differences.some((d) => d.platform === "t5"));
});

test("a trace file has nested events for every play", async () => {
  const trace = join(scratch, "trace.json");
  await run("play", join(SCENARIOS, "s01-one-device.yaml"), "--trace-file", trace, "--json");
  const { traceEvents } = JSON.parse(readFileSync(trace, "utf8")) as {
    traceEvents: { name: string; ph: string; ts: number; dur?: number }[];
  };
  const names = traceEvents.map((e) => e.name);
  assert.ok(names.includes("process_name") && names.some((n) => n.startsWith("dma: ")));
  assert.ok(traceEvents.every((e) => e.ph === "M" || (e.dur ?? 0) > 0));
  const nowhere = join(scratch, "no", "where.json");
  const bad = await run("play", join(SCENARIOS, "s01-one-device.yaml"), "--trace-file", nowhere);
  assert.deepEqual([bad.code, /cannot be written/.test(bad.err)], [2, true]);
});

test("what is not as expected stops the play with exit code 1 and says where", async () => {
  const steps = `  - context: user
  - bind: { device: a, to: user }
    expect: EPERM
  - bind: { device: b, to: user }
`;
  const file = scenario("wrong", steps);
  const { code, out } = await run("play", file);
  assert.equal(code, 1);
  assert.match(out, /NOT AS EXPECTED: errno: EPERM; found success/);
  assert.match(out, /wrong\.yaml:6/);
  assert.ok(!out.includes("device b"), "the rest is not played");
});

test("a scenario from standard input; a platform in its stead is named", () => {
  const program = join(scratch, "play.mjs");
  const main = join(ROOT, "dist/src/cli/main.js");
  const call = `process.exitCode = await main(["play", "-"]);`;
  writeFileSync(program, `import { main } from "${main}";\n${call}\n`);
  const asks = (input: string) =>
    spawnSync(process.execPath, [program], { cwd: ROOT, encoding: "utf8", input });
  const steps = "  - context: user\n  - bind: { device: a, to: user }\n";
  const head = "schema: ioasis/scenario/1\nname: x\nplatforms: [t2]\nsteps:\n";
  const { status, stdout, stderr } = asks(head + steps);
  assert.deepEqual([status, stderr, /as expected/.test(stdout)], [0, "", true]);
  const wrong = asks(readFileSync(T2, "utf8"));
  assert.equal(wrong.status, 2);
  assert.match(wrong.stderr, /standard input\).*is a platform, not a scenario/);
});

test("what cannot be played is refused with file and line", async () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["  - bind: { device: nobody, to: user }\n  ", /no context is named "user"/],
    ["  - context: u\n  - bind: { device: nobody, to: u }\n", /no device is named "nobody"/],
    ["  - context: u\n  - space: { name: s, in: v }\n", /no context is named "v"/],
    ["  - {}\n", /has no action/],
    ["  - context: u\n    unplug: a\n", /has context and unplug|has unplug and context/],
    ["  - dma: { device: port-a, at: 0, read: 1 }\n", /has no engine/],
    ["  - dma: { device: a, at: 0 }\n", /needs one of write, read and translate/],
    ["  - dma: { device: a, at: 0, read: 1, write: x }\n", /needs one of write/],
    ["  - context: u\n  - memory: { name: u }\n", /"u" names something already/],
    [
      Array.from({ length: 17 }, (_, i) => `  - memory: { name: m${i}, pages: 65536 }\n`).join(""),
      /at most 1048576 pages/,
    ],
    ["  - unplug: 55:00.0\n", /is not there/],
    ["  - unplug: a\n  - unplug: a\n", /is not there/],
    ["  - window: { bridge: a, closed: true }\n", /is no bridge/],
    ["  - window: { bridge: port-a }\n", /needs first and last/],
    ["  - window: { bridge: port-a, first: 0x200000, last: 0x100000 }\n", /in this order/],
    [
      "  - context: u\n  - space: { name: s, in: u }\n  - bind: { device: a, to: u }\n" +
        "  - attach: { device: a, to: sp }\n",
      /no space or table is named "sp": there are s/,
    ],
    ["  - bind: { device: a, to: u }\n    expect: EINVALL\n", /"EINVALL" does not fit.*EINVAL/s],
    ["  - unpin: nothing\n", /nothing is named "nothing"/],
    ["  - contxt: u\n", /is not a field here; expected context/],
    ["  - context: u\n    expect: { linux-7.2: ok }\n", /says nothing for device-centric/],
    ["  - plug: a\n", /was not unplugged/],
  ];
  for (const [i, [steps, problem]] of cases.entries()) {
    const { code, err } = await run("play", scenario(`bad${i}`, steps));
    assert.equal(code, 2, steps);
    assert.match(err, problem);
    assert.match(err, new RegExp(`bad${i}\\.yaml:\\d`));
  }
  const missing = await run("play", join(scratch, "absent.yaml"));
  assert.match(missing.err, /cannot be read/);
  const platform = await run("play", scenario("p", "  - context: u\n", "[nowhere]"));
  assert.match(platform.err, /p\.yaml:3: platforms\[0\]: names no file; expected .*nowhere/);
  const empty = mkdtempSync(join(scratch, "empty"));
  assert.match((await run("play", empty)).err, /holds no scenario files/);
  assert.match((await run("play")).err, /missing required argument|takes scenario files/);
  const onlyLinux = scenario("l", "  - context: u\nrules: [linux-7.2]\n");
  assert.match((await run("play", onlyLinux)).err, /no scenario given is for these rules/);
  const rules = await run("play", scenario("r", "  - context: u\n"), "--rules", "linux-6.1");
  assert.match(rules.err, /cannot be played/);
});

test("a window that changes under an attach that excludes it moves the exclusion, or is refused", async () => {
  const steps = `  - context: user
  - policy: { of: user, pasid: exclude-windows }
  - memory: { name: red }
  - space: { name: p, in: user }
  - bind: { device: a, to: user }
  - bind: { device: b, to: user }
  - attach: { device: a, to: p, pasid: 5 }
  - map: { space: p, memory: red, at: 0x90000000 }
  - window: { bridge: port-b, first: 0x90000000, last: 0x900fffff }
    expect: EADDRINUSE
  - unmap: { space: p, at: 0x90000000 }
  - window: { bridge: port-b, first: 0x90000000, last: 0x900fffff }
  - map: { space: p, memory: red, at: 0x90000000 }
    expect: EINVAL
`;
  const { code, out } = await run("play", scenario("window", steps));
  assert.equal(code, 0, out);
});

test("an unplugged switch takes its devices' attachments with it", async () => {
  const steps = `  - context: user
  - memory: { name: red }
  - space: { name: one, in: user }
  - map: { space: one, memory: red, at: 0x10000 }
  - bind: { device: a, to: user }
  - attach: { device: a, to: one }
  - unplug: upstream
    expect: { count: 5 }
  - attach: { device: a, to: one }
    expect: EINVAL
  - destroy: one
  - plug: upstream
  - bind: { device: a, to: user }
  - dma: { device: a, write: x, at: 0x10000 }
    expect: { fault: true }
`;
  const { code, out } = await run("play", scenario("unplug", steps));
  assert.equal(code, 0, out);
});

test("explain-dma says who gets a request, and JSON follows its schema", async () => {
  const address = "0x80104000";
  const args = ["explain-dma", "a", "--pasid", "5", "--iova", address, "--platform", T2];
  const { code, out } = await run(...args);
  assert.equal(code, 0);
  assert.match(out, /arrives at .*0000:04:00\.0, BAR 0\. No IOMMU sees it/);
  assert.match(out, /lacks P2P Request Redirect/);
  const json = JSON.parse((await run(...args, "--json")).out) as {
    outcome: { kind: string; at: string };
  };
  valid("explain-dma", json);
  assert.deepEqual([json.outcome.kind, json.outcome.at], ["peer", "0000:04:00.0"]);
  const up = ["explain-dma", "03:00.0", "--iova", "4096", "--write", "--from", T2];
  assert.match((await run(...up)).out, /reaches the IOMMU as requester 03:00\.0/);
  const message = ["explain-dma", "a", "--iova", "0xfee00000", "--platform", T2];
  assert.match((await run(...message, "--write")).out, /interrupt message of requester 03:00\.0/);
  assert.match((await run(...message)).out, /the table of that slot decides/);
});

test("explain-dma refuses what it cannot ask", async () => {
  const base = ["explain-dma", "03:00.0", "--from", T2];
  for (const [more, problem] of [
    [[], /needs --iova/],
    [["--iova", "soon"], /no address/],
    [["--iova", "0", "--pasid", "1048576"], /no PASID/],
    [["--iova", "0", "--address-type", "odd"], /one of untranslated/],
  ] as const) {
    const { code, err } = await run(...base, ...more);
    assert.equal(code, 2);
    assert.match(err, problem);
  }
});

test("every scenario and platform of the examples fits the published schemas", async () => {
  const { readdirSync } = await import("node:fs");
  for (const [folder, schema] of [
    [SCENARIOS, "scenario"],
    [PLATFORMS, "platform"],
  ] as const) {
    const text = readFileSync(join(ROOT, `schemas/${schema}.schema.json`), "utf8");
    const ajv = new Ajv2020({ allErrors: true, strict: false });
    const check = ajv.compile(JSON.parse(text) as object);
    for (const file of readdirSync(folder)) {
      const value: unknown = parse(readFileSync(join(folder, file), "utf8"));
      // The readers take 01.0 for text; a plain YAML reader takes it for a number.
      const problems = check(value) ? [] : (check.errors ?? []);
      const real = problems.filter((e) => !e.instancePath.endsWith("/at"));
      assert.deepEqual(
        real.map((e) => `${file}${e.instancePath} ${e.message}`),
        [],
      );
    }
  }
});

test("explain-dma knows the IOMMU of a platform written by hand", async () => {
  const at = ["--pasid", "5", "--iova", "0x80104000", "--platform", T2];
  const { code, out } = await run("explain-dma", "a", ...at);
  assert.equal(code, 0);
  assert.match(out, /lacks P2P Request Redirect/);
  assert.doesNotMatch(out, /does not show whether the IOMMU/);
});

test("a bridge is handed out to nobody", async () => {
  const steps = "  - context: u\n  - bind: { device: port-a, to: u }\n    expect: EINVAL\n";
  assert.equal((await run("play", scenario("bridge", steps))).code, 0);
});
