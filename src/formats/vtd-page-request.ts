/** Intel VT-d 5.0 § 7.4.1: what a unit puts into the page request queue. */
import { bit, bits } from "./layout.js";

/** 256 bits. */
export const VTD_PAGE_REQUEST = {
  type: bits(7, 0),
  pasidPresent: bit(8),
  privateDataPresent: bit(9),
  requesterId: bits(31, 16),
  pasid: bits(51, 32),
  execute: bit(52),
  privileged: bit(53),
  read: bit(64),
  write: bit(65),
  lastPage: bit(66),
  groupIndex: bits(75, 67),
  frame: bits(127, 76),
} as const;

/** Field `type` of a page request. */
export const VTD_PAGE_REQUEST_TYPE = 1;
export const VTD_PAGE_REQUEST_WORDS = 8;
