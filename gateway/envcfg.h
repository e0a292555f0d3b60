/* envcfg: an environment's body as it is stored: name, description, config, metadata, scope, all defaults resolved (contract 2.2, 8). */
#ifndef ROOST_GATEWAY_ENVCFG_H
#define ROOST_GATEWAY_ENVCFG_H

#include <jansson.h>

#include "err.h"

/* From a create body that has passed its shape. The caller owns *out. */
int envcfg_create(const json_t *body, json_t **out, struct err *e);

/* stored with an update body applied; stored is not changed. EK_INVALID invalid_config_type_change when the type differs. */
int envcfg_update(const json_t *stored, const json_t *body, json_t **out, struct err *e);

#endif
