/*
 * drive: what the sandbox tests are written with. A test function makes checks; each check prints one TAP line. Failing to talk to
 * roost-hands at all ends the run with a failure: nothing after it would mean anything.
 */
#ifndef ROOST_TESTS_SANDBOX_DRIVE_H
#define ROOST_TESTS_SANDBOX_DRIVE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* One roost-hands of our own, in a temporary directory. */
struct hands {
	char instance[32], dir[128], sock[160], log[160], blobs[160];
	char extra[512];	/* more lines for its settings */
	const char *cgroup;	/* cgroup2 directory to start it in, or NULL */
	pid_t pid;
};

extern struct hands H;		/* the one that most tests use */
extern const char *out_dir;	/* where the binaries are */

void hands_prepare(struct hands *h, const char *tag);
/* Start and wait until it listens. false when it ended instead. */
bool hands_start(struct hands *h);
/* It must start: one check; its log is shown when it does not. */
void hands_must_start(struct hands *h, const char *name);
/* Send sig and wait for its end; returns the wait status. */
int hands_stop(struct hands *h, int sig);
void hands_remove(struct hands *h);
/* Does its log contain text? */
bool hands_logged(const struct hands *h, const char *text);

/* Its blob store: put a blob there; read one (the caller frees it; NULL: there is none). */
void blob_put(const struct hands *h, const char *id, const char *text, size_t len);
char *blob_get(const struct hands *h, const char *id, size_t *len);

/* A connection; requests are numbered by the caller's order. */
int dial(const struct hands *h);
int send_req(int fd, json_t *req);		/* takes req; returns its number */
json_t *wait_reply(int fd, int n);		/* the reply to request n; the caller decrefs; NULL when the connection closed */
json_t *ask(int fd, json_t *req);
/* {"op":op,"session":s,"epoch":epoch} */
json_t *req_of(const char *op, const char *session, int epoch);
json_t *req_call(const char *session, int epoch, const char *call, const char *tool, json_t *input);

/* One call on the shared connection with a fresh id, acknowledged at once. Fields are borrowed until the next call. */
struct result {
	const char *text;
	size_t len;
	bool is_error, spilled;
};
struct result tool(const char *session, const char *name, json_t *input);
struct result sh(const char *session, const char *command);
struct result sh_within(const char *session, const char *command, int timeout_ms);
void put_file(const char *session, const char *path, const char *text);
const char *fresh_call(void);
extern int shared;		/* that connection */
void shared_dial(void);

void check(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Result is (not) an error and its text is / contains this. */
void is_text(struct result r, bool error, const char *want, const char *name);
void has_text(struct result r, bool error, const char *want, const char *name);
int summary(void);

#define SOON_MS 20000		/* the longest a test waits for what must happen */

/* Poll until f(ctx) or the deadline; the value of f. */
bool until(bool (*f)(void *ctx), void *ctx, int ms);
int64_t now_ms(void);

/* Write text to dir/file, if that can be opened. */
void put_text(const char *dir, const char *file, const char *text);
/* Host paths of a sandbox's groups: the mount point of cgroup2 and the instance's name. */
const char *cgroup2_mount(void);
/* Names of the sandboxes of an instance, as cgroup paths; count. */
int boxes(const struct hands *h, char paths[][300], int max);
/* pid 1 of the box, as the host sees it; 0 when there is none. */
pid_t box_init(const char *path);

#endif
