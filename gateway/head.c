/* head: see head.h. Counts what nginx handed over; reads no value. */
#include "head.h"

#include <string.h>

int
head_check(char *const *envp, struct err *e)
{
	size_t sum = 0;

	for (; *envp; envp++) {
		if (strncmp(*envp, "REQUEST_URI=", 12) == 0 && strlen(*envp + 12) > HEAD_URI_MAX)
			return err_set(e, EK_URI_LONG, 0, "The path and query are longer than %d bytes.", HEAD_URI_MAX);
		if (strncmp(*envp, "HTTP_", 5) == 0)
			sum += strlen(*envp + 5);
	}
	return sum > HEAD_MAX ? err_set(e, EK_HEAD_LARGE, 0, "The request's headers are larger than %d bytes.", HEAD_MAX) : 0;
}
