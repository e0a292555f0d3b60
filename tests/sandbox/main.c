/*
 * The sandbox tests: starts a roost-hands of its own, as root, and asserts from inside. Usage: main OUT [group...|bench]; run by
 * tests/sandbox/run from the top of the checkout.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drive.h"
#include "tests.h"

static const struct { const char *name; void (*run)(void); } groups[] = {
	{ "inside", test_inside }, { "shell", test_shell }, { "files", test_files }, { "limits", test_limits },
	{ "mounts", test_mounts },
	{ "outputs", test_outputs }, { "protocol", test_protocol }, { "life", test_life }, { "bench", bench },
};

static bool
wanted(const char *name, int argc, char **argv)
{
	int i;

	for (i = 2; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc <= 2 && strcmp(name, "bench") != 0;
}

int
main(int argc, char **argv)
{
	const char *strict = getenv("ROOST_NO_SKIP");
	size_t i;

	if (argc > 1)
		out_dir = argv[1];
	if (geteuid() != 0) {
		check(!(strict && *strict == '1'), "sandbox tests # SKIP they must run as root");
		return summary();
	}
	signal(SIGPIPE, SIG_IGN);
	hands_prepare(&H, "a");
	hands_must_start(&H, "roost-hands starts on this host");
	if (H.pid == 0) {
		hands_remove(&H);
		return summary();
	}
	shared_dial();
	for (i = 0; i < sizeof groups / sizeof *groups; i++)
		if (wanted(groups[i].name, argc, argv)) {
			int64_t t = now_ms();

			groups[i].run();
			printf("# %s took %lld ms\n", groups[i].name, (long long)(now_ms() - t));
		}
	hands_remove(&H);
	return summary();
}
