/** Bounds on what is read, so that no input, however made, exhausts memory or time. */

/** One file, and all contents of an archive together, unpacked. */
export const UNPACKED_LIMIT_BYTES = 1024 * 1024 * 1024;
/** Standard input and pipes, whose length is not known: they are held twice while being joined. */
export const PIPE_LIMIT_BYTES = 384 * 1024 * 1024;
/** Copies of files up to this size are recognised as such. */
export const COPY_LIMIT_BYTES = 1024 * 1024;
/** One compressed file, or one member of an archive; larger members are skipped (a journal). */
export const MEMBER_LIMIT_BYTES = 256 * 1024 * 1024;
export const ARCHIVE_ENTRY_LIMIT = 2_000_000;
/** Files beyond this are no platform descriptions. */
export const PLATFORM_FILE_LIMIT = 16 * 1024 * 1024;
/** A sysfs attribute or firmware table. */
export const ATTRIBUTE_LIMIT_BYTES = 16 * 1024 * 1024;
export const DIRECTORY_ENTRY_LIMIT = 200_000;
export const DIRECTORY_DEPTH_LIMIT = 16;
