#ifndef IOASIS_REACHABLE_H
#define IOASIS_REACHABLE_H

/*
 * Why the program at that path cannot be served, or NULL. `flags` as of execveat: AT_EMPTY_PATH
 * with an empty path means the descriptor `directory`.
 */
const char *why_unreachable(int directory, const char *path, int flags);

#endif
