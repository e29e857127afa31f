import assert from "node:assert/strict";
import { test } from "node:test";
import type { Evidence, EvidenceKind } from "../isolation/index.js";
import { formatBdf, makeBdf } from "../units/index.js";
import { condensedSentences, enumerate } from "./condense.js";

const call = (bdf: Evidence["at"]): string => `root port ${formatBdf(bdf)}`;
const missing = (bus: number): Evidence => ({
  kind: "acs-capability-missing",
  at: makeBdf(0, bus, 0, 0),
  cite: "PCIe 6",
});

test("the same fact about several devices is one sentence that names them all", () => {
  const shared: Evidence = { kind: "external-facing", at: makeBdf(0, 9, 0, 0), cite: "ACPI" };
  assert.deepEqual(condensedSentences([missing(1), shared, missing(2), missing(1)], call), [
    "Root ports 0000:01:00.0 and 0000:02:00.0 have no Access Control Services (ACS) capability, " +
      "so nothing makes them send their traffic up.",
    "Root port 0000:09:00.0 leads outside the case.",
  ]);
});

test("bits that differ are told apart", () => {
  const off = (bus: number, bits: Evidence["bits"]): Evidence => ({
    kind: "acs-bits-off",
    at: makeBdf(0, bus, 0, 0),
    bits,
    cite: "PCIe 6",
  });
  const told = condensedSentences([off(1, ["RR"]), off(2, ["UF"]), off(3, ["RR"])], call);
  assert.equal(told.length, 2);
  assert.match(told[0] ?? "", /01:00\.0 and 0000:03:00\.0 have ACS, but P2P Request Redirect/);
});

test("devices that different rules vouch for are told apart", () => {
  const vouched = (bus: number, quirk: string): Evidence => ({
    kind: "quirk-isolates",
    at: makeBdf(0, bus, 0, 0),
    quirk,
    cite: "Linux",
  });
  const told = condensedSentences([vouched(1, "a"), vouched(2, "b"), vouched(3, "a")], call);
  assert.equal(told.length, 2);
  assert.match(told[0] ?? "", /01:00\.0 and 0000:03:00\.0 are known .* \(kernel rule a\)\.$/);
});

test("all functions of one slot, and all that shared addressing needs, are one sentence", () => {
  const at = (fn: number) => makeBdf(0, 1, 0, fn);
  const beside = (fn: number, other: number): Evidence => ({
    kind: "same-slot-not-isolated",
    at: at(fn),
    with: at(other),
    cite: "Linux",
  });
  const elsewhere: Evidence = {
    ...beside(1, 0),
    at: makeBdf(0, 2, 0, 1),
    with: makeBdf(0, 2, 0, 0),
  };
  assert.deepEqual(condensedSentences([beside(2, 0), beside(1, 0), elsewhere], call), [
    "Root ports 0000:01:00.0, 0000:01:00.1 and 0000:01:00.2 are functions of one slot and none is " +
      "kept from the others.",
    "Root port 0000:02:00.1 and root port 0000:02:00.0 are functions of one slot and neither is " +
      "kept from the other.",
  ]);
  const needs = ["PASID", "ATS", "PRI"].map((capability): Evidence => {
    return { kind: "sva-needs", at: at(0), capability, cite: "PCIe 6" };
  });
  assert.deepEqual(condensedSentences(needs, call), [
    "Shared virtual addressing needs PASID, ATS and PRI, which root port 0000:01:00.0 cannot use.",
  ]);
});

test("a fact about two devices is told once, whichever is named first", () => {
  const [a, b] = [makeBdf(0, 1, 0, 0), makeBdf(0, 2, 0, 0)];
  const apart = (at: typeof a, other: typeof a): Evidence => {
    return { kind: "different-slots", at, with: other, cite: "Linux" };
  };
  assert.equal(condensedSentences([apart(a, b), apart(b, a)], call).length, 1);
});

test("a plural sentence exists in good form for each kind that has one", () => {
  const kinds: EvidenceKind[] = [
    "path-not-isolated",
    "acs-capability-missing",
    "acs-bits-on",
    "acs-bits-off",
    "acs-not-needed",
    "acs-unknown",
    "not-pci-express",
    "alone-in-slot",
    "virtual-function-apart",
    "quirk-isolates",
    "quirk-not-tested",
    "topology-unknown",
    "prefix-not-supported",
    "prefix-support-unknown",
    "path-acs-off",
    "driver-blocks",
    "driver-unknown",
  ];
  for (const kind of kinds) {
    const two = [1, 2].map((bus): Evidence => ({ kind, at: makeBdf(0, bus, 0, 0), cite: "x" }));
    const told = condensedSentences(two, call);
    assert.equal(told.length, 1, kind);
    assert.match(told[0] ?? "", /^[A-Z].*\.$/);
  }
});

test("devices are listed by role", () => {
  assert.equal(
    enumerate(["root port a", "PCI bridge b", "root port c", "RAM memory d", "RAM memory e"]),
    "root ports a and c, PCI bridge b and RAM memories d and e",
  );
});
