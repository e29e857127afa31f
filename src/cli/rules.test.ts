import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "./output.js";
import { parseRules, resolveRules } from "./rules.js";

test("auto takes the rule set nearest to the capture's kernel and says which", () => {
  const pick = (kernel: string | undefined) => resolveRules("auto", kernel).rules;
  assert.equal(pick("5.4.0-47-generic"), "linux-6.1");
  assert.equal(pick("6.1.0-50-amd64"), "linux-6.1");
  assert.equal(pick("6.12.90+deb12-amd64"), "linux-6.12");
  assert.equal(pick("6.18.0-rc7"), "linux-7.2");
  assert.equal(pick("7.2.13"), "linux-7.2");
  assert.equal(pick("8.0.0"), "linux-7.2");
  assert.equal(pick(undefined), "linux-7.2");
  assert.match(resolveRules("auto", "6.12.90").why ?? "", /6\.12\.90/);
  assert.match(resolveRules("auto", undefined).why ?? "", /names no kernel/);
});

test("a rule set asked for by name needs no reason", () => {
  assert.deepEqual(resolveRules("linux-6.1", "7.2.0"), { rules: "linux-6.1", why: undefined });
});

test("an unknown rule set is refused with the list of known ones", () => {
  assert.throws(
    () => parseRules("linux-5.4"),
    (error: unknown) => {
      assert.ok(error instanceof UsageError);
      assert.match(
        error.message,
        /linux-5\.4.*auto, device-centric, linux-6\.1, linux-6\.12, linux-7\.2, all/,
      );
      return true;
    },
  );
});

test("auto takes what a platform file asks for; a choice goes before it", () => {
  assert.equal(resolveRules("auto", "7.2.0", "linux-6.1").rules, "linux-6.1");
  assert.match(resolveRules("auto", "7.2.0", "linux-6.1").why ?? "", /platform file/);
  assert.equal(resolveRules("linux-6.12", "7.2.0", "linux-6.1").rules, "linux-6.12");
});
