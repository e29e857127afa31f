/**
 * The configuration space of a dump that shows any number of bytes from the first on.
 *
 * Dumps end early where a mail program, a pager or a person cut them, often because the rest is
 * zero. What is shown is known; what is not shown is not claimed to be zero.
 */
import { readCapabilities } from "./capability/list.js";
import { CONFIG_SIZE, type ConfigExtent, ConfigSpace } from "./config-space.js";

/**
 * @param shown 64 bytes or more; fewer give a space of which nothing is known, more than 4096 are
 * cut. Copied without trailing zeros.
 */
export function configFromShown(shown: Uint8Array): ConfigSpace {
  const n = Math.min(shown.length, CONFIG_SIZE);
  if (n < 64 || n === 64 || n === 256 || n === CONFIG_SIZE) {
    return ConfigSpace.fromDump(shown.subarray(0, n));
  }
  const extent: ConfigExtent = n < 256 ? 256 : CONFIG_SIZE;
  let used = n;
  while (used > 0 && shown[used - 1] === 0) used--;
  const config = new ConfigSpace(shown.slice(0, used), extent, firstBytes(n));
  // Of standard capabilities a part helps nobody: the header counts alone.
  const whole = extent === CONFIG_SIZE || readCapabilities(config).standard?.complete === true;
  return whole ? config : ConfigSpace.fromDump(shown.subarray(0, 64));
}

/** A mask of which the first `n` bits are set. */
function firstBytes(n: number): Uint8Array {
  const mask = new Uint8Array((n + 7) >>> 3).fill(0xff);
  if (n % 8 !== 0) mask[n >>> 3] = (1 << (n % 8)) - 1;
  return mask;
}
