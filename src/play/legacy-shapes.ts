/** Shapes of the actions of programs that know groups and containers only. */
import { either, flag, integer, record, word } from "../platform/index.js";
import { address, deviceName as device, name } from "./scalar-shapes.js";

const access = word(["r", "w", "rw"] as const, "Default rw.");
const extension = word([
  "type1",
  "type1v2",
  "dmaCacheCoherent",
  "nesting",
  "noIommu",
  "unmapAll",
  "updateVaddr",
] as const);

export const LEGACY_ACTIONS = {
  group: record(
    "an object with of",
    { of: device },
    {
      open: flag(),
      status: flag("Whether others do DMA in it, and whether it is in a container."),
      container: name,
      space: name,
      leave: flag("Out of its container."),
      close: flag("With all device files that were opened by it."),
    },
    "The group of a device, for programs that use groups and containers.",
  ),
  container: either(
    name,
    record(
      "an object with of",
      { of: name },
      { type: word(["type1", "type1v2", "nesting"] as const), extension },
      "A container, or a context used as one.",
    ),
  ),
  mapDma: record(
    "an object with of, memory and at",
    { of: name, memory: name, at: address },
    { page: integer(0, 65_535), pages: integer(1, 65_536), access },
  ),
  unmapDma: record(
    "an object with of",
    { of: name },
    { at: address, pages: integer(1, 2 ** 31 - 1), all: flag("Everything that is mapped.") },
  ),
  compatSpace: record(
    "an object with of",
    { of: name },
    { set: name, clear: flag(), get: name },
    "The space that the container calls of a context mean; `get` gives it a name.",
  ),
} as const;
