/** What must hold of every analysis, checked by slower means than the product's. */
import assert from "node:assert/strict";
import { type Analysis, joinPath, reachesOf } from "../../src/isolation/index.js";
import type { PciFunction } from "../../src/pcie/index.js";
import type { Bdf } from "../../src/units/index.js";

/** All properties; throws an AssertionError that names the one that fails. */
export function checkAnalysis(seen: Analysis): void {
  checkComponents(seen);
  checkContainsLinux(seen);
  checkAliasSets(seen);
  checkReaches(seen);
  checkExplained(seen);
  checkEnlargements(seen);
  for (const report of seen.deviceReports()) checkReport(seen, report.device);
}

/**
 * Device-centric groups are the components of their definition, found by spreading labels over
 * every pair.
 */
export function checkComponents(seen: Analysis): void {
  const { groups } = seen.deviceCentric;
  const label = spreadLabels(seen);
  for (const group of groups) assert.equal(new Set(group.map((m) => label.get(m))).size, 1);
  const labels = new Set(groups.map((group) => label.get(group[0] as Bdf)));
  assert.equal(labels.size, groups.length, "two groups are one component");
}

function spreadLabels(seen: Analysis): Map<Bdf, number> {
  const label = new Map<Bdf, number>(seen.fabric.functions.map((f) => [f.bdf, f.bdf]));
  const pairs = [...definedPairs(seen)];
  for (let changed = true; changed; ) {
    changed = false;
    for (const [a, b] of pairs) {
      const low = Math.min(label.get(a) as number, label.get(b) as number);
      if (label.get(a) === low && label.get(b) === low) continue;
      label.set(a, low);
      label.set(b, low);
      changed = true;
    }
  }
  return label;
}

/** Pairs enough to connect what the definition connects. */
function* definedPairs(seen: Analysis): Generator<readonly [Bdf, Bdf]> {
  const { fabric, p2p, strict } = seen;
  for (const group of seen.linuxUnder("linux-7.2").groups) yield* star(group);
  const holders = new Map<string, Bdf>();
  for (const fn of fabric.functions) {
    for (const id of seen.requesterIds(fn.bdf)?.ids ?? []) {
      const key = `${id.segment}:${id.rid}`;
      const first = holders.get(key) ?? fn.bdf;
      holders.set(key, first);
      yield [first, fn.bdf];
    }
  }
  for (const turn of p2p.turns) {
    if (turn.certainty !== "certain" && !strict) continue;
    for (const source of turn.sources) {
      for (const target of turn.targets) {
        if (!turn.allows(source, target)) continue;
        const all = [...subtree(seen, source.port), target.port];
        if (target.port !== turn.bridge) all.push(...subtree(seen, target.port));
        yield* star(all.map((fn) => fn.bdf));
      }
    }
  }
}

function* star(members: readonly Bdf[]): Generator<readonly [Bdf, Bdf]> {
  for (const member of members) yield [members[0] as Bdf, member];
}

function subtree(seen: Analysis, top: PciFunction): PciFunction[] {
  return seen.fabric.functions.filter((fn) => {
    let at: PciFunction | undefined = fn;
    while (at !== undefined && at !== top) at = at.bus.bridge;
    return at === top;
  });
}

export function checkContainsLinux(seen: Analysis): void {
  const { deviceCentric } = seen;
  const linux = seen.linuxUnder("linux-7.2");
  assert.equal(deviceCentric.groups.flat().length, linux.groups.flat().length);
  for (const group of linux.groups) {
    const ids = new Set(group.map((m) => deviceCentric.groupOf.get(m)));
    assert.equal(ids.size, 1, "a Linux group is split");
  }
}

export function checkAliasSets(seen: Analysis): void {
  const { sets, setOf, joins } = seen.aliasSets;
  const count = seen.fabric.functions.length;
  assert.equal(sets.flat().length, count);
  assert.equal(joins.length, count - sets.length, "joins are no spanning forest");
  for (const [number, set] of sets.entries()) {
    for (const member of set) assert.equal(setOf.get(member), number);
  }
}

/** What a device reaches for certain is in its group; what an alias set joins too. */
export function checkReaches(seen: Analysis): void {
  const { deviceCentric, fabric, p2p } = seen;
  for (const fn of fabric.functions) {
    const own = deviceCentric.groupOf.get(fn.bdf);
    for (const reach of reachesOf(p2p, fn)) {
      const peer = deviceCentric.groupOf.get(reach.device.bdf);
      if (reach.certainty !== "certain" || own === undefined || peer === undefined) continue;
      assert.equal(peer, own, "a certain reach leaves its group");
    }
  }
}

/** Members of a group are connected by joins. */
export function checkExplained(seen: Analysis): void {
  const { deviceCentric } = seen;
  for (const group of deviceCentric.groups) {
    for (const member of group.slice(0, 6)) {
      assert.ok(joinPath(deviceCentric, group[0] as Bdf, member), "a pair has no path of joins");
    }
  }
}

/** One join fewer than the parts it merges; proofs are routes that end at their peer. */
export function checkEnlargements(seen: Analysis): void {
  for (const { group, linuxGroups, joins } of seen.enlargements) {
    const outside = seen.outsiders.get(group)?.length ?? 0;
    assert.ok(joins.length >= linuxGroups.length - 1);
    assert.ok(joins.length <= linuxGroups.length - 1 + outside);
    for (const join of joins) {
      const proof = seen.proofOf(join);
      if (proof === undefined) continue;
      const { result } = proof.route;
      assert.ok(result.kind === "peer" && result.function === proof.to && !result.byAgent);
    }
  }
}

/** Answers agree with their evidence and with each other. */
function checkReport(seen: Analysis, device: Bdf): void {
  const report = seen.deviceReport(device);
  assert.ok(report);
  for (const answer of [report.pasid, report.ats, report.pri, report.sva]) {
    if (answer.ok !== true) assert.ok(answer.because.length > 0, "a refusal without reason");
  }
  if (report.sva.ok === true) {
    assert.ok(report.pasid.ok && report.ats.ok && report.pri.ok, "SVA without its parts");
  }
  assert.equal(report.mustShare.value, report.mustShare.with.length > 0);
  if (report.mustShare.value) assert.ok(report.mustShare.because.length > 0);
  for (const other of report.mustShare.with) {
    assert.equal(seen.aliasSets.setOf.get(other), report.aliasSet);
  }
  if (report.viability.ok === true) assert.deepEqual(report.viability.blockedBy, []);
}
