/**
 * A random run that fails leaves a scenario file, which breaks the same way when it is played. The
 * faults are injected: software that does what no software should.
 */
import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { test } from "node:test";
import { HostDriver, type IommuDriver } from "../src/driver/index.js";
import { MockDriver } from "../src/driver/mock/index.js";
import { VtdPagingDomain } from "../src/driver/vtd/paging-domain.js";
import { platformsOf, readScenarioFile } from "../src/host/io/scenario-file.io.js";
import { PLAY_RULES, type Play, play } from "../src/play/index.js";
import { noCounts, runHostileCase } from "./support/hostile-run.js";
import { ObjectWalk } from "./support/object-walk.js";
import { noPlayCounts, playRandomly, RandomPlayFailure } from "./support/random-play.js";

const SEED = 20_210_609;

/** Detaching gives a device back to the kernel's own space, while its user still has it. */
function withDetachToDefault<T>(call: () => T): T {
  const restore = [HostDriver.prototype, MockDriver.prototype].map((driver: IommuDriver) => {
    const { attach } = driver;
    driver.attach = function (device, pasid, domain) {
      const before = this.attached(device, undefined);
      const isHeld = pasid === undefined && before?.kind === "paging";
      if (isHeld && domain.kind === "blocked") this.attachDefault(device);
      else attach.call(this, device, pasid, domain);
    };
    return () => {
      driver.attach = attach;
    };
  });
  try {
    return call();
  } finally {
    for (const undo of restore) undo();
  }
}

/** Nothing is invalidated after an unmap: the unit goes on with what it has cached. */
function withStaleCaches<T>(call: () => T): T {
  const { sync } = VtdPagingDomain.prototype;
  VtdPagingDomain.prototype.sync = () => {};
  try {
    return call();
  } finally {
    VtdPagingDomain.prototype.sync = sync;
  }
}

/** Plays a kept file as the command does. */
async function replay(file: string, fault: <T>(call: () => T) => T): Promise<Play> {
  const scenario = await readScenarioFile(file);
  const [rules] = scenario.rules;
  const [at] = await platformsOf(scenario);
  assert.ok(rules !== undefined && at !== undefined);
  return fault(() => play(scenario, at.platform, at.name, rules));
}

const brokenRules = (played: Play) => played.steps.at(-1)?.broken.map(({ rule }) => rule);
const asItIs = <T>(call: () => T): T => call();

for (const rules of PLAY_RULES) {
  test(`random scenarios under ${rules}: the one that fails is kept, seed ${SEED}`, async () => {
    const run = () => playRandomly(SEED, 40, rules, noPlayCounts());
    let kept: RandomPlayFailure | undefined;
    try {
      withDetachToDefault(run);
    } catch (error) {
      assert.ok(error instanceof RandomPlayFailure);
      kept = error;
    }
    assert.ok(kept !== undefined, "the fault was not noticed");
    const { scenario, directory } = kept.file;
    assert.match(kept.message, new RegExp(`seed ${SEED}.*rule 6.*${scenario}`));
    assert.match(readFileSync(scenario, "utf8"), new RegExp(`seed ${SEED}`));
    const broken = await replay(scenario, withDetachToDefault);
    assert.deepEqual([broken.ok, brokenRules(broken)?.[0]], [false, 6]);
    const whole = await replay(scenario, asItIs);
    assert.deepEqual(brokenRules(whole), [], "software without the fault breaks no rule");
    rmSync(directory, { recursive: true });
  });
}

for (const rules of PLAY_RULES) {
  test(`calls on objects under ${rules}: the walk that fails is kept, seed ${SEED}`, async () => {
    const run = () => new ObjectWalk(SEED, rules).run(1000, `seed ${SEED}, ${rules},`);
    const file = keptIn(() => withDetachToDefault(run));
    assert.notEqual(file, "", "the fault was not noticed");
    const broken = await replay(file, withDetachToDefault);
    assert.deepEqual([broken.ok, brokenRules(broken)?.[0]], [false, 6]);
    const whole = await replay(file, asItIs);
    assert.deepEqual([whole.ok, whole.steps.length > 5], [true, true]);
    rmSync(dirname(file), { recursive: true });
  });
}

/** Of a run that fails: where it is kept. */
function keptIn(call: () => void): string {
  try {
    call();
  } catch (error) {
    return /kept in (\S+\.yaml)/u.exec((error as Error).message)?.[1] ?? "";
  }
  return "";
}

test(`a hostile endpoint that reaches too much: the run is kept, seed ${SEED}`, async () => {
  const run = () => {
    for (let i = 0; i < 50; i++) {
      try {
        runHostileCase(SEED + i, { transactions: 400, mutateEvery: 20 }, noCounts());
      } catch (error) {
        // No step maps a BAR: what goes there by a stale map cannot be kept.
        if (!String(error).includes("the report says peer")) throw error;
      }
    }
  };
  const file = keptIn(() => withStaleCaches(run));
  assert.notEqual(file, "", "the fault was not noticed");
  const broken = await replay(file, withStaleCaches);
  const at = broken.steps.at(-1);
  assert.equal(broken.ok, false);
  assert.ok((at?.broken.length ?? 0) + (at?.mismatches.length ?? 0) > 0);
  const whole = await replay(file, asItIs);
  assert.deepEqual([whole.ok, whole.steps.length >= broken.steps.length], [true, true]);
  rmSync(dirname(file), { recursive: true });
});
