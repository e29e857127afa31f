/** The safety rules are noticed when software breaks them behind the objects' back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { buildPlatform, readPlatform } from "../platform/index.js";
import { brokenInvariants } from "./invariants.js";
import { play } from "./player.js";
import { readScenario } from "./read-scenario.js";

const engine = (name: string) => ({ kind: "endpoint", name, engine: "dma", driver: null });
const PLATFORM = {
  schema: "ioasis/platform/1",
  iommu: { kind: "intel" },
  roots: [
    {
      devices: [
        { kind: "root-port", acs: "full", below: [engine("a"), engine("b")] },
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
function playing() {
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
  ];
  const node = { schema: "ioasis/scenario/1", name: "x", platforms: ["x"], steps };
  const platform = buildPlatform(readPlatform(PLATFORM));
  const played = play(readScenario(node), platform, "x", "device-centric");
  assert.ok(played.ok);
  const { session } = played;
  const domain = (name: string) => {
    const found = session.world.driver.attached(session.bdf(name), undefined);
    assert.ok(found !== undefined);
    return found;
  };
  return { session, driver: session.world.driver, domain };
}

const rules = (session: Parameters<typeof brokenInvariants>[0]) =>
  brokenInvariants(session, []).map((b) => b.rule);

test("nothing is broken when nothing was broken", () => {
  assert.deepEqual(rules(playing().session), []);
});

test("rule 1: a table of another owner", () => {
  const { session, driver, domain } = playing();
  driver.attach(session.bdf("a"), undefined, domain("c"));
  assert.deepEqual(rules(session), [1]);
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
