/* test_mounts: files of the session at their place: read-only, nothing else of the store in reach, also when added to a living sandbox. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drive.h"
#include "tests.h"

#define S "sesn_mounts"
#define UP "/mnt/session/uploads"
#define A "aa000000000000000000000000000001"
#define B "bb000000000000000000000000000002"
#define GONE "cc000000000000000000000000000003"

static json_t *
file(const char *blob, const char *path)
{
	return json_pack("{s:s,s:s}", "blob", blob, "path", path);
}

/* provision with this list (taken). */
static json_t *
want(json_t *list)
{
	json_t *r = req_of("provision", S, 1);

	json_object_set_new(r, "files", list);
	return ask(shared, r);
}

static bool
wanted(json_t *list)
{
	json_t *r = want(list);
	bool ok = json_is_true(json_object_get(r, "ok"));

	json_decref(r);
	return ok;
}

static void
reading(void)
{
	check(wanted(json_pack("[o,o]", file(A, UP "/data.csv"), file(B, UP "/a/deep/place/x.bin"))), "a sandbox with two files");
	is_text(sh(S, "cat " UP "/data.csv"), false, "first,second\n1,2\n", "a file is at its place");
	is_text(tool(S, "read", json_pack("{s:s}", "file_path", UP "/data.csv")), false, "1\tfirst,second\n2\t1,2", "for read too");
	is_text(sh(S, "find " UP " -type f | sort; sha256sum " UP "/a/deep/place/x.bin | cut -c1-16; stat -c %s " UP "/a/deep/place/x.bin"),
	    false, UP "/a/deep/place/x.bin\n" UP "/data.csv\n725bcd6c66d02acf\n4096\n", "parents are made");
}

/* Each must fail, and leave the blob as it was. */
static void
writing(void)
{
	static const char *const attacks[] = {
		"echo x > " UP "/data.csv", "echo x >> " UP "/data.csv", "rm -f " UP "/data.csv", "mv " UP "/data.csv /tmp/",
		"ln " UP "/data.csv /tmp/hard", "chmod 666 " UP "/data.csv", "touch " UP "/data.csv", "truncate -s 0 " UP "/data.csv",
		"touch " UP "/new", "mkdir " UP "/dir", "rmdir " UP "/a/deep/place", "ln -s /etc " UP "/link", "mount -o remount,rw " UP "/data.csv",
		"umount " UP "/data.csv", "setfattr -n user.x -v y " UP "/data.csv", "dd if=/dev/zero of=" UP "/data.csv conv=notrunc bs=1 count=1",
		"python3 -c \"import mmap,os; f=os.open('" UP "/data.csv', os.O_RDWR); mmap.mmap(f, 4)\"",
		"python3 -c \"import os; f=os.open('" UP "/data.csv', os.O_RDONLY); open('/proc/self/fd/%d' % f, 'w').write('x')\"",
	};
	char name[200];
	size_t i, len;
	char *data;

	for (i = 0; i < sizeof attacks / sizeof *attacks; i++) {
		snprintf(name, sizeof name, "refused: %.150s", attacks[i]);
		check(sh(S, attacks[i]).is_error, "%s", name);
	}
	data = blob_get(&H, A, &len);
	check(data && strcmp(data, "first,second\n1,2\n") == 0, "the blob is as it was");
	free(data);
}

static void
looking(void)
{
	char store[300];

	is_text(sh(S, "grep -c '/mnt/session/uploads/' /proc/self/mountinfo"), false, "2\n", "the mounts are in the mount table");
	snprintf(store, sizeof store, "grep -c -e '%s' -e '%s' /proc/self/mountinfo; true",
	    H.dir + 1, "blobs");
	is_text(sh(S, store), false, "0\n", "which does not tell where on the host they lie");
	is_text(sh(S, "awk '$5 ~ \"uploads/\" { print $6 }' /proc/self/mountinfo | grep -vc -e '^ro,nosuid,nodev,noexec'"), true, "0\n",
	    "they are read-only, nosuid, nodev, noexec");
	is_text(sh(S, "ls -a " UP "/.. | tr '\\n' ' '; ls / | grep -c -e store -e merged -e view"), true, ". .. outputs uploads 0\n",
	    "no way leads from them to the store");
	snprintf(store, sizeof store, "ls %s; cat %s/aa/" A, H.blobs, H.blobs);
	check(sh(S, store).is_error, "the store's path is nothing inside");
	is_text(sh(S, "df --output=used /workspace | tail -1 > /tmp/u1; cat " UP "/a/deep/place/x.bin > /dev/null; df --output=target "
	    UP "/data.csv | tail -1"), false, UP "/data.csv\n", "a file is a mount of its own");
}

static void
changing(void)
{
	json_t *list = json_array();
	char path[100];
	int i;

	(void)sh(S, "exec 7<" UP "/data.csv; sleep 1000 & echo $! > /tmp/pid");
	check(wanted(json_pack("[o,o]", file(A, UP "/second.csv"), file(B, UP "/a/deep/place/x.bin"))), "another file in a living sandbox");
	is_text(sh(S, "cat " UP "/second.csv | head -1; ls " UP "; cat <&7 | tail -1"), false, "first,second\na\nsecond.csv\n1,2\n",
	    "one comes, one goes, one stays; who had it open reads on");
	is_text(sh(S, "kill -0 $(cat /tmp/pid) && echo same"), false, "same\n", "it is the same sandbox");
	check(wanted(json_array()), "all are taken away");
	is_text(sh(S, "find " UP " | wc -l; grep -c 'uploads/' /proc/self/mountinfo"), true, "1\n0\n", "their folders go too");
	check(wanted(json_pack("[o,o]", file(GONE, UP "/gone"), file(A, UP "/there"))), "a blob that is not there");
	is_text(sh(S, "ls " UP), false, "there\n", "is left out");
	for (i = 0; i < 500; i++) {
		snprintf(path, sizeof path, UP "/many/%d/f", i);
		json_array_append_new(list, file(i % 2 ? A : B, path));
	}
	check(wanted(list), "500 files");
	is_text(sh(S, "cat " UP "/many/*/f | wc -c"), false, "1028250\n", "are all there");
	(void)sh(S, "head -c 1G /dev/zero > /workspace/fill; true");
	check(wanted(json_pack("[o]", file(A, UP "/on/a/full/disk"))), "a file for a sandbox whose disk is full");
	is_text(sh(S, "head -1 " UP "/on/a/full/disk; rm /workspace/fill"), false, "first,second\n", "does not need its disk");
}

static bool
has_file(void *ctx)
{
	struct result r = sh(S, "cat " UP "/by-call");

	(void)ctx;
	return !r.is_error && strstr(r.text, "first,second\n1,2\n") != NULL;
}

/* A call brings the list along; a sandbox that was killed gets its files again. */
static void
returning(void)
{
	char paths[64][300];
	json_t *r;
	int n = boxes(&H, paths, 64), i;

	r = req_call(S, 1, fresh_call(), "bash", json_pack("{s:s}", "command", "cat " UP "/by-call | head -1"));
	json_object_set_new(r, "files", json_pack("[o]", file(A, UP "/by-call")));
	r = ask(shared, r);
	check(r && strcmp(json_string_value(json_object_get(r, "content")) ?: "", "first,second\n") == 0, "a call brings its files along");
	json_decref(r);
	for (i = 0; i < n; i++)
		kill(box_init(paths[i]), SIGKILL);
	check(until(has_file, NULL, SOON_MS), "a sandbox that was killed gets them again");
	json_decref(ask(shared, req_of("destroy", S, 1)));
	is_text(sh(S, "cat " UP "/by-call"), false, "first,second\n1,2\n", "and one that was destroyed");
}

static void
refusing(void)
{
	static const struct { const char *blob, *path; } bad[] = {
		{ A, "/etc/passwd" }, { A, UP }, { A, UP "/" }, { A, UP "/../outputs/x" }, { A, UP "/a/../../x" }, { A, UP "//x" }, { A, UP "/./x" },
		{ A, "relative" }, { "../../../etc/passwd", UP "/x" }, { "", UP "/x" }, { "AA000000000000000000000000000001", UP "/x" },
	};
	size_t i;

	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		json_t *r = want(json_pack("[o]", file(bad[i].blob, bad[i].path)));

		check(strcmp(json_string_value(json_object_get(json_object_get(r, "error"), "kind")) ?: "", "invalid") == 0, "refused: %s at %s",
		    bad[i].blob, bad[i].path);
		json_decref(r);
	}
	is_text(sh(S, "cat " UP "/by-call | head -1"), false, "first,second\n", "and nothing has changed");
}

/* The store belongs to another user: what it put there in place of a blob is not followed. */
static void
swapped(void)
{
	char path[300], cmd[900];

	snprintf(path, sizeof path, "%s/dd", H.blobs);
	snprintf(cmd, sizeof cmd, "ln -s /etc/passwd %s/dd000000000000000000000000000001; rmdir %s/de; ln -s /etc %s/de; mkdir "
	    "%s/dd000000000000000000000000000002; mkfifo %s/dd000000000000000000000000000003", path, H.blobs, H.blobs, path, path);
	check(system(cmd) == 0, "links in the store");
	check(wanted(json_pack("[o,o,o]", file("dd000000000000000000000000000001", UP "/p"), file("dd000000000000000000000000000002", UP "/q"),
	    file("dd000000000000000000000000000003", UP "/r"))), "files that are no files");
	is_text(sh(S, "ls " UP " | wc -l"), false, "0\n", "are not mounted");
	snprintf(cmd, sizeof cmd, "rm %s/de; mkdir %s/de", H.blobs, H.blobs);
	check(system(cmd) == 0, "links are removed");
}

void
test_mounts(void)
{
	static char bin[4096];

	memset(bin, 'B', sizeof bin);
	blob_put(&H, A, "first,second\n1,2\n", 17);
	blob_put(&H, B, bin, sizeof bin);
	reading();
	writing();
	looking();
	changing();
	returning();
	refusing();
	swapped();
	json_decref(ask(shared, req_of("destroy", S, 1000)));
}
