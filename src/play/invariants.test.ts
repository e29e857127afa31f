/** The safety rules are noticed when software breaks them behind the objects' back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Requester } from "../driver/vtd/requester.js";
import type { PhysicalMemory } from "../memory/index.js";
import { buildPlatform, readPlatform } from "../platform/index.js";
import { readWord } from "./hardware-tables.js";
import { brokenInvariants } from "./invariants.js";
import { play } from "./player.js";
import { readScenario } from "./read-scenario.js";

const engine = (name: string, pasid: object = {}) => ({
  kind: "endpoint",
  name,
  engine: "dma",
  driver: null,
  ...pasid,
});
const WITH_PASIDS = { pasid: { width: 8, enabled: false } };
const PLATFORM = {
  schema: "ioasis/platform/1",
  iommu: { kind: "intel" },
  roots: [
    {
      devices: [
        { kind: "root-port", acs: "full", below: [engine("a", WITH_PASIDS), engine("b")] },
        {
          kind: "root-port",
          acs: "full",
          below: [
            {
              kind: "pcie-to-pci-bridge",
              below: [
                { ...engine("c"), kind: "conventional" },
                { ...engine("d"), kind: "conventional" },
              ],
            },
          ],
        },
      ],
    },
  ],
};

/** Two owned devices on spaces of their own, and two that share one. */
const playing = () => playingWith([]);

function playingWith(more: readonly object[]) {
  const steps = [
    { context: "user" },
    { context: "other" },
    { memory: { name: "red" } },
    { space: { name: "one", in: "user" } },
    { space: { name: "two", in: "user" } },
    { space: { name: "foreign", in: "other" } },
    { map: { space: "one", memory: "red", at: 0x10000 } },
    ...["a", "b"].map((device) => ({ bind: { device, to: "user" } })),
    ...["c", "d"].map((device) => ({ bind: { device, to: "other" } })),
    { attach: { device: "a", to: "one" } },
    { attach: { device: "b", to: "two" } },
    { attach: { device: "c", to: "foreign" } },
    ...more,
  ];
  const node = { schema: "ioasis/scenario/1", name: "x", platforms: ["x"], steps };
  const platform = buildPlatform(readPlatform(PLATFORM));
  const played = play(readScenario(node), platform, "x", "device-centric");
  if (more.length === 0) assert.ok(played.ok);
  const { session } = played;
  const domain = (name: string) => {
    const found = session.world.driver.attached(session.bdf(name), undefined);
    assert.ok(found !== undefined);
    return found;
  };
  return { played, session, driver: session.world.driver, domain };
}

const rules = (session: Parameters<typeof brokenInvariants>[0]) =>
  brokenInvariants(session, []).map((b) => b.rule);

test("nothing is broken when nothing was broken", () => {
  assert.deepEqual(rules(playing().session), []);
});

test("rule 1: a table of another owner", () => {
  const { session, driver, domain } = playing();
  driver.attach(session.bdf("a"), undefined, domain("c"));
  assert.deepEqual(rules(session), [1, 3], "seen in the driver, and in memory");
});

test("rule 2: two owners", () => {
  const { session } = playing();
  const a = session.bound.get("a");
  const other = session.contexts.get("other");
  assert.ok(a !== undefined && other !== undefined);
  session.bound.set("a", { ...a, fd: other });
  assert.ok(rules(session).includes(2));
});

test("rule 4: one slot twice", () => {
  const { session } = playing();
  const a = session.bound.get("a");
  assert.ok(a !== undefined);
  session.bound.set("again", a);
  assert.deepEqual(rules(session), [4]);
});

test("rule 5: devices that send alike differ", () => {
  const { session, driver } = playing();
  const d = session.bdf("d");
  driver.attach(d, undefined, driver.blocked(d));
  assert.ok(rules(session).includes(5));
});

test("rule 6: the kernel's own space while owned", () => {
  const { session, driver } = playing();
  driver.attachDefault(session.bdf("a"));
  assert.deepEqual(rules(session), [6]);
});

test("rule 7: a request that touched what is not mapped for it", () => {
  const { session } = playing();
  const from = session.bdf("a");
  const requester = session.function("a").rid;
  const address = 0x10000n;
  const request = { access: "write", addressType: "untranslated", length: 4 } as const;
  const found = brokenInvariants(session, [
    { kind: "request", from, requester, address, prefix: undefined, ...request },
    { kind: "unit", unit: "dmar0", requester },
    { kind: "translated", unit: "dmar0", address: 0x1234_000n, source: "walk", domainId: 1 },
  ]);
  assert.deepEqual(
    found.map((b) => b.rule),
    [7],
  );
});

/** The entry of a function's requests without PASID, and where its bytes stand. */
function rowOf(playing: ReturnType<typeof playingWith>, name: string) {
  const { session } = playing;
  const { machine } = session.world;
  const unit = machine.unitOf(session.bdf(name));
  assert.ok(unit !== undefined);
  const { memory } = machine;
  const word = (at: number) => readWord(memory, at) ?? 0n;
  const frame = (entry: bigint) => Number(entry & 0x000f_ffff_ffff_f000n);
  const { rid } = session.function(name);
  // Root entry, context entry, directory entry, PASID entry 0 (VT-d 5.0 § 9.1-9.6).
  const half = frame(unit.iommu.readRegister64(0x20)) + (rid >> 8) * 16 + (rid & 0x80 ? 8 : 0);
  const context = frame(word(half)) + (rid & 0x7f) * 32;
  const at = frame(word(frame(word(context))));
  return { memory, half, context, at, low: word(at) };
}

function put(memory: PhysicalMemory, at: number, value: bigint): void {
  const halves = [Number(value & 0xffff_ffffn) | 0, Number(value >> 32n) | 0] as const;
  memory.write64(at | 0, Math.floor(at / 2 ** 32) | 0, ...halves);
}

test("rule 3: an entry in memory that leads to what is no table, at every step of the way", () => {
  for (const step of ["half", "context", "at"] as const) {
    const made = playingWith([]);
    const row = rowOf(made, "a");
    const old = readWord(row.memory, row[step]) ?? 0n;
    // A frame of nothing, with the bits of the entry kept.
    put(row.memory, row[step], (old & 0xfffn) | 0x7_7777_7000n);
    assert.ok(rules(made.session).includes(3), step);
  }
});

test("rule 3: an entry in memory that leads to another owner's table", () => {
  const made = playingWith([]);
  const { memory, at, low } = rowOf(made, "a");
  const { root } = made.domain("c") as unknown as { readonly root: number };
  put(memory, at, (low & 0xfffn) | (BigInt(root) << 12n));
  assert.deepEqual(rules(made.session), [3]);
});

test("rule 6: an entry in memory lets the requests of an owned device pass", () => {
  const made = playingWith([]);
  const { memory, at, low } = rowOf(made, "a");
  put(memory, at, (low & ~0x1c0n) | (4n << 6n));
  assert.deepEqual(rules(made.session), [6]);
});

test("rule 3: a driver that forgets to empty an entry", () => {
  const { clear } = Requester.prototype;
  Requester.prototype.clear = () => {};
  try {
    const table = { name: "t", device: "a", on: "one", pasid: true };
    const made = playingWith([
      { table },
      { attach: { device: "a", to: "t", pasid: 5, policy: "raw" } },
      { detach: { device: "a", pasid: 5 } },
      { destroy: "t" },
    ]);
    const last = made.played.steps.at(-1);
    assert.deepEqual(last?.mismatches, []);
    assert.ok(last?.broken.some(({ rule }) => rule === 3));
  } finally {
    Requester.prototype.clear = clear;
  }
});

/** A device on a guest's table: guest address 0x7000 is the guest's page 2. */
const NESTED = [
  { memory: { name: "guest", pages: 16 } },
  { space: { name: "below", in: "user" } },
  { map: { space: "below", memory: "guest", pages: 16, at: 0 } },
  { table: { name: "parent", device: "a", on: "below", nestParent: true } },
  { guestTable: { name: "g", memory: "guest", root: 0x8000 } },
  { guestMap: { table: "g", at: 0x7000, to: 0x2000 } },
  { table: { name: "nested", device: "a", on: "parent", guest: "g" } },
  { replace: { device: "a", to: "nested" } },
];

test("rule 7: a request of a device on a guest's table", () => {
  const dma = { dma: { device: "a", write: "x", at: 0x7000 } };
  const { played, session } = playingWith([...NESTED, dma]);
  assert.ok(played.ok, JSON.stringify(played.steps.at(-1)?.mismatches));
  assert.deepEqual(played.steps.at(-1)?.outcome.lands, { memory: "guest", page: 2, offset: 0 });
  const { trace } = played.steps.at(-1) ?? assert.fail();
  const seen = (change: (address: bigint) => bigint, source: "walk" | "cache") =>
    brokenInvariants(
      session,
      trace.map((r) =>
        r.kind === "translated" ? { ...r, source, address: change(r.address) } : r,
      ),
    ).map((b) => b.rule);
  assert.deepEqual(
    seen((at) => at, "walk"),
    [],
  );
  // The next page of the guest's: no walk leads there, a cache may hold what the guest had before.
  assert.deepEqual(
    seen((at) => at + 0x1000n, "walk"),
    [7],
  );
  assert.deepEqual(
    seen((at) => at + 0x1000n, "cache"),
    [],
  );
  assert.deepEqual(
    seen((at) => at + 0x100_0000n, "cache"),
    [7],
  );
});
