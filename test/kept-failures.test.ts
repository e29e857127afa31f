/**
 * A random run that fails leaves a scenario file, which breaks the same way when it is played. The
 * faults are injected: software that does what no software should.
 */
import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { test } from "node:test";
import { DmaOwnership, HostDriver } from "../src/driver/index.js";
import { platformsOf, readScenarioFile } from "../src/host/io/scenario-file.io.js";
import { PLAY_RULES, type Play, play } from "../src/play/index.js";
import { ObjectWalk } from "./support/object-walk.js";
import { noPlayCounts, playRandomly, RandomPlayFailure } from "./support/random-play.js";

const SEED = 20_210_609;

/** Detaching gives a device back to the kernel's own space, while its user still has it. */
function withDetachToDefault<T>(call: () => T): T {
  const { attach } = HostDriver.prototype;
  HostDriver.prototype.attach = function (device, pasid, domain) {
    const before = this.attached(device, undefined);
    const detaches = pasid === undefined && domain.kind === "blocked" && before?.kind === "paging";
    if (detaches) this.attachDefault(device);
    else attach.call(this, device, pasid, domain);
  };
  try {
    return call();
  } finally {
    HostDriver.prototype.attach = attach;
  }
}

/** An owner's claim on a group counts although another one has it. */
function withTwoOwners<T>(call: () => T): T {
  const { claimForUser } = DmaOwnership.prototype;
  DmaOwnership.prototype.claimForUser = function (device, owner) {
    const holder = this.ownerOf(device);
    if (holder === undefined || holder === owner) claimForUser.call(this, device, owner);
  };
  try {
    return call();
  } finally {
    DmaOwnership.prototype.claimForUser = claimForUser;
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
    let message = "";
    try {
      withTwoOwners(() => new ObjectWalk(SEED, rules).run(1000, `seed ${SEED}, ${rules},`));
    } catch (error) {
      message = (error as Error).message;
    }
    const file = /kept in (\S+\.yaml)/u.exec(message)?.[1] ?? "";
    assert.notEqual(file, "", "the fault was not noticed");
    const broken = await replay(file, withTwoOwners);
    assert.deepEqual([broken.ok, brokenRules(broken)?.[0]], [false, 2]);
    const whole = await replay(file, asItIs);
    assert.deepEqual([whole.ok, whole.steps.length > 5], [true, true]);
    rmSync(dirname(file), { recursive: true });
  });
}
