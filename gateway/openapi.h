/* openapi: GET /openapi.json, an OpenAPI 3.1 document made from the route, shape and query tables when the process starts. */
#ifndef ROOST_GATEWAY_OPENAPI_H
#define ROOST_GATEWAY_OPENAPI_H

#include <stddef.h>

void openapi_init(void);
void openapi_free(void);
const char *openapi_text(size_t *len);

#endif
