/*
 * cleanup: scope-bound ownership.
 *
 *   AUTO(fd) int fd = -1;          closed when the scope ends
 *   AUTO(json) json_t *j = NULL;   decref'd
 *   return steal(j);               hands it to the caller instead
 *
 * A module with an owning type declares DEFINE_CLEANUP(type, name, free_function) in its own header.
 */
#ifndef ROOST_BASE_CLEANUP_H
#define ROOST_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define AUTO(name) __attribute__((cleanup(name##_cleanup)))

#define DEFINE_CLEANUP(type, name, release)				\
	__attribute__((unused)) static inline void			\
	name##_cleanup(type *p)						\
	{								\
		if (*p)							\
			release(*p);					\
	}

#define steal(p) ({ __typeof__(p) steal_ = (p); (p) = NULL; steal_; })
#define steal_fd(fd) ({ int steal_ = (fd); (fd) = -1; steal_; })

DEFINE_CLEANUP(char *, str, free)

__attribute__((unused)) static inline void
fd_cleanup(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#endif
