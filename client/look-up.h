#ifndef IOASIS_LOOK_UP_H
#define IOASIS_LOOK_UP_H

/* The path to use; returns `failure` from the wrapper when there is none. */
#define LOOK_UP(directory, path, failure)                          \
	struct where where;                                        \
	int at = directory;                                        \
	const char *real = redirect(&at, path, &where);            \
	if (real == NULL)                                          \
		return failure;

#endif
