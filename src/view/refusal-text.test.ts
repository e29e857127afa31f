/** Evidence of refusals as lines. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bdf, makeBdf } from "../units/index.js";
import { refusalLines } from "./refusal-text.js";

const A = makeBdf(0, 3, 0, 0);
const B = makeBdf(0, 4, 0, 0);
const nameOf = (bdf: Bdf) => (bdf === A ? "a" : "b");

test("evidence is a sentence; a kind that has none shows its fields", () => {
  const lines = refusalLines(
    [
      { kind: "path-acs-off", at: A, bits: ["RR", "UF"], quirk: undefined },
      { kind: "must-share", at: A, with: [A, B] },
      { kind: "reserved-range", windows: [{ first: 0x1000n, last: 0x1fffn }] },
      { kind: "reserved-range", windows: [{ first: 0n, last: 1n }], type: "msi" },
      { kind: "area-pinned", iova: 0x2000n, cite: "a source" },
      { kind: "vf-count", at: B, count: 1 },
      { kind: "driver-bound", at: B, driver: undefined },
      { kind: "driver-bound", at: B, driver: "e1000e" },
      { kind: "vf-token", at: A, given: false },
      { kind: "ioctl-unknown", command: 0x3b99 },
      { kind: "not-listed", at: B, detail: undefined, count: 2, span: { first: 1n, last: 2n } },
      {},
    ],
    nameOf,
  );
  assert.match(lines[0] ?? "", /^a lacks P2P Request Redirect .*Upstream Forwarding.*peer/);
  assert.deepEqual(lines.slice(1), [
    "a must use one address space with a and b",
    "0x1000-0x1fff is reserved",
    "0x0-0x1 is reserved (msi)",
    "pages at 0x2000 are pinned by an access (a source)",
    "b has 1 virtual function switched on",
    "b is bound to no driver",
    "b is bound to e1000e",
    "no token was given; the one of a is needed",
    "the number was 0x3b99",
    "not-listed: at b, count 2, span 0x1-0x2",
    "because",
  ]);
});
