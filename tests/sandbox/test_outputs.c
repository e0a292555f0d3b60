/* test_outputs: what a session leaves in /mnt/session/outputs is handed over once, whatever else lies there, and survives hands. */
#include <signal.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drive.h"
#include "tests.h"

#define S "sesn_outputs"
#define K "sesn_outputs_kept"
#define OUT "/mnt/session/outputs"

static json_t *
pause_of(const char *session)
{
	return ask(shared, req_of("pause", session, 1));
}

static const char *
str(const json_t *doc, const char *key)
{
	const char *s = json_string_value(json_object_get(doc, key));

	return s ? s : "";
}

static const json_t *
at(const json_t *reply, const char *path)
{
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(reply, "outputs"), i, v)
		if (strcmp(str(v, "path"), path) == 0)
			return v;
	return NULL;
}

static size_t
count(const json_t *reply)
{
	return json_array_size(json_object_get(reply, "outputs"));
}

static bool
holds(const json_t *output, const char *text)
{
	size_t len = 0;
	char *data = blob_get(&H, str(output, "blob"), &len);
	bool ok = data && len == strlen(text) && memcmp(data, text, len) == 0;

	free(data);
	return ok;
}

/* Say that everything in this reply (taken) is published. */
static void
published(json_t *reply, bool keep)
{
	json_t *blobs = json_array(), *v;
	size_t i;

	json_array_foreach(json_object_get(reply, "outputs"), i, v)
		json_array_append(blobs, json_object_get(v, "blob"));
	json_decref(ask(shared, json_pack("{s:s,s:s,s:o,s:b}", "op", "published", "session", str(reply, "session"), "blobs", blobs, "keep", keep)));
	json_decref(reply);
}

static void
nothing(void)
{
	json_t *r = pause_of("sesn_none");

	check(json_is_true(json_object_get(r, "ok")) && !json_object_get(r, "outputs"), "a session without sandbox has no outputs");
	json_decref(r);
	(void)sh(S, "true");
	r = pause_of(S);
	check(json_is_true(json_object_get(r, "ok")) && !json_object_get(r, "outputs"), "nor has an empty directory");
	json_decref(r);
}

static void
ordinary(void)
{
	json_t *r, *again;

	(void)sh(S, "cd " OUT "; printf report > report.md; mkdir -p a/b; printf deep > a/b/x.csv; : > empty; ln report.md hard.md");
	r = pause_of(S);
	check(count(r) == 4 && holds(at(r, "report.md"), "report") && holds(at(r, "a/b/x.csv"), "deep") && holds(at(r, "empty"), "") &&
	    holds(at(r, "hard.md"), "report"), "files are copied, from subfolders too");
	check(strcmp(str(at(r, "a/b/x.csv"), "name"), "x.csv") == 0 && strcmp(str(at(r, "report.md"), "sha256"),
	    "845e5a7d74bb1e90b2de96faf61e34cb2eb8c2aa0d2d1b3ea3a3e49e69f9af20") != 0 && strlen(str(at(r, "report.md"), "sha256")) == 64,
	    "with name and digest");
	again = pause_of(S);
	check(json_equal(r, again) || (count(again) == 4 && strcmp(str(at(again, "empty"), "blob"), str(at(r, "empty"), "blob")) == 0),
	    "what is not confirmed is offered again, the same copy");
	json_decref(again);
	published(r, true);
	r = pause_of(S);
	check(count(r) == 0, "what is confirmed is not");
	json_decref(r);
}

static void
changed(void)
{
	json_t *r;

	(void)sh(S, "cd " OUT "; printf other > report.md; printf deep > a/b/x.csv; touch empty; rm hard.md");
	r = pause_of(S);
	check(count(r) == 1 && holds(at(r, "report.md"), "other"), "a changed content is a new output, the same one is not");
	published(r, true);
	(void)sh(S, "cd " OUT "; mv report.md moved.md; chmod 000 a/b/x.csv");
	r = pause_of(S);
	check(count(r) == 1 && holds(at(r, "moved.md"), "other"), "a moved file is one under its new name");
	published(r, true);
	(void)sh(S, "cd " OUT "; printf secret > locked; chmod 000 locked; mkdir shut; printf in > shut/in; chmod 000 shut");
	r = pause_of(S);
	check(count(r) == 2 && holds(at(r, "locked"), "secret") && holds(at(r, "shut/in"), "in"), "locked files are the user's, too");
	published(r, true);
	(void)sh(S, "printf one > " OUT "/twice");
	json_decref(pause_of(S));
	(void)sh(S, "printf two > " OUT "/twice");
	r = pause_of(S);
	check(count(r) == 2, "a content that changes before it is confirmed is there twice");
	published(r, true);
}

static void
hostile(void)
{
	json_t *r;
	char path[400];

	(void)sh(S, "cd " OUT "; rm -rf *; ln -s /etc/passwd link; ln -s /etc dirlink; ln -s /proc/self/environ env; mkfifo fifo; "
	    "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('sock')\"; truncate -s 500G sparse; "
	    "printf ok > \"$(printf 'new\\nline \\377\\\\')\"; printf ok > '<a>:\"b\"|c?*'; "
	    "printf ok > \"$(printf 'cv\\342\\200\\256fdp.exe')\"; printf ok > \"$(printf '\\330\\263\\342\\200\\214\\330\\250')\"; d=x; for i in $(seq 50); do mkdir -p $d; d=$d/x; done; "
	    "printf deep > $(printf 'x/%.0s' $(seq 40))f; ln -s ../../../../../../etc/shadow x/up; printf fine > fine");
	r = pause_of(S);
	check(at(r, "fine") && !at(r, "link") && !at(r, "dirlink") && !at(r, "env") && !at(r, "fifo") && !at(r, "sock") && !at(r, "x/up"),
	    "links, pipes and sockets are no outputs");
	check(!at(r, "sparse"), "nor is a file of 500 GB");
	check(holds(at(r, "new\\x0aline \\xff\\x5c"), "ok") && strcmp(str(at(r, "new\\x0aline \\xff\\x5c"), "name"), "new_line __") == 0,
	    "any name has a path and a name that can be shown");
	check(strcmp(str(at(r, "<a>:\"b\"|c?*"), "name"), "_a___b__c__") == 0, "without what a file's name may not have");
	check(strcmp(str(at(r, "cv\\xe2\\x80\\xaefdp.exe"), "name"), "cv___fdp.exe") == 0 && at(r, "\xd8\xb3\xe2\x80\x8c\xd8\xa8"),
	    "nor what hides its end; a script's own marks stay");
	check(count(r) == 5, "and folders end somewhere");
	published(r, true);
	has_text(sh(S, "true"), false, "in /mnt/session/outputs could not be handed to the user: ", "the next result tells what was left out");
	is_text(sh(S, "true"), false, "(no output)", "once");
	(void)sh(S, "cd " OUT "; rm -rf *; seq 1 3000 | split -l 1 -a 4 - f");
	r = pause_of(S);
	check(json_is_true(json_object_get(r, "more")) || count(r) > 900, "of too many files some are taken");
	check(count(r) < 1000, "but not all");
	published(r, false);
	has_text(sh(S, "echo x; chmod -R u+rwx " OUT "; rm -rf " OUT "/*"), false, "there are too many of them", "which is told");
	snprintf(path, sizeof path, "ls %s/tmp | wc -l | grep -qx 0", H.blobs);
	check(system(path) == 0, "nothing half-written is left in the store");
}

/* Is a process that collects in the group with the limits of a sandbox? */
static bool
collects_in_group(void *ctx)
{
	char cmd[300];

	(void)ctx;
	snprintf(cmd, sizeof cmd, "for p in $(pgrep -x -P %d roost-outputs); do grep -q '/roost-%s/collect$' /proc/$p/cgroup && exit 0; done; exit 1",
	    (int)H.pid, H.instance);
	return system(cmd) == 0;
}

/* What reading costs is bounded like what a sandbox does: a file of nothing takes as long to sum up as any other. */
static void
bounded(void)
{
	bool seen = false;

	/* who looks too late to see it at work gives it more to do */
	for (int64_t end = now_ms() + SOON_MS; !seen && now_ms() < end;) {
		struct pollfd answer = { .fd = shared, .events = POLLIN };
		int n;

		(void)sh("sesn_outputs_slow", "cd " OUT "; truncate -s 480M zeros; echo $RANDOM >> zeros");
		n = send_req(shared, req_of("pause", "sesn_outputs_slow", 1));
		do
			seen = collects_in_group(NULL);
		while (!seen && poll(&answer, 1, 0) == 0);
		published(wait_reply(shared, n), false);
	}
	check(seen, "what collects has the limits of a sandbox");
	json_decref(ask(shared, req_of("destroy", "sesn_outputs_slow", 1)));
}

/* A file of nothing takes no room in the store. */
static void
sparse(void)
{
	char path[400];
	struct stat st;
	json_t *r;

	(void)sh("sesn_outputs_sparse", "cd " OUT "; truncate -s 200M s; printf end >> s; printf begin | dd of=s conv=notrunc 2>/dev/null");
	r = pause_of("sesn_outputs_sparse");
	snprintf(path, sizeof path, "%s/%.2s/%s", H.blobs, str(at(r, "s"), "blob"), str(at(r, "s"), "blob"));
	check(count(r) == 1 && stat(path, &st) == 0 && st.st_size == (200 << 20) + 3 && st.st_blocks < 4096, "holes stay holes");
	snprintf(path, sizeof path, "{ head -c 5 %s/%.2s/%s; tail -c 3 %s/%.2s/%s; } | grep -q '^beginend$'", H.blobs, str(at(r, "s"), "blob"),
	    str(at(r, "s"), "blob"), H.blobs, str(at(r, "s"), "blob"), str(at(r, "s"), "blob"));
	check(system(path) == 0, "and the rest is where it was");
	published(r, false);
	json_decref(ask(shared, req_of("destroy", "sesn_outputs_sparse", 1)));
}

/* While the copy is made the next call may change everything. */
static void
racing(void)
{
	json_t *r, *c;
	int n, i, bad = 0;
	const char *call;

	json_decref(ask(shared, req_of("destroy", S, 1)));
	(void)sh(S, "true");
	for (i = 0; i < 20; i++) {
		(void)sh(S, "cd " OUT "; rm -rf d; mkdir d; for i in $(seq 30); do echo \"inside $i\" > d/$i; done");
		n = send_req(shared, req_of("pause", S, 1));
		call = fresh_call();
		c = ask(shared, req_call(S, 1, call, "bash", json_pack("{s:s}", "command", "cd " OUT
		    "; mv d e; ln -s /etc d; for i in $(seq 30); do ln -sf /etc/passwd e/$i; done; rm -rf d e")));
		json_decref(c);
		r = wait_reply(shared, n);
		for (size_t k = 0; k < count(r); k++) {
			size_t len = 0;
			char *data = blob_get(&H, str(json_array_get(json_object_get(r, "outputs"), k), "blob"), &len);

			bad += !data || strncmp(data, "inside ", 7) != 0;
			free(data);
		}
		published(r, false);
	}
	check(bad == 0, "a race with links takes nothing from outside");
}

static void
surviving(void)
{
	json_t *r, *first;

	(void)sh(K, "printf kept > " OUT "/kept");
	first = pause_of(K);
	check(count(first) == 1, "an output");
	hands_stop(&H, SIGKILL);
	check(hands_start(&H), "roost-hands comes back after a kill");
	shared_dial();
	r = ask(shared, json_pack("{s:s}", "op", "outputs"));
	check(strcmp(str(r, "session"), K) == 0 && count(r) == 1 && strcmp(str(at(r, "kept"), "blob"), str(at(first, "kept"), "blob")) == 0,
	    "and offers what was not confirmed, the same copy");
	json_decref(first);
	published(r, true);
	r = ask(shared, json_pack("{s:s}", "op", "outputs"));
	check(count(r) == 0, "until it is");
	json_decref(r);
	hands_stop(&H, SIGKILL);
	check(hands_start(&H), "roost-hands comes back once more");
	shared_dial();
	r = ask(shared, json_pack("{s:s}", "op", "outputs"));
	check(count(r) == 0, "also after another kill");
	json_decref(r);
}

/* A sandbox that is destroyed while it is being collected from (its session was archived at once) still gives what it has. */
static void
destroyed(void)
{
	json_t *r;
	int n;

	(void)sh("sesn_outputs_late", "cd " OUT "; for i in $(seq 20); do head -c 2M /dev/urandom > f$i; done");
	n = send_req(shared, req_of("pause", "sesn_outputs_late", 1));
	r = ask(shared, req_of("destroy", "sesn_outputs_late", 2));
	check(json_is_true(json_object_get(r, "ok")), "destroyed while it is being collected from");
	json_decref(r);
	r = wait_reply(shared, n);
	check(count(r) == 20, "its outputs are all there");
	published(r, false);
	is_text(sh("sesn_outputs_late2", "true"), false, "(no output)", "and others are served");
}

/* A turn that ends while the outputs of the one before are still being copied: its own are not forgotten. */
static void
overtaken(void)
{
	json_t *r;
	int first, second;

	(void)sh("sesn_outputs_fast", "cd " OUT "; for i in $(seq 20); do head -c 2M /dev/urandom > f$i; done");
	first = send_req(shared, req_of("pause", "sesn_outputs_fast", 1));
	(void)sh("sesn_outputs_fast", "echo late > " OUT "/late");
	second = send_req(shared, req_of("pause", "sesn_outputs_fast", 1));
	json_decref(wait_reply(shared, first));
	r = wait_reply(shared, second);
	check(at(r, "late") && count(r) == 21, "what a turn wrote while the one before was being collected is collected");
	published(r, false);
	json_decref(ask(shared, req_of("destroy", "sesn_outputs_fast", 1)));
}

/* A copy that was published by somebody we do not know of, and deleted since, is not offered again. */
static void
vanished(void)
{
	char path[400];
	json_t *r, *first;

	(void)sh("sesn_outputs_gone", "cd " OUT "; echo a > a; echo b > b");
	first = pause_of("sesn_outputs_gone");
	snprintf(path, sizeof path, "%s/%.2s/%s", H.blobs, str(at(first, "a"), "blob"), str(at(first, "a"), "blob"));
	check(count(first) == 2 && unlink(path) == 0, "two outputs, and one copy is removed from the store");
	r = pause_of("sesn_outputs_gone");
	check(count(r) == 1 && at(r, "b"), "it is not offered again");
	json_decref(first);
	published(r, true);
}

/* The disk's reserve is not for outputs. */
static void
full(void)
{
	struct hands h;
	json_t *r;
	int fd;

	hands_prepare(&h, "full");
	snprintf(h.extra, sizeof h.extra, "sandboxes_max = 1\nuid_base = 2000000000\nblob_spare_mb = 1073741824\n");
	hands_must_start(&h, "a host whose disk is full");
	fd = dial(&h);
	json_decref(ask(fd, req_call("sesn_full", 1, "sevt_full", "bash", json_pack("{s:s}", "command", "head -c 1M /dev/urandom > " OUT "/big"))));
	r = ask(fd, req_of("pause", "sesn_full", 1));
	check(json_is_true(json_object_get(r, "ok")) && count(r) == 0, "what would take the disk's reserve is not copied");
	json_decref(r);
	r = ask(fd, req_call("sesn_full", 1, "sevt_told", "bash", json_pack("{s:s}", "command", "true")));
	check(strstr(str(r, "content"), "could not be stored") != NULL, "and the model is told");
	json_decref(r);
	close(fd);
	hands_remove(&h);
}

void
test_outputs(void)
{
	nothing();
	ordinary();
	changed();
	hostile();
	bounded();
	sparse();
	racing();
	destroyed();
	overtaken();
	vanished();
	full();
	surviving();
}
