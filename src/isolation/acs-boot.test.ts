/**
 * ACS options and the prediction of control words: against kernels that were booted with those
 * options.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { bootedSamples, shippedSamples } from "../../test/support/groundtruth.js";
import { skipWithoutShared } from "../../test/support/shared.js";
import { buildFabric, describeFunction, type FunctionSpec, PortType } from "../pcie/index.js";
import { formatBdf, makeBdf, parseBdf } from "../units/index.js";
import { bootAcs } from "./acs-boot.js";
import { parseAcsOptions, parseFlags, parseSelector, selects } from "./acs-options.js";
import { linuxGroups } from "./linux-groups.js";
import type { LinuxRuleSet } from "./partition.js";
import { linuxRules, nearestRules } from "./rules/index.js";

const skip = skipWithoutShared();
const at = (text: string) => parseBdf(text) ?? makeBdf(0, 0, 0, 0);

/**
 * One machine (13 functions, ACS ports) booted with each option; 59 without an IOMMU shows the
 * firmware's words.
 */
const OPTIONS = [
  "52-cmdline-baseline",
  "53-disable-acs-redir-mf",
  "53-disable-acs-redir-mf-k7.2",
  "55-config-acs-off",
  "56-config-acs-partial",
];

for (const name of OPTIONS) {
  test(`${name}: predicted from the boot without an IOMMU`, { skip }, () => {
    const samples = bootedSamples();
    const off = samples.find((s) => s.name === "59-no-iommu-arg");
    const booted = samples.find((s) => s.name === name);
    assert.ok(off !== undefined && booted !== undefined);
    const rules = nearestRules(booted.kernel);
    const facts = { ...booted.facts, iommuInUse: false };
    const fabric = buildFabric({ functions: off.functions });
    const real = buildFabric({ functions: booted.functions });
    let words = 0;
    for (const fn of fabric.functions) {
      const expected = real.function(fn.bdf)?.acs;
      if (fn.acs === null || fn.acs === undefined) continue;
      const word = bootAcs(fn, facts, linuxRules(rules), fn.acs.control);
      assert.equal(word.control, expected?.control, formatBdf(fn.bdf));
      words++;
    }
    assert.ok(words >= 4);
    const made = linuxGroups(fabric, facts, rules, { assumeIommu: true });
    assert.deepEqual(made.groups, booted.recorded);
  });
}

test("shipped samples with an ACS option are predicted from a firmware that set nothing", () => {
  const named = shippedSamples().filter((s) => /acs/.test(s.facts.commandLine ?? ""));
  assert.ok(named.length >= 3);
  for (const sample of named) {
    const rules = linuxRules(nearestRules(sample.kernel));
    const fabric = buildFabric({ functions: sample.functions });
    for (const fn of fabric.functions) {
      if (fn.acs === null || fn.acs === undefined) continue;
      const word = bootAcs(fn, sample.facts, rules, 0);
      assert.equal(word.control, fn.acs.control, `${sample.name} ${formatBdf(fn.bdf)}`);
    }
  }
});

const PORT: FunctionSpec = {
  bdf: at("00:1c.0"),
  vendor: 0x1b36,
  device: 0x000c,
  type: PortType.RootPort,
  buses: [0, 1, 1],
  acs: { capability: 0x7f, control: 0, egressVector: [0] },
};

function boot(
  commandLine: string,
  rules: LinuxRuleSet,
  firmware: number | undefined,
  spec: Partial<FunctionSpec> = {},
) {
  const fn = buildFabric({ functions: [describeFunction({ ...PORT, ...spec })] }).functions[0];
  assert.ok(fn !== undefined);
  return bootAcs(fn, { commandLine }, linuxRules(rules), firmware);
}

test("defaults: SV RR CR UF as far as implemented, never EC and DT; set bits stay", () => {
  assert.equal(boot("", "linux-6.12", 0).control, 0x1d);
  assert.equal(boot("", "linux-6.12", 0x60).control, 0x7d);
  assert.equal(boot("", "linux-6.12", undefined).control, undefined);
  const some = { acs: { capability: 0x05, control: 0 } };
  assert.equal(boot("", "linux-6.12", 0, some).control, 0x05);
});

test("TB is added when ATS is off, and on ports that lead outside", () => {
  assert.equal(boot("pci=noats", "linux-6.1", 0).control, 0x1f);
  assert.equal(boot("", "linux-6.1", 0, { externalFacing: true }).control, 0x1f);
});

test("Linux 7.2 leaves Source Validation off on two IDT switches", () => {
  const idt = { vendor: 0x111d, device: 0x80b5 };
  assert.equal(boot("", "linux-6.12", 0, idt).control, 0x1d);
  assert.equal(boot("", "linux-7.2", 0, idt).control, 0x1c);
  assert.equal(boot("", "linux-7.2", 1, idt).control, 0x1d, "a bit of the firmware stays");
});

test("disable_acs_redir: 6.1 keeps what it set, later kernels fall back to the firmware", () => {
  const option = "pci=disable_acs_redir=0000:00:1c.0";
  assert.equal(boot(option, "linux-6.1", 0x40).control, 0x51);
  assert.equal(boot(option, "linux-6.12", 0x44).control, 0x40);
  assert.equal(boot(option, "linux-7.2", 0).control, 0);
  assert.equal(boot("pci=disable_acs_redir=00:1d.0", "linux-7.2", 0).control, 0x1d);
});

test("config_acs starts from the firmware's word and wins over disable_acs_redir", () => {
  const trap = "pci=config_acs=10x@00:1c.0";
  assert.equal(boot(trap, "linux-6.12", 0).control, 0x04, "SV, CR, UF return to the firmware's");
  assert.equal(boot(trap, "linux-6.12", 0x1b).control, 0x1d);
  assert.equal(boot(trap, "linux-6.1", 0).control, 0x1d, "6.1 does not know it");
  const both = "pci=disable_acs_redir=00:1c.0,config_acs=xx111x1@00:1c.0";
  assert.equal(boot(both, "linux-7.2", 0).control, 0x1d);
  assert.equal(boot("pci=config_acs=1111111@00:1c.0", "linux-7.2", undefined).control, 0x7f);
  assert.equal(boot("pci=config_acs=11101@00:1c.0", "linux-7.2", undefined).control, undefined);
});

test("on a Sunrise Point port either option only clears redirection, in the dword at +8", () => {
  const port = { vendor: 0x8086, device: 0xa110 };
  for (const option of ["disable_acs_redir=00:1c.0", "config_acs=1111111@00:1c.0"]) {
    const word = boot(`pci=${option}`, "linux-6.12", 0, port);
    assert.deepEqual([word.control, word.register], [0x11, "dword8"]);
  }
});

test("before 7.2 the first hierarchy of a device-tree host keeps the firmware's word", () => {
  const fn = buildFabric({ functions: [describeFunction(PORT)] }).functions[0];
  assert.ok(fn !== undefined);
  const facts = { firmware: "device-tree" } as const;
  assert.equal(bootAcs(fn, facts, linuxRules("linux-6.12"), 0x01).control, 0x01);
  assert.equal(bootAcs(fn, facts, linuxRules("linux-7.2"), 0x01).control, 0x1d);
});

test("older PCH ports have no ACS register to set", () => {
  assert.equal(boot("", "linux-6.12", 0, { vendor: 0x8086, device: 0x8c10 }).register, "none");
});

test("flags are read from the right; what Linux cannot read it ignores", () => {
  assert.deepEqual(parseFlags("10x"), { set: 4, clear: 2 });
  assert.deepEqual(parseFlags("xx111x1"), { set: 0x1d, clear: 0 });
  assert.deepEqual(parseFlags("xx0000000"), { set: 0, clear: 0x7f });
  assert.equal(parseFlags("10000000"), undefined);
  assert.equal(parseFlags("12"), undefined);
});

test("selectors by path and by id", () => {
  assert.deepEqual(parseSelector("0000:00:03.1"), {
    by: "path",
    segment: 0,
    bus: 0,
    devFns: [0x19],
  });
  assert.deepEqual(parseSelector("10000:e1:1c.0/00.0"), {
    by: "path",
    segment: 0x10000,
    bus: 0xe1,
    devFns: [0xe0, 0],
  });
  assert.deepEqual(parseSelector("pci:8086:0:103c:1"), { by: "id", ids: [0x8086, 0, 0x103c, 1] });
  for (const bad of ["", "pci:", "00:1c", "00:1c.8", "xyz", "pci:8086"]) {
    assert.equal(parseSelector(bad), undefined, bad);
  }
});

test("a path is matched from the function upwards", () => {
  const fabric = buildFabric({
    functions: [
      describeFunction(PORT),
      describeFunction({ bdf: at("01:00.0"), type: PortType.Endpoint, vendor: 1, device: 2 }),
    ],
  });
  const fn = fabric.function(at("01:00.0"));
  assert.ok(fn !== undefined);
  const match = (text: string) => {
    const selector = parseSelector(text);
    return selector !== undefined && selects(selector, fn);
  };
  assert.equal(match("00:1c.0/00.0"), true);
  assert.equal(match("00:1d.0/00.0"), false);
  assert.equal(match("01:00.0"), true);
  assert.equal(match("00:05.0/1c.0/00.0"), false);
  assert.equal(match("pci:1:2"), true);
  assert.equal(match("pci:1:0"), true);
  assert.equal(match("pci:1:3"), false);
});

test("a comma ends a sub-option, the last of its kind counts, a bad entry ends its list", () => {
  const options = parseAcsOptions(
    'quiet pci=disable_acs_redir=00:01.0;bad;00:02.0,noats "pci=config_acs=1@00:03.0;2@00:04.0"',
  );
  assert.equal(options.disableRedirect.length, 1);
  assert.equal(options.noAts, true);
  assert.deepEqual(
    options.config.map((c) => c.flags),
    [{ set: 1, clear: 0 }, undefined],
  );
  const later = parseAcsOptions("pci=disable_acs_redir=00:01.0 pci=disable_acs_redir=00:02.0");
  assert.equal(later.disableRedirect.length, 1);
});
