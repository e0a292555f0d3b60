/*
 * budget: see budget.h. Amounts are whole cents as decimal text, which the shape has bounded to what an int64 holds. A budget belongs to
 * a session from its first moment or not at all: it can be changed and removed, never added.
 */
#include "budget.h"

#include <stdlib.h>
#include <string.h>

#include "catalogue.h"
#include "jx.h"

int
budget_read(const json_t *budget, int64_t *out_cents, struct err *e)
{
	const char *amount = jx_str(json_object_get(budget, "max_list_cost"), "amount");

	if (amount[0] < '1' || amount[0] > '9' || amount[strspn(amount, "0123456789")])
		return err_set(e, EK_INVALID, 0, "budget.max_list_cost.amount: must be a positive integer number of cents, as a string");
	*out_cents = strtoll(amount, NULL, 10);
	return 0;
}

int
budget_update(const json_t *sent, int64_t now, int64_t *out_cents, struct err *e)
{
	*out_cents = now;
	if (!sent)
		return 0;
	if (json_is_null(sent)) {
		*out_cents = 0;
		return 0;
	}
	if (budget_read(sent, out_cents, e) < 0)
		return -1;
	if (now)
		return 0;
	return err_coded(e, EC_BUDGET_CREATE_ONLY, "budget: can only be set when a session is created");
}

int
budget_model(struct db *db, const json_t *model, struct err *e)
{
	const char *id = jx_str(model, "id");
	struct catalogue_model m;

	if (catalogue_model(db, id, jx_str(model, "speed"), jx_str(model, "inference_geo"), &m, e) < 0)
		return -1;
	if (m.rates.known)
		return 0;
	return err_coded(e, EC_MODEL_NOT_BUDGETABLE, "budget: the model \"%.128s\" has no list price, so a budget cannot be enforced", id);
}
