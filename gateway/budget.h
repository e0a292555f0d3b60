/* budget: a session's spend ceiling (contract 9.3), as requests set and change it. What was spent is cost.h's. */
#ifndef ROOST_GATEWAY_BUDGET_H
#define ROOST_GATEWAY_BUDGET_H

#include <jansson.h>
#include <stdint.h>

#include "db.h"
#include "err.h"

/* Cents of a budget that has passed its shape. EK_INVALID unless the amount is a positive integer. */
int budget_read(const json_t *budget, int64_t *out_cents, struct err *e);

/*
 * What an update makes of a session's budget: sent is NULL (kept), JSON null (removed) or a budget. EK_INVALID budget_create_only when
 * the session has none. 0: none.
 */
int budget_update(const json_t *sent, int64_t now, int64_t *out_cents, struct err *e);

/* EK_INVALID model_not_budgetable unless this model (a resolved ModelConfig) has a list price. */
int budget_model(struct db *db, const json_t *model, struct err *e);

#endif
