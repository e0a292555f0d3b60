/* mime: media types of files by the ending of their name (mime.def), and which media types are well-formed. */
#ifndef ROOST_BASE_MIME_H
#define ROOST_BASE_MIME_H

#include <stdbool.h>

#define MIME_MAX 128	/* a stored type with its NUL */
#define MIME_ANY "application/octet-stream"

/* The type that a file name's ending means; MIME_ANY when it has none that is known. Static text. */
const char *mime_of_name(const char *filename);

/* The ending of a type, with its dot, or "" when none is known. Static text. */
const char *mime_ending(const char *type);

/* The type of a Content-Type value without its parameters, in lower case, into out. False, and out "": it is not well-formed. */
bool mime_essence(const char *content_type, char out[MIME_MAX]);

#endif
