/** The command as a user runs it: answers, JSON contracts, exit codes, refusals. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { main } from "../src/cli/main.js";
import { makePaint } from "../src/cli/render/text.js";
import { VERSION } from "../src/cli/version.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BIN = join(ROOT, "bin/ioasis.js");
const FIXTURES = join(ROOT, "test/fixtures/ground-truth");
const SWITCH = join(FIXTURES, "switch-without-acs-6.12");
const scratch = mkdtempSync(join(tmpdir(), "ioasis-cli-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function run(args: readonly string[], input = ""): Run {
  const env = { ...process.env, NO_COLOR: "1" };
  const result = spawnSync(process.execPath, [BIN, ...args], { encoding: "utf8", input, env });
  return { code: result.status, out: result.stdout, err: result.stderr };
}

/** In this process: quicker where only the answer matters. */
async function answered(args: readonly string[]): Promise<Run> {
  const collected = { out: "", err: "" };
  const code = await main(args, {
    paint: makePaint(false),
    interactive: false,
    line: (text = "") => {
      collected.out += `${text}\n`;
    },
    note: (text) => {
      collected.err += `${text}\n`;
    },
  });
  return { code, ...collected };
}

const ajv = new Ajv2020({ allErrors: true });
const validators = new Map<string, ValidateFunction>();

function validate(name: string, json: unknown): void {
  let check = validators.get(name);
  if (check === undefined) {
    const schema = readFileSync(join(ROOT, `schemas/${name}.schema.json`), "utf8");
    check = ajv.compile(JSON.parse(schema) as object);
    validators.set(name, check);
  }
  assert.ok(check(json), `${name}: ${ajv.errorsText(check.errors)}`);
}

const fixtures = readdirSync(FIXTURES).filter((name) => !name.includes("."));

describe("every shipped machine, every command", () => {
  for (const name of fixtures) {
    test(name, async () => {
      const from = ["--from", join(FIXTURES, name)];
      for (const command of ["groups", "devices", "pasid", "p2p"]) {
        for (const rules of ["auto", "device-centric"]) {
          const json = await answered([command, ...from, "--rules", rules, "--json"]);
          assert.equal(json.code, 0, json.err);
          validate(command, JSON.parse(json.out));
        }
        const text = await answered([command, ...from]);
        assert.equal(text.code, 0, text.err);
        for (const line of text.out.split("\n")) assert.ok(line.length <= 100, line);
        assert.doesNotMatch(text.out, /undefined|\[object|NaN/);
      }
      const all = await answered(["groups", ...from, "--rules", "all", "--json"]);
      validate("groups-all", JSON.parse(all.out));
      const check = await answered(["groups", ...from, "--check"]);
      assert.equal(check.code, 0, check.out);
    });
  }
});

test("explain: the pair that Linux separates and the fabric joins", async () => {
  const args = ["explain", "03:00.0", "04:00.0", "--from", SWITCH];
  const out = (await answered(args)).out.replace(/\s+/g, " ");
  assert.match(out, /linux-6\.12: different groups/);
  assert.match(out, /ONE isolation group/);
  assert.match(out, /never asks whether the switch routes between/);
  assert.match(out, /The transaction .*The IOMMU never sees it/);
  assert.match(out, /What would change it/);
  assert.doesNotMatch(out, /Nothing on the way/);
  const json = JSON.parse((await answered([...args, "--json"])).out) as {
    same: boolean;
    enlargedBy: { kind: string }[];
  };
  validate("explain", json);
  assert.equal(json.same, false);
  assert.ok(json.enlargedBy.some((e) => e.kind === "switch-routes-peer"));
  const joined = await answered([...args, "--json", "--rules", "device-centric"]);
  assert.equal((JSON.parse(joined.out) as { same: boolean }).same, true);
});

test("explain: one device, alone and in company", async () => {
  const alone = await answered(["explain", "00:00.0", "--from", SWITCH]);
  assert.match(alone.out, /alone in group/);
  const company = await answered(["explain", "00:1f.0", "--from", SWITCH]);
  assert.match(company.out, /functions:/);
  assert.match(company.out, /functions\s+of\s+one\s+slot/);
});

test("devices may follow --from, and --from may repeat or take several", async () => {
  const lspci = join(SWITCH, "lspci.txt");
  const dmesg = join(SWITCH, "dmesg.txt");
  const forms = [
    ["p2p", "03:00.0", "04:00.0", "--from", lspci, dmesg, "--json"],
    ["p2p", "--from", lspci, "--from", dmesg, "03:00.0", "04:00.0", "--json"],
    ["p2p", "--from", lspci, dmesg, "03:00.0", "04:00.0", "--json"],
  ];
  const outs = await Promise.all([answered(forms[0] ?? [])]);
  for (const form of forms) {
    const { out } = await answered(form);
    assert.equal(out, outs[0]?.out);
    const { pairs } = JSON.parse(out) as { pairs: { from: string; to: string; how: string }[] };
    assert.deepEqual(
      pairs.map((p) => [p.from, p.to, p.how]),
      [
        ["0000:03:00.0", "0000:04:00.0", "below-root-complex"],
        ["0000:04:00.0", "0000:03:00.0", "below-root-complex"],
      ],
    );
  }
});

test("a capture file gives the same answer as what it was made from", async () => {
  const made = await answered(["capture", "--from", SWITCH]);
  assert.equal(made.code, 0, made.err);
  const file = join(scratch, "switch.json");
  writeFileSync(file, made.out);
  validate("capture", JSON.parse(made.out));
  for (const command of ["groups", "devices", "p2p", "pasid"]) {
    const one = await answered([command, "--from", SWITCH, "--json"]);
    const two = await answered([command, "--from", file, "--json"]);
    assert.equal(two.out, one.out, command);
  }
});

test("standard input, exit 1 where computed and recorded differ, exit 2 for bad input", () => {
  const lspci = readFileSync(join(SWITCH, "lspci.txt"), "utf8");
  assert.equal(run(["groups", "--from", "-", "--check"], lspci).code, 0);
  const wrong = lspci.replace(/^(03:00\.0[\s\S]*?IOMMU group: )\d+/m, "$10");
  const differs = run(["groups", "--from", "-", "--check"], wrong);
  assert.equal(differs.code, 1);
  assert.match(differs.out, /differ/);
  assert.equal(run(["groups", "--from", "-"], wrong).code, 0);
  const garbage = run(["groups", "--from", "-"], "nothing to see\n".repeat(50));
  assert.equal(garbage.code, 2);
  assert.match(garbage.err, /^ioasis: -: nothing known was found/);
});

test("--check belongs to every command that answers about groups", async () => {
  const lspci = readFileSync(join(SWITCH, "lspci.txt"), "utf8");
  const wrong = join(scratch, "wrong-groups.txt");
  writeFileSync(wrong, lspci.replace(/^(03:00\.0[\s\S]*?IOMMU group: )\d+/m, "$10"));
  const bare = join(scratch, "no-groups.txt");
  writeFileSync(bare, lspci.replace(/^\tIOMMU group: .*\n/gm, ""));
  for (const command of [["groups"], ["devices"], ["pasid"], ["p2p"], ["explain", "03:00.0"]]) {
    const code = async (from: string) => answered([...command, "--check", "--from", from]);
    assert.equal((await code(SWITCH)).code, 0, command[0]);
    assert.equal((await code(wrong)).code, 1, command[0]);
    const none = await code(bare);
    assert.equal(none.code, 0, command[0]);
    assert.match(none.err, /no recorded groups; nothing was compared/);
  }
});

const REFUSED: readonly (readonly [string, readonly string[], RegExp])[] = [
  ["unknown command", ["gruops"], /gruops/],
  ["unknown option", ["groups", "--frm", "x"], /--frm/],
  ["missing file", ["groups", "--from", "/no/such/file"], /\/no\/such\/file/],
  ["unknown rules", ["groups", "--rules", "linux-5.4"], /linux-5\.4.*linux-6\.1/],
  ["not a device", ["explain", "gpu", "--from", SWITCH], /"gpu" is no device address/],
  ["absent device", ["explain", "7f:00.0", "--from", SWITCH], /no device 0000:7f:00\.0.*near it/],
  ["no device", ["explain", "--from", SWITCH], /one device or two/],
  ["same device twice", ["explain", "03:00.0", "03:00.0", "--from", SWITCH], /same device/],
  ["unknown shell", ["completion", "csh"], /bash, zsh, fish/],
];

describe("refusals: exit 2, one line on standard error, no stack", () => {
  for (const [name, args, says] of REFUSED) {
    test(name, () => {
      const { code, out, err } = run(args);
      assert.equal(code, 2, err);
      assert.match(err, says);
      assert.doesNotMatch(err, /\n\s+at /);
      assert.equal(out, "");
    });
  }
});

test("help shows examples and fits 100 columns; the version is the package's", () => {
  for (const command of ["groups", "devices", "explain", "pasid", "p2p", "capture"]) {
    const { code, out } = run([command, "--help"]);
    assert.equal(code, 0);
    assert.match(out, /Examples:\n {2}/);
    for (const line of out.split("\n")) assert.ok(line.length <= 100, line);
  }
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    version: string;
  };
  assert.equal(VERSION, version);
  assert.equal(run(["--version"]).out.trim(), version);
});

test("completion for bash is a script that bash accepts and that completes", () => {
  const { out } = run(["completion", "bash"]);
  const ask = (line: string): string => {
    // Bash hands over the line, and its words split at colons too.
    const words = line.replaceAll(":", " : ");
    const script =
      `${out}\nls() { echo 0000:00:01.0 0000:03:00.0 0000:03:00.1; }\n` +
      `COMP_LINE="${line}"; COMP_POINT=\${#COMP_LINE}; COMP_WORDS=(${words}); ` +
      `COMP_CWORD=$((\${#COMP_WORDS[@]}-1)); _ioasis; echo "\${COMPREPLY[@]}"`;
    return spawnSync("bash", ["-c", script], { encoding: "utf8" }).stdout.trim();
  };
  assert.equal(ask("ioasis gr"), "groups");
  assert.equal(ask("ioasis groups --rules linux-7"), "linux-7.2");
  assert.equal(ask("ioasis groups --ch"), "--check");
  assert.equal(ask("ioasis explain 0000:03:00"), "00.0 00.1");
  for (const shell of ["zsh", "fish"])
    assert.match(run(["completion", shell]).out, /--check|-l check/);
});
