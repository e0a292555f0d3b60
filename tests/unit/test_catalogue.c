/* The catalogue file: what is read, and that every complaint names the line and the field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "catfile.h"
#include "err.h"
#include "modelcaps.h"

static const char good[] =
    "{\"providers\":[\n"
    "  {\"name\":\"lab\",\"dialect\":\"anthropic\",\n"
    "   \"base_url\":\"http://127.0.0.1:9099\",\n"
    "   \"api_key\":\"sk-1\"},\n"
    "  {\"name\":\"gpu.1\",\"dialect\":\"openai\",\"base_url\":\"https://host:8000/v1\"}],\n"
    " \"models\":[\n"
    "  {\"id\":\"lab-1\",\"display_name\":\"Lab 1 \\u00e4\",\n"
    "   \"routes\":[{\"provider\":\"lab\",\"upstream\":\"fake-1\"},\n"
    "             {\"provider\":\"gpu.1\",\"upstream\":\"org/model:7b\"}],\n"
    "   \"context_window\":200000,\n"
    "   \"max_output_tokens\":8192,\n"
    "   \"price\":{\"currency\":\"USD\",\n"
    "            \"per_million_tokens\":{\"input\":\"3\",\"output\":\"15\",\"cache_read\":\"0.30\",\n"
    "              \"cache_write_5m\":\"3.75\",\"cache_write_1h\":\"6\"}},\n"
    "   \"capabilities\":{\"efforts\":[\"low\", \"high\"], \"fast\":false}}]}\n";

static void
test_good(void **state)
{
	struct err e = ERR_INIT;
	struct catfile f;

	(void)state;
	assert_int_equal(catfile_parse(good, strlen(good), &f, &e), 0);
	assert_int_equal(f.nproviders, 2);
	assert_string_equal(f.providers[0].name, "lab");
	assert_string_equal(f.providers[0].dialect, "anthropic");
	assert_string_equal(f.providers[0].base_url, "http://127.0.0.1:9099");
	assert_string_equal(f.providers[0].api_key, "sk-1");
	assert_int_equal(f.providers[1].key, CATFILE_KEY_KEEP);
	assert_int_equal(f.nmodels, 1);
	assert_string_equal(f.models[0].display_name, "Lab 1 \xc3\xa4");
	assert_int_equal(f.models[0].nroutes, 2);
	assert_string_equal(f.models[0].routes[1].upstream, "org/model:7b");
	assert_int_equal(f.models[0].routes[1].line, 9);
	assert_int_equal(f.models[0].context_window, 200000);
	assert_string_equal(f.models[0].price, "{\"currency\":\"USD\",\"per_million_tokens\":{\"input\":\"3\",\"output\":\"15\","
	    "\"cache_read\":\"0.30\",\"cache_write_5m\":\"3.75\",\"cache_write_1h\":\"6\"}}");
	assert_string_equal(f.models[0].capabilities, "{\"efforts\":[\"low\",\"high\"],\"fast\":false}");
	assert_false(f.models[0].elsewhere);
	assert_ptr_equal(catfile_provider(&f, "gpu.1"), &f.providers[1]);
	assert_null(catfile_provider(&f, "gpu"));
	catfile_free(&f);
	catfile_free(&f);
}

/* What the catalogue says, and what an agent may ask for: its usual effort, words joined by spaces, "fast" and "us" among them. */
static const struct { const char *text, *usual, *takes; } asked[] = {
	{ NULL, "high", "low medium high xhigh max standard global" },
	{ "{}", "high", "low medium high xhigh max standard global" },
	{ "{\"efforts\":[]}", NULL, "standard global" },
	{ "{\"efforts\":[\"medium\",\"low\"],\"fast\":true}", "medium", "low medium standard fast global" },
	{ "{\"efforts\":[\"max\"],\"fast\":false,\"geos\":[\"us\"]}", "max", "max standard us" },
	{ "{\"geos\":[\"us\",\"global\",\"moon\"]}", "high", "low medium high xhigh max standard global us" },
};

static void
test_asked(void **state)
{
	static const char *const words[] = { "low", "medium", "high", "xhigh", "max", "standard", "fast", "global", "us", "moon" };

	(void)state;
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		AUTO(buf) struct buf takes = { 0 };
		const char *usual;
		struct modelcaps c;

		modelcaps_read(asked[i].text, &c);
		for (size_t k = 0; k < sizeof(words) / sizeof(words[0]); k++)
			if (modelcaps_effort(&c, words[k]) || modelcaps_speed(&c, words[k]) || modelcaps_geo(&c, words[k]))
				buf_printf(&takes, "%s%s", takes.len ? " " : "", words[k]);
		assert_string_equal(takes.data, asked[i].takes);
		usual = modelcaps_usual_effort(&c);
		assert_string_equal(usual ? usual : "none", asked[i].usual ? asked[i].usual : "none");
	}
}

/* One replacement in the good file, and the complaint. */
static const struct { const char *from, *to, *complaint; } bad[] = {
	{ "\"name\":\"lab\"", "\"name\":\"\"", "line 2: providers[0].name: must be 1 to 64 bytes long" },
	{ "\"name\":\"lab\"", "\"name\":\"a b\"", "line 2: providers[0].name: may hold letters, digits, - _ and . only" },
	{ "\"name\":\"lab\"", "\"name\":\"scripted\"", "line 2: providers[0].name: \"scripted\" is built in*" },
	{ "\"name\":\"lab\"", "\"name\":7", "line 2: providers[0].name: must be a string" },
	{ "\"name\":\"lab\",", "", "line 2: providers[0]: field \"name\" is missing" },
	{ "\"name\":\"lab\"", "\"naem\":\"lab\"", "line 2: providers[0]: unknown field \"naem\"" },
	{ "\"name\":\"lab\"", "\"name\":\"lab\",\"name\":\"lab\"", "line 2: duplicate object key*" },
	{ "\"name\":\"gpu.1\"", "\"name\":\"lab\"", "line 5: providers[1]: provider \"lab\" is declared twice" },
	{ "\"anthropic\"", "\"cohere\"", "line 2: providers[0].dialect: must be anthropic, openai or scripted" },
	{ "\"anthropic\"", "\"scripted\"", "line 3: providers[0].base_url: a scripted provider has none" },
	{ "http://127.0.0.1:9099", "ftp://x", "line 3: providers[0].base_url: must begin with http:// or https://" },
	{ "http://127.0.0.1:9099", "http://", "line 3: providers[0].base_url: has no host" },
	{ "http://127.0.0.1:9099", "http://:80/", "line 3: providers[0].base_url: has no host" },
	{ "http://127.0.0.1:9099", "http://u:p@h/", "line 3: providers[0].base_url: must be scheme, host*" },
	{ "http://127.0.0.1:9099", "http://h/?a=1", "line 3: providers[0].base_url: must be scheme, host*" },
	{ "http://127.0.0.1:9099", "http://h/a b", "line 3: providers[0].base_url: must not hold spaces" },
	{ "http://127.0.0.1:9099", "http://h/\\r\\nX: y", "line 3: providers[0].base_url: must not hold spaces" },
	{ "\"sk-1\"", "\"\"", "line 4: providers[0].api_key: must be 1 to 500 bytes long" },
	{ "\"sk-1\"", "\"a\\nb\"", "line 4: providers[0].api_key: may hold visible ASCII only" },
	{ "\"sk-1\"", "{\"file\":\"/k\"}", "line 4: providers[0].api_key: must be a string" },
	{ "\"id\":\"lab-1\"", "\"id\":\"lab 1\"", "line 7: models[0].id: may hold*" },
	{ "\"id\":\"lab-1\"", "\"id\":\"roost-scripted\"", "line 7: models[0].id: \"roost-scripted\" is built in" },
	{ "\"Lab 1 \\u00e4\"", "\"a\\tb\"", "line 7: models[0].display_name: must not hold control characters" },
	{ "\"upstream\":\"fake-1\"", "\"upstream\":\"\"", "line 8: models[0].routes[0].upstream: must be 1 to 127 bytes long" },
	{ "{\"provider\":\"gpu.1\",\"upstream\":\"org/model:7b\"}", "{\"provider\":\"lab\",\"upstream\":\"fake-1\"}", "line 9: models[0].routes[1]: repeats route 0" },
	{ "{\"provider\":\"gpu.1\",\"upstream\":\"org/model:7b\"}", "7", "line 9: models[0].routes[1]: must be an object" },
	{ "200000", "0", "line 10: models[0].context_window: must be a whole number from 1 to 100000000" },
	{ "200000", "2e5", "line 10: models[0].context_window: must be a whole number*" },
	{ "200000", "\"200000\"", "line 10: models[0].context_window: must be a whole number*" },
	{ "8192", "200001", "line 11: models[0].max_output_tokens: must be a whole number from 1 to 200000" },
	{ "8192", "-1", "line 11: models[0].max_output_tokens: must be a whole number*" },
	{ "\"USD\"", "\"usd\"", "line 12: models[0].price.currency: must be three capital letters*" },
	{ "\"15\"", "15", "line 13: models[0].price.per_million_tokens.output: must be a decimal number in a string*" },
	{ "\"15\"", "\"1.\"", "line 13: models[0].price.per_million_tokens.output: must be a decimal number*" },
	{ "\"15\"", "\"-1\"", "line 13: models[0].price.per_million_tokens.output: must be a decimal number*" },
	{ "\"15\"", "\"1e3\"", "line 13: models[0].price.per_million_tokens.output: must be a decimal number*" },
	{ "\"15\"", "\"0.1234\"", "line 13: models[0].price.per_million_tokens.output: must be a decimal number*" },
	{ "\"cache_write_1h\"", "\"cache_write_2h\"", "line 14: models[0].price.per_million_tokens: unknown field \"cache_write_2h\"" },
	{ "\"input\":\"3\",", "", "line 13: models[0].price.per_million_tokens: field \"input\" is missing" },
	{ "\"low\"", "\"little\"", "line 15: models[0].capabilities.efforts: \"little\" is none that there is" },
	{ "\"low\"", "\"high\"", "line 15: models[0].capabilities.efforts: names \"high\" twice" },
	{ "[\"low\", \"high\"]", "\"low\"", "line 15: models[0].capabilities.efforts: must be an array" },
	{ "\"fast\":false", "\"fast\":1", "line 15: models[0].capabilities.fast: must be true or false" },
	{ "\"fast\":false", "\"geos\":[\"eu\"]", "line 15: models[0].capabilities.geos: \"eu\" is none that there is" },
	{ "\"fast\":false", "\"speed\":true", "line 15: models[0].capabilities: unknown field \"speed\"" },
	{ "\"models\":[", "\"models\":[7,", "line 6: models[0]: must be an object" },
	{ "\"models\":[", "\"modles\":[", "line 6: unknown field \"modles\"" },
	{ "\"routes\":[{\"provider\":\"lab\",\"upstream\":\"fake-1\"},", "\"routes\":[", NULL },
	{ "{\"providers\":[", "{\"providers\":{},\"x\":[", "line 1: unknown field \"x\"" },
	{ "\"context_window\":200000,", "\"context_window\":200000", "line 11: '}' expected near*" },
};

static void
test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		AUTO(buf) struct buf text = { 0 };
		const char *at = strstr(good, bad[i].from);
		struct err e = ERR_INIT;
		struct catfile f;
		size_t n;
		int rc;

		assert_non_null(at);
		buf_put(&text, good, (size_t)(at - good));
		buf_str(&text, bad[i].to);
		buf_str(&text, at + strlen(bad[i].from));
		rc = catfile_parse(text.data, text.len, &f, &e);
		if (!bad[i].complaint) {
			assert_int_equal(rc, 0);
			catfile_free(&f);
			continue;
		}
		n = strlen(bad[i].complaint);
		assert_int_equal(rc, -1);
		assert_int_equal(e.kind, EK_INVALID);
		if (bad[i].complaint[n - 1] == '*' ? strncmp(e.pub, bad[i].complaint, n - 1) != 0 : strcmp(e.pub, bad[i].complaint) != 0)
			fail_msg("%s -> %s:\n got %s\nwant %s", bad[i].from, bad[i].to, e.pub, bad[i].complaint);
	}
}

static void
test_whole_files(void **state)
{
	static const struct { const char *text, *complaint; } cases[] = {
		{ "", "line 1: *" }, { "[]", "line 1: must be an object" }, { "{}", "line 1: neither \"providers\" nor \"models\"" },
		{ "\n\n{\"models\":7}", "line 3: models: must be an array" }, { "{\"models\":[]} x", "line 1: end of file expected*" },
		{ "{\"models\":[]}", NULL }, { "{\"providers\":[{\"name\":\"s\",\"dialect\":\"scripted\"}]}", NULL },
		{ "{\"providers\":[{\"name\":\"s\",\"dialect\":\"openai\",\"base_url\":\"http://h\",\"api_key\":null}]}", NULL },
		{ "{\"providers\":[{\"name\":\"s\",\"dialect\":\"openai\"}]}", "line 1: providers[0]: field \"base_url\" is missing" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err e = ERR_INIT;
		struct catfile f;
		int rc = catfile_parse(cases[i].text, strlen(cases[i].text), &f, &e);
		size_t n = cases[i].complaint ? strlen(cases[i].complaint) : 0;

		if (!cases[i].complaint) {
			assert_int_equal(rc, 0);
			catfile_free(&f);
		} else if (cases[i].complaint[n - 1] == '*' ? strncmp(e.pub, cases[i].complaint, n - 1) != 0 : strcmp(e.pub, cases[i].complaint) != 0) {
			fail_msg("%s: got %s", cases[i].text, e.pub);
		}
	}
}

/* Any prefix of the file is an error, never a crash. */
static void
test_prefixes(void **state)
{
	(void)state;
	for (size_t n = 0; n + 2 < sizeof(good); n++) {
		struct err e = ERR_INIT;
		struct catfile f;
		char *copy = malloc(n ? n : 1);

		memcpy(copy, good, n);
		assert_int_equal(catfile_parse(copy, n, &f, &e), -1);
		assert_int_equal(strncmp(e.pub, "line ", 5), 0);
		free(copy);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good), cmocka_unit_test(test_asked), cmocka_unit_test(test_bad),
		cmocka_unit_test(test_whole_files), cmocka_unit_test(test_prefixes),
	};

	return cmocka_run_group_tests_name("catalogue file", tests, NULL, NULL);
}
