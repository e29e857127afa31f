/** What a device that lies could do on its way to memory, in sentences. */
import { type Analysis, type UncheckedClaims, uncheckedClaims } from "../isolation/index.js";
import { type Bdf, formatRid, hex } from "../units/index.js";
import { enumerate } from "./condense.js";
import { callDevice } from "./device-name.js";
import { capital } from "./evidence-text.js";

const NAMED = 6;

/** One sentence per exposure; empty for a device outside the capture or with nothing open. */
export function claimSentences(analysis: Analysis, device: Bdf): string[] {
  const claims = uncheckedClaims(analysis, device);
  if (claims === undefined) return [];
  const names = (list: readonly Bdf[]): string => {
    const shown = enumerate(list.slice(0, NAMED).map((bdf) => callDevice(analysis.fabric, bdf)));
    return list.length > NAMED ? `${shown} (and ${list.length - NAMED} more)` : shown;
  };
  return [
    requesterText(claims, names),
    translatedText(claims, names),
    claims.outside ? "No IOMMU covers it: its requests reach memory as they are." : undefined,
    claims.anyInterrupt
      ? "Its interrupts are not remapped: it may send any vector to any processor."
      : undefined,
  ].filter((text) => text !== undefined);
}

type Names = (list: readonly Bdf[]) => string;

function requesterText({ requesters, impersonates }: UncheckedClaims, names: Names): string {
  if (requesters.kind === "replaced") {
    return (
      `Whatever requester ID it sends, ${names([requesters.by])} puts ` +
      `${formatRid(requesters.rid)} in its place.`
    );
  }
  const { first, last, validatedBy } = requesters;
  const range =
    first === last ? `bus ${hex(first, 2)}` : `buses ${hex(first, 2)} to ${hex(last, 2)}`;
  const bound =
    validatedBy.length === 0
      ? "No port on its way validates requester IDs: it may use any"
      : `It may use any requester ID of ${range} (${names(validatedBy)} validates the bus)`;
  return impersonates.length === 0
    ? `${bound}; no other device has one of them.`
    : `${bound}, and with it the maps of ${names(impersonates)}.`;
}

function translatedText({ translated }: UncheckedClaims, names: Names): string | undefined {
  const { arrive, stoppedBy, openWhileAtsOn, peers } = translated;
  const direct =
    peers.length === 0
      ? ""
      : ` A port passes them straight to ${names(peers.map((peer) => peer.device))}.`;
  if (!arrive) {
    const by = stoppedBy === undefined ? "Something on the way" : capital(names([stoppedBy]));
    return `${by} stops requests that claim to be translated.${direct}`;
  }
  if (openWhileAtsOn.length === 0) return direct === "" ? undefined : direct.trim();
  return (
    `While ATS is on for ${names(openWhileAtsOn)}, requests that claim to be translated reach ` +
    `all memory.${direct}`
  );
}
