/**
 * The format of scenario files: `ioasis/scenario/1`.
 *
 * A scenario names platforms and a list of steps. A step is one action, and what is expected of it:
 * nothing said means that it succeeds. An expectation may differ by rule set (`linux-7.2:`) and by
 * platform (`linux-7.2@t2:`). Things that steps make (contexts, spaces, buffers) have names.
 */
import {
  either,
  flag,
  integer,
  type JsonSchema,
  list,
  type Read,
  record,
  type Shape,
  text,
  word,
} from "../platform/index.js";
import { expectationShape } from "./expectation-shape.js";
import { LEGACY_ACTIONS } from "./legacy-shapes.js";
import { address, deviceName as device, name, words } from "./scalar-shapes.js";

export const SCENARIO_SCHEMA = "ioasis/scenario/1";
export const PLAY_RULES = ["device-centric", "linux-7.2"] as const;
export type PlayRules = (typeof PLAY_RULES)[number];

const pasid = integer(1, 0xfffff, "PASID; absent: requests without one.");
const policy = word(["refuse", "exclude-windows", "translated-only", "raw"] as const);
const access = word(["r", "w", "rw"] as const, "Default rw.");

/** A number, or a place in a device's BAR. */
const place = either(
  address,
  record("an object with bar", { bar: device }, { index: integer(0, 5), offset: address }),
);

const attach = record(
  "an object with device and to",
  { device, to: name },
  {
    pasid,
    policy,
    excludeRidWindows: flag("Reserve peer windows for this attach without PASID."),
  },
);

const dmaFields = {
  write: text("text to write", "^[\\s\\S]{1,4096}$"),
  read: integer(1, 4096, "Bytes to read."),
  translate: flag("Only ask for a translation."),
  pasid,
  via: word(["untranslated", "ats", "translated"] as const, "Address type; default untranslated."),
  pages: flag("Request pages that are missing."),
  privileged: flag(),
  execute: flag(),
  noSnoop: flag("Ask not to be snooped; a device whose driver forbids it does not."),
  as: device,
  hostile: flag("The device ignores its switches."),
};

export const ACTIONS = {
  context: either(
    name,
    record("an object with name", { name }, { memoryLimit: integer(0, 2 ** 31 - 1) }),
  ),
  memory: record("an object with name", { name }, { pages: integer(1, 65_536) }),
  space: record(
    "an object with name and in",
    { name, in: name },
    { over: name, snoop: flag("Only tables that force snooping.") },
  ),
  bind: record(
    "an object with device, and to or byGroup",
    { device },
    {
      to: name,
      byGroup: flag("By the file of its group, into the group's container."),
      mode: word(["rid", "rid+pasid", "rid+pasid+shared-queue", "software"] as const),
      translatedOnly: flag("Its driver declares that PASIDs carry translated requests only."),
      ats: flag("Its driver uses ATS and page requests where they can be used; default true."),
      noSnoop: flag("Its driver lets it send requests that are not snooped; default true."),
      cookie: integer(0, Number.MAX_SAFE_INTEGER),
    },
  ),
  attach,
  replace: attach,
  detach: record("an object with device", { device }, { pasid }),
  close: either(name, record("an object with device", { device }, {})),
  destroy: name,
  table: record(
    "an object with name, device and on",
    { name, device, on: name },
    {
      pasid: flag(),
      nestParent: flag(),
      dirty: flag(),
      faults: name,
      guest: name,
    },
  ),
  map: record(
    "an object with space, and memory or parent",
    { space: name },
    {
      memory: name,
      page: integer(0, 65_535),
      pages: integer(1, 65_536),
      at: place,
      access,
      parent: address,
    },
  ),
  unmap: record(
    "an object with space and at",
    { space: name, at: place },
    { pages: integer(1, 2 ** 31 - 1), all: flag("Everything, wherever it is.") },
  ),
  copy: record(
    "an object with from, at and to",
    { from: name, at: address, to: name },
    { toAt: address, pages: integer(1, 65_536), access },
    "What a space maps at an address, mapped in another one (or in itself) too.",
  ),
  allow: record(
    "an object with space and ranges",
    { space: name, ranges: list(list(address, { min: 2, max: 2 })) },
    {},
  ),
  ranges: record("an object with space", { space: name }, { room: integer(0, 65_536) }),
  policy: record("an object with of", { of: name }, { pasid: policy, excludeRidWindows: flag() }),
  report: record("an object with device", { device }, {}),
  dma: record("an object with device and at", { device, at: place }, dmaFields),
  interrupt: record(
    "an object with device",
    { device },
    { as: device, at: address, data: integer(0, 0xffff_ffff) },
    "Its own interrupt, or with `at` any message.",
  ),
  unplug: device,
  plug: device,
  window: record(
    "an object with bridge",
    { bridge: device },
    { first: address, last: address, closed: flag() },
  ),
  driver: record(
    "an object with device",
    { device },
    { bind: words, unbind: flag("The kernel driver lets go of the device.") },
  ),
  groups: record("an object with of", { of: list(device, { min: 1, max: 64 }) }, {}),
  queue: record("an object with name and in", { name, in: name }, {}),
  faults: name,
  answer: record(
    "an object with queue and with",
    { queue: name, with: word(["success", "invalid"] as const) },
    { cookie: integer(1, 2 ** 31 - 1) },
  ),
  fail: integer(1, 10_000, "The n-th allocation of the next step fails."),
  unsafeInterrupts: flag("Users may own devices whose interrupts are not isolated."),
  access: record("an object with name and space", { name, space: name }, { pins: flag() }),
  pin: record(
    "an object with access and at",
    { access: name, at: address },
    { pages: integer(1, 2 ** 31 - 1) },
  ),
  unpin: name,
  peek: record(
    "an object with access and at",
    { access: name, at: address },
    { read: integer(1, 4096), write: text("text to write", "^[\\s\\S]{1,4096}$") },
  ),
  guestTable: record(
    "an object with name and memory",
    { name, memory: name },
    { levels: integer(4, 5), root: address },
  ),
  guestMap: record(
    "an object with table, at and to",
    { table: name, at: address, to: address },
    { access },
  ),
  guestUnmap: record("an object with table and at", { table: name, at: address }, {}),
  invalidate: record(
    "an object with table",
    { table: name },
    { at: address, pages: integer(1, 2 ** 31 - 1) },
  ),
  mmio: record(
    "an object with device and offset",
    { device, offset: integer(0, 0x7fff) },
    {},
    "Four bytes of its BAR 0, as its user reads them.",
  ),
  show: record(
    "an object with memory",
    { memory: name },
    { page: integer(0, 65_535), offset: integer(0, 4095), length: integer(1, 4096) },
  ),
  ...LEGACY_ACTIONS,
} as const satisfies Readonly<Record<string, Shape<unknown>>>;

export type ActionName = keyof typeof ACTIONS;
export type ActionArguments<A extends ActionName> = Read<(typeof ACTIONS)[A]>;

const stepShape = record("an object with one action", {}, {
  ...ACTIONS,
  expect: expectationShape,
  only: word(PLAY_RULES, "Played under this rule set only."),
  note: words,
} as const);

export type StepNode = Read<typeof stepShape>;

const platformName = text(
  "a path from the directory of this file, or a name in ../platforms",
  "^[^\\u0000-\\u001f]{1,4096}$",
);

export const scenarioShape = record(
  "an object with name, platforms and steps",
  {
    schema: word([SCENARIO_SCHEMA] as const),
    name: words,
    platforms: list(platformName, { min: 1, max: 16 }),
    steps: list(stepShape, { min: 1, max: 10_000 }),
  },
  {
    about: text("a description", "^[\\s\\S]{1,10000}$"),
    rules: list(word(PLAY_RULES), { min: 1, max: 2 }),
    anything: flag("Steps that expect nothing may give anything, or are passed over."),
  },
);

export type ScenarioNode = Read<typeof scenarioShape>;

/** The published JSON Schema (draft 2020-12). */
export function scenarioJsonSchema(): JsonSchema {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: "https://ioasis.dev/schemas/scenario.schema.json",
    title: SCENARIO_SCHEMA,
    description: "What software and devices of a platform do, step by step, and what is expected.",
    ...scenarioShape.schema(),
  };
}
