/** The numbers here and those of the client's header are the same. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  CHANNEL_BYTES,
  DESCRIPTORS_MAX,
  FRAME_MAGIC,
  FRAME_VERSION,
  HEADER_BYTES,
  HeaderWord,
  makePacket,
  Operation,
  PACKET_WORDS,
  PAYLOAD,
  PAYLOAD_BYTES,
  PacketKind,
  ReplyFlag,
  RequestFlag,
  readPacket,
  SLOT_BYTES,
  SLOTS,
  SlotState,
  SlotWord,
} from "./frame.js";

const HEADER = fileURLToPath(new URL("../../../../client/frame.h", import.meta.url));

/** Values of the header's macros; expressions name other macros. */
function macros(): Map<string, number> {
  const values = new Map<string, number>();
  for (const line of readFileSync(HEADER, "utf8").split("\n")) {
    const [, name, text] = /^#define IOASIS_(\w+)\s+([^/]+)/.exec(line) ?? [];
    if (name === undefined || text === undefined) continue;
    const plain = text
      .replaceAll(/IOASIS_(\w+)/g, (_all, other: string) => String(values.get(other)))
      .replaceAll(/(0x[0-9a-f]+|\d+)u\b/g, "$1")
      .trim();
    if (/^[0-9a-fx()+* -]+$/.test(plain)) values.set(name, evaluate(plain));
  }
  return values;
}

/** Sums and products of numbers, one pair of parentheses around. */
function evaluate(text: string): number {
  const inner = text.replaceAll(/[()]/g, "");
  const product = (part: string): number =>
    part.split("*").reduce((value, factor) => value * Number(factor), 1);
  const [first = "0", ...others] = inner.split(/(?=[+-])/);
  return others.reduce(
    (sum, part) => sum + (part.startsWith("-") ? -1 : 1) * product(part.slice(1)),
    product(first),
  );
}

test("the header of the client has the same numbers", () => {
  const theirs = macros();
  const ours = new Map<string, number>([
    ["MAGIC", FRAME_MAGIC],
    ["VERSION", FRAME_VERSION],
    ["HEADER_BYTES", HEADER_BYTES],
    ["SLOTS", SLOTS],
    ["SLOT_BYTES", SLOT_BYTES],
    ["CHANNEL_BYTES", CHANNEL_BYTES],
    ["PAYLOAD", PAYLOAD],
    ["PAYLOAD_BYTES", PAYLOAD_BYTES],
    ["P_DESCRIPTORS_MAX", DESCRIPTORS_MAX],
  ]);
  const groups = {
    H_: HeaderWord,
    S_: SlotWord,
    STATE_: SlotState,
    OP_: Operation,
    F_: RequestFlag,
    R_: ReplyFlag,
    P_: PacketKind,
  };
  for (const [prefix, group] of Object.entries(groups)) {
    for (const [name, value] of Object.entries(group)) ours.set(prefix + name, value);
  }
  theirs.delete("FRAME_H");
  assert.deepEqual(new Map([...ours].sort()), new Map([...theirs].sort()));
});

test("packets say what was put in, and shorter ones nothing", () => {
  const bytes = makePacket(3, 77, 5, [4, 9]);
  assert.deepEqual(readPacket(bytes), {
    kind: 3,
    version: FRAME_VERSION,
    pid: 77,
    slot: 5,
    numbers: [4, 9],
  });
  for (let length = 0; length < bytes.length; length++) {
    assert.equal(readPacket(bytes.subarray(0, length)), undefined);
  }
  const many = makePacket(3, 77, 5, Array(DESCRIPTORS_MAX + 1).fill(0));
  assert.equal(readPacket(many), undefined);
  assert.equal(bytes.length, 4 * (PACKET_WORDS + 2));
});
