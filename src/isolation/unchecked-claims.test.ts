/** Claims of hostile functions on small hosts, by the rules of PCIe 6 § 6.12. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { buildFabric } from "../pcie/index.js";
import { buildPlatform, readPlatform } from "../platform/index.js";
import { formatBdf } from "../units/index.js";
import { analyse, uncheckedClaims } from "./index.js";

const BITS = ["SV", "TB", "RR", "CR", "UF", "EC", "DT"];
const acs = (...enabled: string[]) => ({ capability: BITS, enabled });

/** A switch with `a` (bus 3) and `b` (bus 4) below it, `c` (bus 5) behind a port of its own. */
function claims(root: unknown, down: unknown, iommu: object = {}) {
  const port = (name: string) => ({
    kind: "switch-downstream",
    acs: down,
    below: [{ kind: "endpoint", name, ats: true, bars: [{ size: "16K" }] }],
  });
  const below = [{ kind: "switch-upstream", below: [port("a"), port("b")] }];
  const devices = [
    { kind: "root-port", acs: root, below },
    { kind: "root-port", acs: root, below: [{ kind: "endpoint", name: "c" }] },
  ];
  return claimsOf([{ bus: 0, devices }], iommu);
}

function claimsOf(roots: unknown, iommu: object = {}) {
  const platform = { schema: "ioasis/platform/1", roots, iommu: { kind: "intel", ...iommu } };
  const built = buildPlatform(readPlatform(platform));
  const analysis = analyse(buildFabric({ functions: built.functions }), built.facts);
  const a = built.names.get("a");
  assert.ok(a !== undefined);
  const found = uncheckedClaims(analysis, a);
  assert.ok(found !== undefined);
  return { ...found, others: found.impersonates.map(formatBdf) };
}

test("without source validation a function may name any requester", () => {
  const { requesters, others } = claims("none", "none");
  assert.deepEqual(requesters, { kind: "buses", first: 0, last: 255, validatedBy: [] });
  assert.deepEqual(others, ["0000:04:00.0", "0000:05:00.0"]);
});

test("a validating root port leaves the buses below it, a downstream port its own bus", () => {
  const root = claims(acs("SV"), "none");
  assert.ok(root.requesters.kind === "buses");
  assert.deepEqual([root.requesters.first, root.requesters.last], [1, 4]);
  assert.deepEqual(root.others, ["0000:04:00.0"]);
  const down = claims(acs("SV"), acs("SV"));
  assert.ok(down.requesters.kind === "buses");
  assert.deepEqual([down.requesters.first, down.requesters.last], [3, 3]);
  assert.equal(down.requesters.validatedBy.length, 2);
  assert.deepEqual(down.others, []);
});

test("a bridge from conventional PCI replaces the requester and drops the address type", () => {
  const below = [{ kind: "conventional", name: "a" }];
  const bridge = { kind: "pcie-to-pci-bridge", below };
  const found = claimsOf([{ bus: 0, devices: [{ kind: "root-port", below: [bridge] }] }]);
  assert.ok(found.requesters.kind === "replaced");
  assert.equal(found.requesters.rid, 0x0200);
  assert.equal(found.translated.arrive, false);
  assert.deepEqual(found.others, []);
});

test("whoever may name a bridge's requester ID may act for all that is behind it", () => {
  const below = [{ kind: "conventional", name: "c" }];
  const bridge = { kind: "pcie-to-pci-bridge", below };
  const devices = [
    { kind: "root-port", acs: acs("SV"), below: [{ kind: "endpoint", name: "a" }] },
    { kind: "root-port", below: [bridge] },
  ];
  assert.deepEqual(claimsOf([{ bus: 0, devices }]).others, []);
  const open = devices.map((device) => ({ ...device, acs: "none" }));
  assert.deepEqual(claimsOf([{ bus: 0, devices: open }]).others, ["0000:03:00.0"]);
});

test("translated requests open memory while ATS is on for it or for whom it may name", () => {
  const open = claims(acs("SV"), "none").translated;
  assert.deepEqual(open.openWhileAtsOn.map(formatBdf), ["0000:03:00.0", "0000:04:00.0"]);
  const blocked = claims(acs("TB"), "none").translated;
  assert.equal(blocked.arrive, false);
  assert.deepEqual(blocked.openWhileAtsOn, []);
  assert.equal(blocked.stoppedBy === undefined ? "" : formatBdf(blocked.stoppedBy), "0000:00:01.0");
});

test("direct translated P2P leads past redirect", () => {
  const closed = claims("none", acs("RR", "UF")).translated;
  assert.deepEqual(closed.peers, []);
  const direct = claims("none", acs("RR", "UF", "DT")).translated;
  assert.deepEqual(
    direct.peers.map((peer) => formatBdf(peer.device)),
    ["0000:04:00.0"],
  );
});

test("outside of every unit nothing is checked, and interrupts neither", () => {
  assert.equal(claims("none", "none").outside, false);
  const found = claims(acs("SV"), acs("SV"), { covers: ["b"] });
  assert.deepEqual([found.outside, found.anyInterrupt], [true, true]);
});

test("without remapping any interrupt may be sent", () => {
  assert.equal(claims("none", "none").anyInterrupt, false);
  assert.equal(claims("none", "none", { interruptRemapping: false }).anyInterrupt, true);
  assert.equal(claims("none", "none", { requesterMatching: false }).anyInterrupt, true);
});

test("an entry of another unit is out of reach, whatever a function names", () => {
  const units = [{ covers: ["c"] }, { covers: "all" }];
  assert.deepEqual(claims("none", "none", { units }).others, ["0000:04:00.0"]);
});

test("who sends as a VMD has memory open while ATS is on for another that does", () => {
  const port = (name: string, ats: boolean) => ({
    kind: "root-port",
    below: [{ kind: "endpoint", name, ats }],
  });
  const vmd = { kind: "integrated-endpoint", name: "vmd", id: "8086:467f", class: "010400" };
  const roots = (ats: boolean) => [
    { bus: 0, devices: [vmd, port("c", true)] },
    { segment: 0x10000, bus: 0xe0, vmd: "vmd", devices: [port("a", false), port("b", ats)] },
  ];
  const { requesters, translated } = claimsOf(roots(true));
  assert.equal(requesters.kind, "replaced");
  assert.deepEqual(translated.openWhileAtsOn.map(formatBdf), ["10000:e2:00.0"]);
  assert.deepEqual(claimsOf(roots(false)).translated.openWhileAtsOn, []);
});
