/**
 * What a step is expected to give: `ok`, an errno, or an object of what can be compared. Fields
 * that are not named are not compared, except that a refusal must be named.
 */
import { ERRNO, type ErrnoName } from "../abi/index.js";
import {
  dictionary,
  either,
  flag,
  integer,
  list,
  type Read,
  record,
  text,
  word,
} from "../platform/index.js";
import { address, name, words } from "./scalar-shapes.js";

const errno = word(Object.keys(ERRNO) as readonly ErrnoName[]);
const lands = record(
  "an object with memory",
  { memory: name },
  { page: integer(0, 65_535), offset: integer(0, 4095) },
);
const span = list(address, { min: 2, max: 2, description: "First and last address." });
const devices = list(words, { max: 64 });

const outcome = record(
  "an object of what is expected",
  {},
  {
    errno,
    reason: text("a part of the reason", "^[\\s\\S]{1,400}$"),
    because: list(words, { max: 32, description: "Kinds of evidence that must be given." }),
    lands,
    peer: words,
    fault: either(flag(), words),
    lost: words,
    reaches: flag("It got to memory, to a peer or to the processors."),
    data: text("text that was read", "^[\\s\\S]{0,4096}$"),
    error: words,
    waits: flag("The device waits for a page."),
    unseen: flag("No IOMMU unit saw the request."),
    interrupt: flag("It reached the processors."),
    at: address,
    ranges: list(span, { max: 4096 }),
    includes: list(span, { max: 64 }),
    excludes: list(span, { max: 64 }),
    mustShare: flag(),
    with: devices,
    group: devices,
    pasid: flag("The device may use PASIDs without a policy."),
    pasids: integer(0, 2 ** 20, "How many PASIDs it has."),
    samePasidSpaceAs: words,
    exposed: flag(),
    together: devices,
    count: integer(0, 2 ** 31 - 1),
    device: words,
    faultPasid: integer(0, 0xfffff),
    address,
    viable: flag("Nobody else does DMA in the group."),
    containerSet: flag("The group is in a container."),
    unmapped: integer(0, 2 ** 31 - 1, "Times the holder was told to let go."),
  },
);

const single = either(word(["ok"] as const), errno, outcome);
export type SingleExpectation = Read<typeof single>;

/** One for all, or by rule set, or by rule set and platform: `linux-7.2@t2`. */
export const expectationShape = either(
  word(["ok"] as const),
  errno,
  dictionary(
    "rule sets, such as linux-7.2 or linux-7.2@t2",
    "^(device-centric|linux-7\\.2)(@[A-Za-z0-9_-]{1,64})?$",
    single,
  ),
  outcome,
);
export type ExpectationNode = Read<typeof expectationShape>;
export type OutcomeNode = Read<typeof outcome>;
