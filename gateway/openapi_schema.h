/*
 * openapi_schema: shapes and replies as JSON Schemas (2020-12, as OpenAPI 3.1 has them). Each becomes a component when it is first
 * referred to, so that the list is complete by construction.
 */
#ifndef ROOST_GATEWAY_OPENAPI_SCHEMA_H
#define ROOST_GATEWAY_OPENAPI_SCHEMA_H

#include "jw.h"
#include "query.h"
#include "shape.h"

#define SCHEMAS_MAX 512

/* What was referred to, in order of first mention. Zero is empty. */
struct schemas {
	struct { const struct shape *shape; const struct shape_union *one; } list[SCHEMAS_MAX];
	int n;
};

/* The member "$ref" of the schema object that is open. One of the two is NULL. */
void schema_ref(struct jw *w, struct schemas *c, const struct shape *s, const struct shape_union *one);

/* One member of the open object components/schemas for each that was referred to, and for what these refer to. */
void schema_components(struct jw *w, struct schemas *c);

/* The members of a multipart body's schema object. */
void schema_parts(struct jw *w, const struct shape *s);

/* The schema of a query parameter, as a value. */
void schema_query(struct jw *w, const struct query_param *p);

#endif
