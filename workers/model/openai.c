/*
 * openai: Chat Completions, streamed: OpenAI and whatever speaks like it (vLLM, Ollama, llama.cpp, LiteLLM, OpenRouter, Gemini's
 * compatible endpoint). Here: where a request goes, its head, what an upstream's refusal means; the conversation is openai_messages.c's,
 * the stream openai_stream.c's.
 *
 * Servers disagree about optional fields, so each can be left out: `refused` reads a 400's words, and the call is made again without.
 */
#include "adapter.h"

#include <string.h>

#include "jw.h"
#include "openai_messages.h"
#include "openai_stream.h"

static void
url(struct buf *out, const char *base_url)
{
	const char *host = strstr(base_url, "://");
	size_t n = strlen(base_url);

	while (n && base_url[n - 1] == '/')
		n--;
	buf_put(out, base_url, n);
	if (!host || !memchr(host + 3, '/', (size_t)(base_url + n - host) - 3))
		buf_str(out, "/v1");	/* http://host: the usual place; with a path the operator has named the place */
	buf_str(out, "/chat/completions");
}

static void
auth(struct buf *out, const char *key)
{
	if (key[0])
		buf_printf(out, "Authorization: Bearer %s", key);
}

/* Upstreams that reason: they take an effort and count their thinking, so max_tokens has another name. */
static bool
reasons(const char *upstream)
{
	static const char *const prefixes[] = { "o1", "o3", "o4", "gpt-5", "gpt-6" };

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (!strncmp(upstream, prefixes[i], strlen(prefixes[i])))
			return true;
	}
	return false;
}

static void
head(struct buf *out, const struct adapter_head *h)
{
	bool reasoning = reasons(h->upstream), completion = reasoning;
	const char *effort = h->effort;

	if (h->without & WITHOUT_MAX_TOKENS)
		completion = true;
	if (h->without & WITHOUT_MAX_COMPLETION)
		completion = false;
	buf_str(out, "{\"model\":");
	jw_quote(out, h->upstream, strlen(h->upstream));
	buf_printf(out, ",\"%s\":%d,\"stream\":true", completion ? "max_completion_tokens" : "max_tokens", h->max_output_tokens);
	if (!(h->without & WITHOUT_USAGE_OPTION))
		buf_str(out, ",\"stream_options\":{\"include_usage\":true}");
	if (effort && reasoning && !(h->without & WITHOUT_EFFORT)) {
		if (!strcmp(effort, "xhigh") || !strcmp(effort, "max"))
			effort = "high";
		buf_printf(out, ",\"reasoning_effort\":\"%s\"", effort);
	}
}

static unsigned
refused(const char *said)
{
	if (strcasestr(said, "max_completion_tokens"))	/* both names stand in both complaints; the first one is the one refused */
		return strcasestr(said, "max_tokens") && strcasestr(said, "max_tokens") < strcasestr(said, "max_completion_tokens") ?
		    WITHOUT_MAX_TOKENS : WITHOUT_MAX_COMPLETION;
	if (strcasestr(said, "stream_options") || strcasestr(said, "include_usage"))
		return WITHOUT_USAGE_OPTION;
	if (strcasestr(said, "reasoning_effort"))
		return WITHOUT_EFFORT;
	/* "Unknown part type: file", "unsupported content[].type", "invalid content type" */
	return strcasestr(said, "part type") || strcasestr(said, "content type") || strcasestr(said, "[].type") ||
	    strcasestr(said, "file_data") || strcasestr(said, "'file'") || strcasestr(said, "\"file\"") ? WITHOUT_FILES : 0;
}

const struct adapter adapter_openai = {
	.dialect = "openai",
	.url = url,
	.auth = auth,
	.head = head,
	.tail = openai_tail,
	.refused = refused,
	.forget = openai_forget,
	.event = openai_event,
	.end = openai_end,
};
