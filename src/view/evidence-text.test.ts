import assert from "node:assert/strict";
import { test } from "node:test";
import { EVIDENCE_KINDS, type Evidence, type EvidenceKind } from "../isolation/index.js";
import { formatBdf, makeBdf, makeRid } from "../units/index.js";
import { changeText } from "./change-text.js";
import { evidenceJson } from "./evidence-json.js";
import { evidenceText } from "./evidence-text.js";

const call = (bdf: Evidence["at"]): string => `port ${formatBdf(bdf)}`;
const KINDS = Object.keys(EVIDENCE_KINDS) as EvidenceKind[];

const bare = (kind: EvidenceKind): Evidence => ({ kind, at: makeBdf(0, 1, 2, 3), cite: "PCIe 6" });
const full = (kind: EvidenceKind): Evidence => ({
  ...bare(kind),
  bits: ["RR", "UF"],
  quirk: "someRule",
  with: makeBdf(0, 4, 5, 6),
  rid: makeRid(0x1234),
  capability: "PASID",
  windows: [{ first: 0x1000n, last: 0x1fffn }],
  detail: "a detail",
});

test("every kind of evidence has a sentence, with few facts and with all", () => {
  for (const kind of KINDS) {
    for (const evidence of [bare(kind), full(kind)]) {
      const text = evidenceText(evidence, call);
      assert.match(text, /^[A-Z].*\.$/, `${kind}: ${text}`);
      assert.doesNotMatch(text, /undefined|null|NaN|\s\s/, `${kind}: ${text}`);
    }
  }
});

test("advice, where there is any, is a sentence too", () => {
  for (const kind of KINDS) {
    const text = changeText(full(kind), call);
    if (text !== undefined) assert.match(text, /^[A-Z].*\.$/, `${kind}: ${text}`);
  }
});

test("a sentence names the port, the bits by name and letter, and the quirk", () => {
  const off = evidenceText({ ...bare("acs-bits-off"), bits: ["SV", "RR", "UF"] }, call);
  assert.equal(
    off,
    "Port 0000:01:02.3 has ACS, but Source Validation (SV), P2P Request Redirect (RR) and " +
      "Upstream Forwarding (UF) are off.",
  );
  assert.match(evidenceText(full("quirk-isolates"), call), /someRule/);
});

test("the JSON form carries addresses in hex and devices with their segment", () => {
  assert.deepEqual(evidenceJson(full("switch-routes-peer")), {
    kind: "switch-routes-peer",
    at: "0000:01:02.3",
    bits: ["RR", "UF"],
    quirk: "someRule",
    with: "0000:04:05.6",
    requesterId: "12:06.4",
    capability: "PASID",
    windows: [{ first: "0x1000", last: "0x1fff" }],
    detail: "a detail",
    cite: "PCIe 6",
  });
});
