/**
 * A platform file as a source beside captures: it says what a host is instead of what was seen of
 * one, so it has functions and facts and no recorded groups, whatever it started from.
 */
import type { BuiltPlatform } from "../platform/index.js";
import type { Bdf } from "../units/index.js";
import type { Capture, CapturedFunction, CapturePart } from "./capture.js";

/** Stands in every platform file; the version follows. */
export const PLATFORM_MARKER = "ioasis/platform/";
/** How much of a file may stand before the marker: comments, a licence. */
export const PLATFORM_SNIFF_CHARACTERS = 65_536;

const YAML_MARKER = /^(?:["']?)schema(?:["']?)[ \t]{0,40}:[ \t]{1,40}["']?ioasis\/platform\//m;
const JSON_MARKER = /"schema"\s{0,40}:\s{0,40}"ioasis\/platform\//;
const OBJECT = /^(?:\s{0,99}(?:#[^\n]{0,999}\n)?){0,99}\{/;

/** Whether text is a YAML or JSON document that says it is a platform, of whatever version. */
export function looksLikePlatform(text: string): boolean {
  const head = text.slice(0, PLATFORM_SNIFF_CHARACTERS);
  if (!head.includes(PLATFORM_MARKER)) return false;
  return YAML_MARKER.test(head) || (OBJECT.test(head) && JSON_MARKER.test(head));
}

/** @param captured what the platform started from, for what it shows beside descriptions. */
export function platformPart(
  built: BuiltPlatform,
  file: string,
  captured?: Capture | undefined,
): CapturePart {
  const place = { file };
  const handles = new Map<Bdf, string>();
  for (const [name, bdf] of built.names) handles.set(bdf, name);
  const seen = new Map(captured?.functions.map((f) => [f.bdf, f]));
  const functions = built.functions.map((description): CapturedFunction => {
    const before = seen.get(description.bdf);
    if (before !== undefined) return { ...before, ...description };
    const name = description.name ?? handles.get(description.bdf);
    return { ...description, place, idsFrom: "numeric", ...(name !== undefined && { name }) };
  });
  return {
    kind: "platform",
    place,
    functions,
    facts: built.facts,
    ...(built.rules !== undefined && { rules: built.rules }),
    ...(captured !== undefined && { notes: captured.notes }),
  };
}
