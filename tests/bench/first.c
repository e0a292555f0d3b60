/*
 * Time to the first token, in interleaved rounds: from a request to the provider itself, over plain HTTP, to its first text delta; and
 * from the POST of a message to the first delta on the session's stream, for an agent without tools and for one whose sandbox is made
 * meanwhile. Every turn is the first of its session: nothing is warm but connections.
 *
 * The coupled mode is a simulation, of this bench only: a system that provisions before it asks. Its environment needs BUILD_S seconds to
 * build, played by a first turn whose only act is a command that takes so long in the session's own sandbox; then the question is asked,
 * and its first token counts from the beginning of the build. Ours is asked while such a build goes on in a session beside it.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drive.h"
#include "parts.h"
#include "relay.h"
#include "xalloc.h"

#define ROUNDS 300		/* so that p99 is not the slowest one */
#define COUPLED 5
#define BUILD_S 2

static struct sockaddr_in provider;

static double
direct(void)
{
	static const char body[] = "{\"model\":\"fake-1\",\"max_tokens\":1000,\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hello there\"}]}";
	AUTO(str) char *request = xasprintf("POST /v1/messages HTTP/1.1\r\nhost: provider\r\nx-api-key: sk-test-anthropic-dialect\r\n"
	    "anthropic-version: 2023-06-01\r\ncontent-type: application/json\r\ncontent-length: %zu\r\nconnection: close\r\n\r\n%s", sizeof body - 1, body);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[65536];
	size_t n = 0;
	double t0, took = 0;

	if (connect(fd, (struct sockaddr *)&provider, sizeof provider) < 0)
		die("the provider does not answer");
	t0 = now_us();
	if (write(fd, request, strlen(request)) != (ssize_t)strlen(request))
		die("the provider takes no request");
	while (n < sizeof text - 1) {
		ssize_t got = read(fd, text + n, sizeof text - 1 - n);

		if (got <= 0)
			break;
		n += (size_t)got;
		text[n] = '\0';
		if (took == 0 && strstr(text, "text_delta"))
			took = now_us() - t0;
	}
	close(fd);
	if (took == 0)
		die("no token of the provider: %.300s", n ? text : "nothing");
	return took;
}

/* The first turn of a new session of this agent. */
static double
ours(const char *of)
{
	struct drive d;
	double took;

	drive_open(&d, of, 0, "?event_deltas[]=agent.message");
	drive_send(&d, "hello there");
	took = drive_until(&d, "event: event_delta") - d.sent;
	drive_wait(&d);
	drive_close(&d);
	return took;
}

static void
build_begin(struct drive *d)
{
	AUTO(str) char *command = xasprintf("bash {\\\"command\\\":\\\"sleep %d\\\"}", BUILD_S);

	drive_send(d, command);
}

static double
coupled(const char *of)
{
	struct drive d;
	double t0, took;

	drive_open(&d, of, 0, "?event_deltas[]=agent.message");
	build_begin(&d);
	t0 = d.sent;
	drive_wait(&d);
	drive_send(&d, "hello there");
	took = drive_until(&d, "event: event_delta") - t0;
	drive_wait(&d);
	drive_close(&d);
	return took;
}

/* Asked while an environment is being built beside it. */
static void
decoupled(const char *of, struct samples *each)
{
	struct drive building;

	drive_open(&building, of, 0, NULL);
	build_begin(&building);
	for (int i = 0; i < 4; i++)
		samples_add(each, ours(of));
	drive_wait(&building);
	drive_close(&building);
}

static void
over(const char *what, struct samples *with, struct samples *without)
{
	double p50 = samples_at(with, 0.5) - samples_at(without, 0.5), p99 = samples_at(with, 0.99) - samples_at(without, 0.99);
	AUTO(str) char *amount = xasprintf("%+.2f ms p50, %+.2f ms p99", p50 / 1000, p99 / 1000);

	judged(p50 <= 3000 && p99 <= 10000, what, samples_at(with, 0.5), samples_at(with, 0.99), amount, "over the provider itself",
	    "≤ +3 ms p50, ≤ +10 ms p99");
}

void
first(const char *url, const char *model)
{
	AUTO(str) char *plain = agent_body(model, false), *tools = agent_body(model, true);
	struct samples floor = { 0 }, machine = { 0 }, bare = { 0 }, boxed = { 0 }, apart = { 0 }, built = { 0 };
	struct relay relay;
	char of[64], with[64], host[64];
	int port;

	if (sscanf(url, "http://%63[^:]:%d", host, &port) != 2)
		die("not a provider's URL: %s", url);
	provider = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	create("/v1/agents", plain, of);
	create("/v1/agents", tools, with);
	relay_open(&relay);
	for (int i = 0; i < ROUNDS + 3; i++) {	/* the first open connections */
		double d = direct(), b = ours(of), s = ours(with);

		if (i < 3)
			continue;
		samples_add(&floor, d);
		samples_add(&bare, b);
		samples_add(&boxed, s);
		if (boxed.n % RELAY_RUNS == 0)
			relay_runs(&relay, &machine);
	}
	relay_close(&relay);
	for (int i = 0; i < COUPLED; i++) {
		samples_add(&built, coupled(with));
		decoupled(with, &apart);
	}
	row("first token: the provider itself (floor)", samples_at(&floor, 0.5), samples_at(&floor, 0.99), "", "", "");
	row(RELAY_ROW, samples_at(&machine, 0.5), samples_at(&machine, 0.99), "", "", "");
	over("first token of a session without a sandbox", &bare, &floor);
	over("first token of a session with one", &boxed, &floor);
	AUTO(str) char *after = xasprintf("an environment of %d s", BUILD_S);
	AUTO(str) char *ratio = xasprintf("p50 %.3f ×, p95 %.3f × the coupled mode", samples_at(&apart, 0.5) / samples_at(&built, 0.5),
	    samples_at(&apart, 0.95) / samples_at(&built, 0.95));
	row("first token, coupled mode (simulated: provision, then ask)", samples_at(&built, 0.5), samples_at(&built, 0.99), after, "", "");
	judged(samples_at(&apart, 0.5) <= 0.4 * samples_at(&built, 0.5) && samples_at(&apart, 0.95) <= 0.1 * samples_at(&built, 0.95),
	    "first token while the environment is built", samples_at(&apart, 0.5), samples_at(&apart, 0.99), after, ratio, "≤ 0.4 × p50, ≤ 0.1 × p95");
}
