/*
 * mcp: does a server take this token? The Model Context Protocol's first two requests over streamable HTTP: initialize, then tools/list. A
 * server that only speaks the older transport (HTTP+SSE) is asked for its stream instead.
 */
#ifndef ROOST_EGRESS_MCP_H
#define ROOST_EGRESS_MCP_H

#include <stdint.h>

#include "fetch.h"

enum mcp_verdict {
	MCP_ACCEPTED,
	MCP_UNAUTHORIZED,	/* 401: a refresh may help */
	MCP_FORBIDDEN,		/* 403: it knows the token and says no */
	MCP_UNCLEAR		/* no answer, or one that says nothing about the token */
};

struct mcp_result {
	enum mcp_verdict verdict;
	const char *method;		/* the step that failed; NULL when accepted */
	struct fetch_reply reply;	/* its answer; status 0: none. fetch_reply_free() */
};

/* until: of clock_mono_ms(). Always fills out. */
void mcp_probe(struct fetch *f, const char *url, const char *token, int64_t until, struct mcp_result *out);

#endif
