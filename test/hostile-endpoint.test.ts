/**
 * A hostile endpoint: what it reaches is what an independent oracle says, and every exposure had
 * been named. The long run is test/campaign/hostile.campaign.ts.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EXPOSURES } from "./support/hostile-fates.js";
import {
  ACS_STRICT,
  type HostileHost,
  makeHostileHost,
  ridOfNode,
} from "./support/hostile-host.js";
import { Access, Place, Type } from "./support/hostile-oracle.js";
import { noCounts, runHostileCase, SPECIALS } from "./support/hostile-run.js";
import { HostileWorld } from "./support/hostile-world.js";
import { Random } from "./support/random.js";

const SEED = 20210609;
const CASES = 150;

test(`${CASES} hosts: reached as predicted, named before, traced (seed ${SEED})`, () => {
  const counts = noCounts();
  for (let i = 0; i < CASES; i++) runHostileCase(SEED + i, { transactions: 200 }, counts);
  for (const name of EXPOSURES) {
    assert.ok(counts.by[name] > 0, `${name} is never reached`);
    assert.ok(counts.traced[name] > 0, `${name} is never traced`);
  }
  for (const name of SPECIALS) assert.ok(counts.special[name] > 0, `${name}: none`);
  assert.ok(counts.strict > 0, "no host has everything on");
});

/** The first host after `SEED` of which this is true. */
function hostWith(is: (host: HostileHost) => boolean): HostileHost {
  for (let i = 0; i < 2000; i++) {
    const host = makeHostileHost(SEED + i);
    if (is(host)) return host;
  }
  throw new Error("no such host");
}

const REQUEST = {
  rid: 0,
  pasid: -1,
  type: Type.untranslated,
  access: Access.write,
  pfn: 0,
  offset: 0,
  length: 8,
  word: 0,
  entry: -1,
  privileged: false,
  execute: false,
};

test("with everything on, the oracle itself leaves the attacker its own maps only", () => {
  const host = hostWith((h) => h.strict && h.shape === "switch" && h.unit === "scalable");
  for (const port of host.roots) assert.equal(port.acs, ACS_STRICT);
  const { oracle, rows, barPages } = new HostileWorld(host, new Random(1));
  const own = ridOfNode(host.attacker);
  for (const type of Object.values(Type)) {
    for (const pfn of [...barPages, 0x400000, 0x10]) {
      for (let rid = 0; rid < 0x1_0000; rid++) {
        oracle.predict({ ...REQUEST, type, pfn, rid });
        const isOwn = rid === own && rows.maps.get(own * 0x20_0000)?.has(pfn) === true;
        if (oracle.place !== Place.nothing) assert.ok(isOwn, `${rid} reaches ${pfn}`);
      }
    }
  }
});
