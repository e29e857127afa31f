/**
 * Plays a scenario on one platform under one rule set, step by step, and stops at the first step
 * that gives something else than expected, or breaks a safety rule.
 */
import type { TraceRecord } from "../machine/index.js";
import type { BuiltPlatform } from "../platform/index.js";
import { InputError } from "../units/index.js";
import * as devices from "./actions-devices.js";
import { dma, interrupt } from "./actions-dma.js";
import * as objects from "./actions-objects.js";
import { compare, expectationFor, type Mismatch } from "./expectation.js";
import type { SingleExpectation } from "./expectation-shape.js";
import * as guest from "./guest-table.js";
import { type Broken, brokenInvariants } from "./invariants.js";
import * as legacy from "./legacy-groups.js";
import { attempt, type StepOutcome } from "./outcome.js";
import { argumentsOf, type Scenario, type Step } from "./read-scenario.js";
import type { ActionArguments, ActionName, PlayRules } from "./scenario-shape.js";
import { ScriptError, Session } from "./session.js";
import { World } from "./world.js";

export interface PlayedStep {
  readonly step: Step;
  readonly outcome: StepOutcome;
  readonly expected: SingleExpectation;
  readonly trace: readonly TraceRecord[];
  readonly mismatches: readonly Mismatch[];
  readonly broken: readonly Broken[];
}

export interface Play {
  readonly scenario: Scenario;
  readonly rules: PlayRules;
  /** The platform's name in expectations. */
  readonly platform: string;
  readonly session: Session;
  readonly steps: readonly PlayedStep[];
  /** Every step gave what was expected. */
  readonly ok: boolean;
}

type Handler<A extends ActionName> = (
  session: Session,
  args: ActionArguments<A>,
  trace: readonly TraceRecord[],
) => StepOutcome;

const HANDLERS: { readonly [A in ActionName]: Handler<A> } = {
  context: objects.openContext,
  memory: objects.addMemory,
  space: objects.makeSpace,
  table: objects.makeTable,
  map: objects.map,
  unmap: objects.unmap,
  copy: objects.copy,
  allow: objects.allow,
  ranges: objects.ranges,
  destroy: objects.destroy,
  queue: objects.makeQueue,
  faults: objects.readFaults,
  answer: objects.answer,
  access: objects.makeAccess,
  pin: objects.pin,
  unpin: objects.unpin,
  peek: objects.peek,
  show: objects.showMemory,
  bind: devices.bind,
  attach: devices.attach,
  replace: devices.replace,
  detach: devices.detach,
  close: devices.close,
  policy: devices.setPolicy,
  report: devices.report,
  driver: devices.kernelDriver,
  groups: devices.groups,
  unplug: devices.unplug,
  plug: devices.plug,
  window: devices.setWindow,
  dma,
  interrupt,
  guestTable: guest.makeGuestTable,
  guestMap: guest.guestMap,
  guestUnmap: guest.guestUnmap,
  invalidate: guest.invalidate,
  fail: (session, n) => {
    session.world.allocations.failNth(n);
    return {};
  },
  mmio: devices.readRegisters,
  group: legacy.legacyGroup,
  container: legacy.container,
  mapDma: legacy.mapDma,
  unmapDma: legacy.unmapDma,
  compatSpace: legacy.compatSpace,
  unsafeInterrupts: (session, on) => {
    session.world.allowUnsafeInterrupts = on;
    return {};
  },
};

/**
 * @param name what expectations call the platform.
 * @throws InputError naming the step that asks for what is not there.
 */
export function play(
  scenario: Scenario,
  platform: BuiltPlatform,
  name: string,
  rules: PlayRules,
): Play {
  const session = new Session(new World(platform, rules));
  const steps: PlayedStep[] = [];
  let ok = true;
  for (const step of scenario.steps) {
    if (step.node.only !== undefined && step.node.only !== rules) continue;
    const played = playStep(session, scenario, step, name, rules);
    if (played === undefined) continue;
    steps.push(played);
    ok = played.mismatches.length === 0 && played.broken.length === 0;
    if (!ok) break;
  }
  return { scenario, rules, platform: name, session, steps, ok };
}

function playStep(
  session: Session,
  scenario: Scenario,
  step: Step,
  platform: string,
  rules: PlayRules,
): PlayedStep | undefined {
  const place = { file: scenario.file, line: step.line, field: step.action };
  const free = scenario.anything && step.node.expect === undefined;
  const expected = expectationFor(step.node.expect, rules, platform);
  if (expected === undefined) {
    throw new InputError(`says nothing for ${rules}`, place, `a key ${rules} in expect`);
  }
  const trace: TraceRecord[] = [];
  session.world.machine.observer = { record: (record) => trace.push(record) };
  try {
    const outcome = run(session, step, step.action, trace);
    const mismatches = free ? [] : compare(expected, outcome);
    return {
      step,
      outcome,
      expected,
      trace,
      mismatches,
      broken: brokenInvariants(session, trace),
    };
  } catch (error) {
    if (!(error instanceof ScriptError)) throw error;
    if (scenario.anything) return undefined;
    throw new InputError(error.message, place);
  } finally {
    session.world.machine.observer = undefined;
  }
}

function run<A extends ActionName>(
  session: Session,
  step: Step,
  action: A,
  trace: readonly TraceRecord[],
): StepOutcome {
  const handler = HANDLERS[action] as Handler<A>;
  return attempt(() => handler(session, argumentsOf(step, action), trace));
}
