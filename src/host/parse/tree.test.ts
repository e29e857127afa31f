import assert from "node:assert/strict";
import { test } from "node:test";
import { sharedFiles, skipWithoutShared } from "../../../test/support/shared.js";
import { formatBdf, hex } from "../../units/index.js";
import { linesOf } from "./text.js";
import { isTreeLine, parseTree } from "./tree.js";

const factsOf = (text: string): string[] =>
  (parseTree(linesOf(text, "f"))?.tree ?? []).map(
    ({ segment, bus, bridge }) =>
      `${hex(segment, 4)}:${hex(bus, 2)} ${bridge === null ? "root" : formatBdf(bridge)}`,
  );

test("nested switches, ranges, single children and empty buses", () => {
  const text = [
    "-[0000:00]-+-00.0  Intel Corporation Host bridge",
    "           +-01.0-[01-05]----00.0-[02-05]--+-01.0-[03]--",
    "           |                               +-02.0-[04]----00.0  NVMe",
    "           |                               \\-03.0-[05]--+-00.0  GPU",
    "           |                                            \\-00.1  Audio",
    "           +-1c.0-[06]----00.0  NIC",
    "           \\-1f.0  LPC",
  ];
  assert.deepEqual(factsOf(text.join("\n")), [
    "0000:00 root",
    "0000:01 0000:00:01.0",
    "0000:02 0000:01:00.0",
    "0000:03 0000:02:01.0",
    "0000:04 0000:02:02.0",
    "0000:05 0000:02:03.0",
    "0000:06 0000:00:1c.0",
  ]);
});

test("several root buses and segments, also above ffff", () => {
  const text = [
    "-+-[10000:e0]-+-06.0-[e1]----00.0  NVMe",
    " |            \\-07.0",
    " +-[000d:30]---00.0-[31]--",
    " \\-[0000:00]-",
  ];
  assert.deepEqual(factsOf(text.join("\n")), [
    "10000:e0 root",
    "10000:e1 10000:e0:06.0",
    "000d:30 root",
    "000d:31 000d:30:00.0",
    "0000:00 root",
  ]);
});

test("old output without segments, box drawings, and an excerpt", () => {
  assert.deepEqual(factsOf("-[00]-+-00.0\n      \\-1e.0-[05]--"), [
    "0000:00 root",
    "0000:05 0000:00:1e.0",
  ]);
  assert.deepEqual(factsOf("-[0000:00]-┬-00.0\n           └─1e.0-[05]──"), [
    "0000:00 root",
    "0000:05 0000:00:1e.0",
  ]);
  const excerpt = " |    +-00.0-[07]--\n +-[0000:20]-+-01.0-[21]--\n |           \\-02.0-[22]--";
  assert.deepEqual(factsOf(excerpt), [
    "0000:20 root",
    "0000:21 0000:20:01.0",
    "0000:22 0000:20:02.0",
  ]);
});

test("text that is no tree gives no part", () => {
  assert.equal(parseTree(linesOf("+- bullet\n- item\n| table |", "f")), undefined);
  assert.equal(isTreeLine("+-02.0  device"), true);
  assert.equal(isTreeLine("00:02.0 VGA compatible controller: x"), false);
});

test("a tree without indentation says less, and nothing else", {
  skip: skipWithoutShared(),
}, () => {
  const trees = [
    ...sharedFiles("groundtruth", "lspci-t.txt"),
    ...sharedFiles("hosts", "lspci-tree.txt"),
    ...sharedFiles("hosts", "lspci-t.txt"),
    ...sharedFiles("hosts", "lspci-tv-vvv.txt"),
  ];
  assert.ok(trees.length > 80);
  for (const { sample, text } of trees) {
    const whole = new Set(factsOf(text));
    for (const lost of [/^[ \t]+/gm, /^ {1,4}/gm]) {
      const rest = factsOf(text.replace(lost, ""));
      assert.ok(rest.length > 0, sample);
      for (const fact of rest) assert.ok(whole.has(fact), `${sample}: ${fact}`);
    }
  }
});
