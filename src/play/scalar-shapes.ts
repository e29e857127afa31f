/** Small shapes that scenarios share. */
import { either, integer, text } from "../platform/index.js";

export const address = either(
  integer(0, Number.MAX_SAFE_INTEGER),
  text('a string such as "0xfe000000"', "^0x[0-9a-fA-F]{1,16}$"),
);
export const name = text("a name of letters, digits, - and _", "^[A-Za-z][A-Za-z0-9_-]{0,63}$");
/** A device: a name of the platform, or an address. */
export const deviceName = text(
  "a device's name or address",
  "^([A-Za-z][A-Za-z0-9_-]{0,63}|([0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[01][0-9a-fA-F]\\.[0-7])$",
);
export const words = text("a text on one line", "^[^\\u0000-\\u001f]{1,400}$");
