import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { buildFabric } from "../../pcie/index.js";
import { buildPlatform, PlatformError } from "../../platform/index.js";
import { formatBdf, InputError } from "../../units/index.js";
import { parsePlatform, readPlatformFile } from "./platform-file.io.js";
import { loadPlatform } from "./scenario-file.io.js";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../../../..");
const EXAMPLES = join(ROOT, "examples/platforms");

test("every example is a platform whose fabric has no problems", async () => {
  const files = readdirSync(EXAMPLES).filter((name) => name.endsWith(".yaml"));
  assert.ok(files.length >= 4);
  for (const file of files) {
    const { functions } = (await loadPlatform(join(EXAMPLES, file))).platform;
    assert.deepEqual(buildFabric({ functions }).problems, [], file);
  }
});

test("the switch example has the addresses that it says", async () => {
  const file = join(EXAMPLES, "switch-without-acs.yaml");
  const { functions, facts, names } = buildPlatform(await readPlatformFile(file));
  assert.equal(facts.kernel, "6.12.90");
  assert.deepEqual(
    [...names].map(([name, bdf]) => `${name} ${formatBdf(bdf)}`),
    ["left 0000:03:00.0", "right 0000:04:00.0"],
  );
  const fabric = buildFabric({ functions });
  assert.deepEqual(
    fabric.functions.map((fn) => formatBdf(fn.bdf)),
    [
      "0000:00:1c.0",
      "0000:01:00.0",
      "0000:02:00.0",
      "0000:02:01.0",
      "0000:03:00.0",
      "0000:04:00.0",
    ],
  );
});

/** Every message of a refused text. */
function refused(text: string): string[] {
  try {
    buildPlatform(parsePlatform(text, "p.yaml"));
  } catch (error) {
    assert.ok(InputError.is(error), String(error));
    return error instanceof PlatformError ? error.problems.map((p) => p.message) : [error.message];
  }
  assert.fail("was accepted");
}

const HEAD = "schema: ioasis/platform/1\nroots:\n- devices:\n";

test("problems name file, line, field and what would be right, all at once", () => {
  const text = `${HEAD}  - kind: endpoint
    acs: fuld
    bars:
    - size: 3K
    pasid: { width: 21 }
    hotPlugs: true
  - { kind: bridge }
`;
  const place = (line: number, field: string) => `p.yaml:${line}: roots[0].devices${field}:`;
  const messages = refused(text);
  assert.deepEqual(messages.slice(0, 3), [
    `${place(5, "[0].acs")} "fuld" does not fit; ` +
      "expected one of full, none, or an object with capability and enabled",
    `${place(8, "[0].pasid.width")} 21 does not fit; expected a whole number from 0 to 20`,
    `${place(9, "[0].hotPlugs")} is not a field here; expected hotPlug`,
  ]);
  const kind = `${place(10, "[1].kind")} "bridge" does not fit; expected one of root-port, switch-`;
  assert.ok(messages[3]?.startsWith(kind), messages[3]);
  assert.equal(messages.length, 4);
});

const REFUSALS: readonly (readonly [string, string, RegExp])[] = [
  ["a port below an endpoint", "  - {kind: endpoint, below: []}", /:4: .*below: a endpoint has no/],
  ["a root port below a port", "  - {kind: root-port, below: [{kind: root-port}]}", /a root bus/],
  [
    "two devices at one place",
    "  - {kind: endpoint, at: 01.0}\n  - {kind: endpoint, at: 01.0}",
    /:5/,
  ],
  [
    "device 1 on a link",
    "  - {kind: root-port, below: [{kind: endpoint, at: 01.0}]}",
    /one device/,
  ],
  ["a slot without function 0", "  - {kind: endpoint, at: 01.1}", /function 0/],
  [
    "a name used twice",
    "  - {kind: endpoint, name: a}\n  - {kind: endpoint, name: a}",
    /:5: .*taken/,
  ],
  ["a BAR of 3 KiB", "  - {kind: endpoint, bars: [{size: 3K}]}", /power of two/],
  ["an unaligned BAR", "  - {kind: endpoint, bars: [{size: 4K, base: 0x90000100}]}", /not aligned/],
  [
    "seven BAR registers",
    "  - {kind: endpoint, bars: [{size: 4K, index: 5, kind: memory64}]}",
    /6 BAR/,
  ],
  [
    "a BAR register used twice",
    "  - {kind: endpoint, bars: [{size: 4K, index: 1}, {size: 4K, index: 1}]}",
    /twice/,
  ],
  [
    "an unaligned window",
    "  - {kind: root-port, windows: {memory: {first: 0x90000001, last: 0x900fffff}}}",
    /aligned/,
  ],
  [
    "a window that ends before it starts",
    "  - {kind: root-port, windows: {memory: {first: 0x90100000, last: 0x900fffff}}}",
    /does not fit/,
  ],
  [
    "an enabled ACS bit that is not there",
    "  - {kind: endpoint, acs: {capability: [SV], enabled: [RR]}}",
    /RR is on/,
  ],
  [
    "an egress vector without egress control",
    "  - {kind: endpoint, acs: {capability: [SV], egressVector: [1]}}",
    /EC/,
  ],
  ["more VFs than there are", "  - {kind: endpoint, sriov: {vfs: 4, total: 2}}", /at most 2/],
  [
    "PASID on a conventional card",
    "  - {kind: conventional, pasid: {width: 8}}",
    /PCI Express function/,
  ],
  ["ATS on a port", "  - {kind: root-port, ats: true}", /on an endpoint/],
  ["hot plug on an endpoint", "  - {kind: endpoint, hotPlug: true}", /root port/],
  [
    "overlapping BARs",
    "  - {kind: endpoint, bars: [{size: 4K, base: 0x90000000}, {size: 4K, base: 0x90000000}]}",
    /overlaps/,
  ],
  [
    "a BAR outside its window",
    "  - kind: root-port\n    windows: {memory: closed}\n" +
      "    below: [{kind: endpoint, bars: [{size: 4K, base: 0x90000000}]}]",
    /outside the memory window/,
  ],
  [
    "bus numbers beyond 255",
    "  - {kind: root-port, buses: {secondary: 255}, below: [{kind: switch-upstream}]}",
    /256 bus numbers/,
  ],
  ["VFs beyond the last bus", "  - {kind: endpoint, sriov: {vfs: 2, stride: 65535}}", /bus/],
  [
    "an unknown device in the scope",
    "  - {kind: endpoint}\niommu: {kind: intel, covers: [x]}",
    /:5: .*no device is named/,
  ],
  ["an AMD IOMMU without function", "  - {kind: endpoint}\niommu: {kind: amd}", /name it/],
  [
    "an Intel IOMMU with function",
    "  - {kind: endpoint, name: a}\niommu: {kind: intel, function: a}",
    /not a function/,
  ],
  [
    "a reserved region that ends first",
    "  - {kind: endpoint, name: a}\n" +
      "iommu: {kind: intel, reserved: [{devices: [a], first: 2, last: 1}]}",
    /before first/,
  ],
  [
    "a reserved region where tables have none",
    "  - {kind: endpoint, name: a}\n" +
      "iommu: {kind: smmuv3, reserved: [{devices: [a], first: 1, last: 2}]}",
    /no such region/,
  ],
  [
    "a scope without IOMMU",
    "  - {kind: endpoint}\niommu: {kind: none, covers: all}",
    /nothing is covered/,
  ],
  ["text that is not YAML", "  - {kind: [", /^p\.yaml:\d+: /],
  ["a key given twice", "  - kind: endpoint\n    kind: endpoint", /^p\.yaml:5: /],
];
for (const [what, text, message] of REFUSALS) {
  test(`refused: ${what}`, () => {
    const messages = refused(HEAD + text);
    assert.ok(
      messages.some((m) => message.test(m)),
      messages.join("\n"),
    );
    for (const m of messages) assert.match(m, /^p\.yaml:\d+:/);
  });
}

test("hostile files are refused, not followed", () => {
  assert.match(refused("[".repeat(20_000))[0] ?? "", /nested|YAML|p\.yaml/);
  const bomb = Array.from({ length: 12 }, (_, i) => {
    const uses =
      i === 0
        ? "x"
        : Array(12)
            .fill(`*a${i - 1}`)
            .join(", ");
    return `a${i}: &a${i} [${uses}]`;
  });
  assert.ok(refused(bomb.join("\n")).length > 0);
});

test("a file that is not there is an input error", async () => {
  await assert.rejects(readPlatformFile("/nonexistent/p.yaml"), (e) => InputError.is(e));
});
