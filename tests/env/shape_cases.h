/*
 * shape_cases: bad (and just good) request bodies made from the shape tables: for every field of every nested shape: absent, null, every
 * wrong type, each limit -1/0/+1, bad enum value, unknown and forbidden siblings, missing and unknown variant, and what is not supported yet.
 */
#ifndef ROOST_TESTS_SHAPE_CASES_H
#define ROOST_TESTS_SHAPE_CASES_H

#include <jansson.h>

#include "shape.h"

/* expect: how the message must begin; NULL: the body is good as far as its shape goes. body is borrowed. */
typedef void shape_case_fn(void *arg, const char *name, const json_t *body, const char *expect);

void shape_cases(const struct shape *s, shape_case_fn *see, void *arg);

/* A body with every required field, as small as the limits allow. The caller owns it. */
json_t *shape_specimen(const struct shape *s);

#endif
