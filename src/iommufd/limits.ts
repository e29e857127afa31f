/** Limits of the object layer; each has its own error. Numbers of Linux 7.2 where it has one. */

/** Highest object id; ids count from 1 and the lowest free one is handed out. */
export const OBJECT_ID_MAX = 2 ** 31 - 1;
/** Bytes of a page of user memory, and log2 of it. */
export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 4096;
/** Automatic addresses are aligned to at most this many bytes (a PMD). */
export const AUTO_ALIGN_MAX = 2 * 1024 * 1024;
/** An unmap gives up after this many requests to release pins. */
export const UNMAP_NOTIFICATIONS_MAX = 100;
/** Depth of an event queue. */
export const EVENT_QUEUE_DEPTH_MAX = 2 ** 19;
/** Entries of one invalidation array. */
export const INVALIDATE_ENTRIES_MAX = 2 ** 19;
/** Last byte of the 64-bit space. */
export const U64_MAX = 2n ** 64n - 1n;
