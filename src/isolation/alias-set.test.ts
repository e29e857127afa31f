import assert from "node:assert/strict";
import { test } from "node:test";
import { sampleFabrics } from "../../test/support/random-fabric.js";
import {
  bdf,
  endpoint,
  host,
  hostOf,
  names,
  rootPort,
  slot,
  type TestHost,
  t2,
  t4,
  t5,
  t6,
  t7,
} from "../../test/support/topologies.js";
import type { Bdf } from "../units/index.js";
import { aliasSets } from "./alias-set.js";
import type { HostFacts } from "./host-facts.js";
import { aliasKnowledge, RequesterIds } from "./requester-ids.js";

const SEED = 11;
const IDS = [
  { vendor: 0x1b4b, device: 0x9235 },
  { vendor: 0x1180, device: 0xe832 },
  { vendor: 0x10b5, device: 0x87b0 },
  { vendor: 0x8086, device: 0x2260 },
];

function setsOf(at: TestHost, facts: HostFacts = {}) {
  return aliasSets(at.fabric, idsOf(at, facts), facts);
}

function idsOf(at: TestHost, facts: HostFacts = {}) {
  return new RequesterIds(facts, aliasKnowledge(at.fabric, "linux-7.2"));
}

/** Sets with more than one member. */
const shared = (at: TestHost, facts?: HostFacts) =>
  setsOf(at, facts)
    .sets.filter((set) => set.length > 1)
    .map(names);

test("R3: conventional devices behind a PCIe-to-PCI bridge share, the bridge does not", () => {
  assert.deepEqual(shared(t4()), [["02:00.0", "02:01.0"]]);
  const join = setsOf(t4()).joins[0];
  assert.deepEqual(
    join?.because.map((e) => e.kind),
    ["alias-bridge"],
  );
});

test("R2: lack of isolation alone makes nobody share", () => {
  assert.deepEqual(shared(t2()), []);
  assert.deepEqual(shared(t5()), []);
});

test("S17, S18: a DMA alias joins its number's owner and nobody else", () => {
  assert.deepEqual(shared(t6()), [["01:00.0", "01:00.1"]]);
  assert.deepEqual(shared(t7()), [["01:00.0", "01:00.1"]]);
});

test("a number that no present function has joins those that use it", () => {
  const quirk = { vendor: 0x1b4b, device: 0x9235 };
  // Functions 0 and 2 both send as the absent function 1.
  const at = host(
    rootPort(slot(1), [
      endpoint(slot(0, 0), { multifunction: true, ...quirk }),
      endpoint(slot(0, 2), quirk),
      endpoint(slot(0, 3)),
    ]),
  );
  assert.deepEqual(shared(at), [["01:00.0", "01:00.2"]]);
});

test("R12: an IOMMU without requester matching makes one set of all", () => {
  const at = t2();
  const sets = setsOf(at, { requesterMatching: false });
  assert.equal(sets.sets.length, 1);
  assert.equal(sets.joins.length, at.fabric.functions.length - 1);
  assert.equal(sets.joins[0]?.because[0]?.kind, "iommu-unmatched");
});

test("an IORT single mapping folds its segment into one stream", () => {
  const complex = (single: boolean): HostFacts => ({
    iort: {
      rootComplexes: [
        {
          segment: 0,
          ats: false,
          pasidBits: 0,
          mappings: [{ firstRid: 0, lastRid: 0, to: "smmuv3", single, outputBase: 5 }],
        },
      ],
    },
  });
  assert.equal(setsOf(t2(), complex(true)).sets.length, 1);
  assert.equal(setsOf(t2(), complex(false)).sets.length, t2().fabric.functions.length);
});

test(`random fabrics: a partition, and the closure of shared numbers (seed ${SEED})`, () => {
  let larger = 0;
  for (const specs of sampleFabrics(SEED, 150, { ids: IDS, maxBuses: 12 })) {
    const at = hostOf(specs);
    const ids = idsOf(at);
    const { sets, setOf, joins } = setsOf(at);
    assert.equal(sets.flat().length, at.fabric.functions.length);
    for (const [number, set] of sets.entries()) {
      for (const member of set) assert.equal(setOf.get(member), number);
      if (set.length > 1) larger++;
    }
    assert.equal(joins.length, at.fabric.functions.length - sets.length);
    // Spread labels over shared numbers until nothing changes.
    const label = new Map<Bdf, number>(at.fabric.functions.map((f) => [f.bdf, f.bdf]));
    const keys = at.fabric.functions.map((f) => ({
      bdf: f.bdf,
      keys: new Set(ids.of(f).ids.map((id) => `${id.segment}:${id.rid}`)),
    }));
    for (let changed = true; changed; ) {
      changed = false;
      for (const a of keys) {
        for (const b of keys) {
          const [x, y] = [label.get(a.bdf) as number, label.get(b.bdf) as number];
          if (x <= y || ![...a.keys].some((k) => b.keys.has(k))) continue;
          label.set(a.bdf, y);
          changed = true;
        }
      }
    }
    for (const a of keys) {
      const lowest = label.get(a.bdf) as number;
      assert.equal(sets[setOf.get(a.bdf) as number]?.[0], lowest);
    }
  }
  assert.ok(larger > 50, `${larger} larger sets`);
});

test("the parts are named by address", () => {
  assert.equal(setsOf(t4()).setOf.get(bdf("02:00.0")), setsOf(t4()).setOf.get(bdf("02:01.0")));
});
