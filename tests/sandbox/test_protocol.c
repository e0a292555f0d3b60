/* test_protocol: the worker's side of the agreement: epochs, attaching, acknowledging, cancelling, parallel calls, bad frames. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drive.h"
#include "tests.h"

#define INTERRUPTED "Tool execution was interrupted before completion. Please retry."

static const char *
str(json_t *doc, const char *key)
{
	const char *s = json_string_value(json_object_get(doc, key));

	return s ? s : "";
}

static const char *
kind_of(json_t *doc)
{
	return str(json_object_get(doc, "error"), "kind");
}

static json_t *
bash(const char *command)
{
	return json_pack("{s:s}", "command", command);
}

static json_t *
about(const char *op, const char *session, int epoch, const char *call)
{
	json_t *r = req_of(op, session, epoch);

	json_object_set_new(r, "call", json_string(call));
	return r;
}

static void
provision(void)
{
	json_t *r = ask(shared, req_of("provision", "sesn_p", 1));

	check(json_is_true(json_object_get(r, "ok")) && json_is_true(json_object_get(r, "fresh")), "provision makes a sandbox");
	json_decref(r);
	r = ask(shared, req_of("provision", "sesn_p", 1));
	check(json_is_true(json_object_get(r, "ok")) && json_is_false(json_object_get(r, "fresh")), "provision again finds it");
	json_decref(r);
	r = ask(shared, json_pack("{s:s}", "op", "status"));
	check(json_integer_value(json_object_get(r, "sandboxes")) >= 1 && str(r, "backend")[0], "status: %s", str(r, "backend"));
	json_decref(r);
}

static void
results(void)
{
	json_t *r, *again;
	int other, first, second;

	first = send_req(shared, req_call("sesn_p", 1, "sevt_once", "bash",
	    bash("echo x >> /workspace/once; sleep 0.3; cat /workspace/once")));
	other = dial(&H);
	json_decref(ask(shared, json_pack("{s:s}", "op", "status")));	/* it has been taken */
	second = send_req(other, about("result", "sesn_p", 1, "sevt_once"));
	r = wait_reply(shared, first);
	again = wait_reply(other, second);
	check(strcmp(str(r, "content"), "x\n") == 0 && strcmp(str(again, "content"), "x\n") == 0 && strcmp(str(again, "state"),
	    "done") == 0,
	    "result attaches to a running call");
	json_decref(r);
	json_decref(again);
	r = ask(shared, req_call("sesn_p", 1, "sevt_once", "bash", bash("echo x >> /workspace/once; cat /workspace/once")));
	check(strcmp(str(r, "content"), "x\n") == 0, "the same call id does not run twice");
	json_decref(r);
	close(other);
	other = dial(&H);
	r = ask(other, about("result", "sesn_p", 1, "sevt_once"));
	check(strcmp(str(r, "state"), "done") == 0 && strcmp(str(r, "call"), "sevt_once") == 0, "a result is kept until acknowledged");
	json_decref(r);
	json_decref(ask(other, about("ack", "sesn_p", 1, "sevt_once")));
	r = ask(other, about("result", "sesn_p", 1, "sevt_once"));
	check(strcmp(str(r, "state"), "unknown") == 0, "and unknown afterwards");
	json_decref(r);
	send_req(other, req_call("sesn_p", 1, "sevt_gone", "bash", bash("sleep 0.3; echo survived")));
	r = ask(other, json_pack("{s:s}", "op", "status"));	/* it has been taken */
	json_decref(r);
	close(other);
	r = ask(shared, about("result", "sesn_p", 1, "sevt_gone"));
	check(strcmp(str(r, "content"), "survived\n") == 0, "a call goes on when its worker is gone");
	json_decref(r);
}

static void
cancelling(void)
{
	json_t *r;
	int n, queued;
	int64_t t = now_ms();

	n = send_req(shared, req_call("sesn_p", 1, "sevt_c1", "bash", bash("echo begun > /workspace/begun; sleep 60")));
	queued = send_req(shared, req_call("sesn_p", 1, "sevt_c2", "bash", bash("echo never > /workspace/never")));
	r = ask(shared, about("cancel", "sesn_p", 1, "sevt_c2"));
	check(json_is_true(json_object_get(r, "ok")), "cancel answers ok");
	json_decref(r);
	r = wait_reply(shared, queued);
	check(json_is_true(json_object_get(r, "is_error")) && strcmp(str(r, "content"), INTERRUPTED) == 0, "a waiting call is cancelled");
	json_decref(r);
	json_decref(ask(shared, about("cancel", "sesn_p", 1, "sevt_c1")));
	r = wait_reply(shared, n);
	check(json_is_true(json_object_get(r, "is_error")) && strcmp(str(r, "content"), INTERRUPTED) == 0,
	    "a running call is cancelled with the literal text");
	check(now_ms() - t < 30000, "long before its own end");
	json_decref(r);
	r = ask(shared, about("cancel", "sesn_p", 1, "sevt_nosuch"));
	check(json_is_true(json_object_get(r, "ok")), "cancelling what is not there is no error");
	json_decref(r);
	is_text(sh("sesn_p", "ls /workspace/never 2>/dev/null; pgrep -c sleep"), true, "0\n", "the cancelled call left no process");
}

static void
parallel(void)
{
	json_t *r;
	int slow, queued, quick;

	slow = send_req(shared, req_call("sesn_p", 1, "sevt_s", "bash",
	    bash("until [ -e /workspace/go ]; do sleep 0.01; done; echo slow")));
	queued = send_req(shared, req_call("sesn_p", 1, "sevt_q", "bash", bash("echo queued")));
	quick = send_req(shared, req_call("sesn_p", 1, "sevt_w", "write", json_pack("{s:s,s:s}", "file_path", "go", "content", "")));
	r = wait_reply(shared, quick);
	check(strcmp(str(r, "content"), "wrote 0 bytes to go") == 0, "a file tool runs beside a command");
	json_decref(r);
	r = wait_reply(shared, slow);
	check(strcmp(str(r, "content"), "slow\n") == 0, "the command saw what it did");
	json_decref(r);
	r = wait_reply(shared, queued);
	check(strcmp(str(r, "content"), "queued\n") == 0, "commands run one after the other");
	json_decref(r);
}

/* 100 calls at once: more than run at a time, none lost. */
static void
many(void)
{
	int n[100], i, good = 0;
	char id[32];

	for (i = 0; i < 100; i++) {
		snprintf(id, sizeof id, "sevt_many%d", i);
		n[i] = send_req(shared, req_call("sesn_p", 1, id, i % 10 ? "read" : "bash",
		    i % 10 ? json_pack("{s:s}", "file_path", "/etc/hostname") : bash("echo sandbox")));
	}
	for (i = 0; i < 100; i++) {
		json_t *r = wait_reply(shared, n[i]);

		good += strstr(str(r, "content"), "sandbox") != NULL;
		json_decref(r);
		snprintf(id, sizeof id, "sevt_many%d", i);
		json_decref(ask(shared, about("ack", "sesn_p", 1, id)));
	}
	check(good == 100, "100 parallel calls all give their result");
}

static void
fencing(void)
{
	json_t *r;
	int old, kept;

	json_decref(ask(shared, req_of("provision", "sesn_f", 5)));
	r = ask(shared, req_call("sesn_f", 4, "sevt_low", "bash", bash("echo low")));
	check(strcmp(kind_of(r), "fenced") == 0, "a lower epoch is refused");
	json_decref(r);
	r = ask(shared, req_of("destroy", "sesn_f", 4));
	check(strcmp(kind_of(r), "fenced") == 0, "also to destroy");
	json_decref(r);
	kept = send_req(shared, req_call("sesn_f", 5, "sevt_kept", "bash", bash("sleep 0.5; echo kept")));
	r = ask(shared, about("result", "sesn_f", 6, "sevt_kept"));
	check(strcmp(str(r, "content"), "kept\n") == 0, "a higher epoch can take a running call over");
	json_decref(r);
	json_decref(wait_reply(shared, kept));
	r = ask(shared, about("result", "sesn_f", 5, "sevt_kept"));
	check(strcmp(kind_of(r), "fenced") == 0, "after which the old epoch is over");
	json_decref(r);
	old = send_req(shared, req_call("sesn_f", 6, "sevt_old", "bash",
	    bash("echo zombie > /workspace/z; sleep 60; echo zombie2 > /workspace/z")));
	r = ask(shared, req_call("sesn_f", 7, "sevt_new", "bash", bash("echo new")));
	check(strcmp(str(r, "content"), "new\n") == 0, "a call of a higher epoch runs");
	json_decref(r);
	r = wait_reply(shared, old);
	check(json_is_true(json_object_get(r, "is_error")), "and the older epoch's call was killed first");
	json_decref(r);
	json_decref(ask(shared, req_of("destroy", "sesn_f", 7)));
	r = ask(shared, req_call("sesn_f", 6, "sevt_zombie", "bash", bash("echo zombie")));
	check(strcmp(kind_of(r), "fenced") == 0, "the epoch outlives the sandbox");
	json_decref(r);
}

static void
malformed(void)
{
	static const struct { const char *frame, *kind; } bad[] = {
		{ "{\"op\":\"nosuch\"}", "invalid" }, { "{}", "invalid" }, { "{\"op\":\"provision\"}", "invalid" },
		{ "{\"op\":\"provision\",\"session\":\"s\"}", "invalid" }, { "{\"op\":\"provision\",\"session\":\"../x\",\"epoch\":1}",
		    "invalid" },
		{ "{\"op\":\"call\",\"session\":\"s\",\"epoch\":1,\"tool\":\"bash\"}", "invalid" },
		{ "{\"op\":\"call\",\"session\":\"s\",\"epoch\":1,\"call\":\"a/b\",\"tool\":\"bash\"}", "invalid" },
		{ "{\"op\":\"call\",\"session\":\"s\",\"epoch\":1,\"call\":\"c\"}", "invalid" },
		{ "{\"op\":\"provision\",\"session\":\"s\",\"epoch\":-3}", "invalid" },
	};
	static const char *const fatal[] = { "nonsense", "[1,2]", "{\"op\":", "\"x\"", "{\"op\":\"status\",\"op\":\"status\"}" };
	char c;
	size_t i;

	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		json_t *r = ask(shared, json_loads(bad[i].frame, 0, NULL));

		check(r && strcmp(kind_of(r), bad[i].kind) == 0, "refused: %s", bad[i].frame);
		json_decref(r);
	}
	for (i = 0; i < sizeof fatal / sizeof *fatal; i++) {
		uint32_t len = htonl((uint32_t)strlen(fatal[i]));
		int fd = dial(&H);

		check(send(fd, &len, 4, MSG_NOSIGNAL) == 4 && send(fd, fatal[i], strlen(fatal[i]), MSG_NOSIGNAL) > 0 && recv(fd, &c, 1,
		    0) == 0,
		    "closes the connection: %s", fatal[i]);
		close(fd);
	}
	{
		uint32_t len = htonl(0x7fffffff);
		int fd = dial(&H);

		check(send(fd, &len, 4, MSG_NOSIGNAL) == 4 && recv(fd, &c, 1, 0) == 0, "closes the connection: a frame of 2 GiB");
		close(fd);
	}
	is_text(sh("sesn_p", "echo fine"), false, "fine\n", "others are served all the time");
}

/* More replies than a connection buffers, to a worker that reads late: they wait, in order. */
static void
late_reader(void)
{
	json_t *r;
	int fd = dial(&H), n[64], i, whole = 0;
	const char *text;

	r = ask(fd, req_call("sesn_p", 1, "sevt_large", "bash", bash("python3 -c \"print('\xf0\x9f\x98\x80' * 99999, end='')\"")));
	check(json_string_length(json_object_get(r, "content")) == 399996, "a large result");
	json_decref(r);
	for (i = 0; i < 64; i++) {
		json_t *ask_again = req_of("result", "sesn_p", 1);

		json_object_set_new(ask_again, "call", json_string("sevt_large"));
		n[i] = send_req(fd, ask_again);
	}
	is_text(sh("sesn_p2", "echo served"), false, "served\n", "others are served while 25 MB wait for one");
	for (i = 0; i < 64; i++) {
		r = wait_reply(fd, n[i]);
		text = r ? json_string_value(json_object_get(r, "content")) : NULL;
		whole += text && strlen(text) == 399996;
		json_decref(r);
	}
	check(whole == 64, "and every reply comes, when it is read");
	close(fd);
	json_decref(ask(shared, req_of("destroy", "sesn_p2", 1)));
}

/* Who may connect: neither root nor the worker's user. The mode is opened up, so that only the credentials decide. */
static void
strangers(void)
{
	int status = 0;
	pid_t pid;

	if (chmod(H.sock, 0666) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		char c;
		int fd;

		if (setgid(12345) < 0 || setuid(12345) < 0 || (fd = dial(&H)) < 0)
			_exit(2);
		_exit(recv(fd, &c, 1, 0) == 0 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a stranger's connection is closed");
	(void)chmod(H.sock, 0660);
}

void
test_protocol(void)
{
	provision();
	results();
	cancelling();
	parallel();
	many();
	fencing();
	malformed();
	late_reader();
	strangers();
}
