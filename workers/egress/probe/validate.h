/*
 * validate: mcp_oauth_validate (contract 7.5): does a stored credential work, and if it has expired, does a refresh mend it?
 */
#ifndef ROOST_EGRESS_VALIDATE_H
#define ROOST_EGRESS_VALIDATE_H

#include "buf.h"
#include "conf.h"
#include "err.h"

/*
 * Validate the credential of a probe that a gateway wrote down. On success out is {"has_refresh_token":..,"status":..,"mcp_probe":..,"refresh":..},
 * fit to be shown. EK_UNAVAILABLE: roost-vault or its database is away; EK_NOT_FOUND: the probe's credential has gone.
 */
int validate(const struct conf *c, const char *probe, struct buf *out, struct err *e);

#endif
