/**
 * What may go to a terminal. Names, paths and file names come from captures that strangers made,
 * and a terminal acts on control sequences; so nothing but line ends, tabs and colour gets through.
 *
 * C0 and C1 controls (ISO 6429), DEL, and the Unicode characters that reorder text (UAX #9 § 2)
 * become U+FFFD. Colours (SGR, ISO 6429 § 8.3.117) stay where colour is on: they harm nobody.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
const SUSPECT = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;
const UNSAFE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
  /(\u001b\[[0-9;]{0,20}m)|[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** @param colour whether colour sequences stay */
export function printable(text: string, colour: boolean): string {
  // Nearly all text is clean: one look, and nothing is copied.
  if (!SUSPECT.test(text)) return text;
  return text.replace(UNSAFE, (_all, sgr: string | undefined) =>
    sgr !== undefined && colour ? sgr : "\ufffd",
  );
}
