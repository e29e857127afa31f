/** Evidence of refusals as lines. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bdf, makeBdf } from "../units/index.js";
import { refusalLines } from "./refusal-text.js";

const A = makeBdf(0, 3, 0, 0);
const B = makeBdf(0, 4, 0, 0);
const nameOf = (bdf: Bdf) => (bdf === A ? "a" : "b");

test("evidence of the analysis is a sentence, other evidence its fields", () => {
  const lines = refusalLines(
    [
      { kind: "path-acs-off", at: A, bits: ["RR", "UF"], quirk: undefined },
      { kind: "must-share", at: A, with: [A, B] },
      { kind: "reserved-range", windows: [{ first: 0x1000n, last: 0x1fffn }] },
      { kind: "area-pinned", iova: 0x2000n, cite: "a source" },
      { kind: "group-open", at: B, detail: undefined, count: 2 },
      {},
    ],
    nameOf,
  );
  assert.match(lines[0] ?? "", /^a lacks P2P Request Redirect .*Upstream Forwarding.*peer/);
  assert.deepEqual(lines.slice(1), [
    "must-share: at a, with a, b",
    "reserved-range: windows 0x1000-0x1fff",
    "area-pinned: iova 0x2000 (a source)",
    "group-open: at b, count 2",
    "because",
  ]);
});
