/*
 * probe: runs inside a sandbox, tries what must not work, and prints `name outcome` lines: "ok", an errno's name, or "killed N".
 * test_inside.c writes this file into the sandbox, compiles it there and compares. It only reports; what is right is said there.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef TIOCLINUX
#define TIOCLINUX 0x541C
#endif

static void
say(const char *name, long rc)
{
	printf("%s %s\n", name, rc >= 0 ? "ok" : strerrorname_np(errno));
	fflush(stdout);
}

/* In a child, because it may kill. */
static void
say_child(const char *name, void (*f)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		f();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		printf("%s killed %d\n", name, WTERMSIG(status));
	else
		printf("%s %s\n", name, WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "ok");
	fflush(stdout);
}

static long
reach(const char *address, int port)
{
	unsigned a, b, c, d;
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	sscanf(address, "%u.%u.%u.%u", &a, &b, &c, &d);
	sa.sin_addr.s_addr = htonl(a << 24 | b << 16 | c << 8 | d);
	return connect(fd, (struct sockaddr *)&sa, sizeof sa);
}

static long
reach_abstract(const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(sa.sun_path + 1, name, strlen(name));
	return connect(fd, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)));
}

static void *nothing(void *p) { return p; }

static long
thread(void)
{
	pthread_t t;

	errno = pthread_create(&t, NULL, nothing, NULL);
	return errno ? -1 : pthread_join(t, NULL);
}

static void x32(void) { _exit(syscall(0x40000000 | SYS_getpid) < 0 ? errno : 0); }

static void
i386(void)
{
#ifdef __x86_64__
	long rc;

	__asm__ volatile("int $0x80" : "=a"(rc) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
	_exit(rc < 0 ? (int)-rc : 0);
#else
	_exit(ENOSYS);
#endif
}

static long
write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	return fd < 0 ? -1 : write(fd, text, strlen(text));
}

/* Bytes that can be read: a masked file has none. */
static void
say_bytes(const char *name, const char *path)
{
	char b[64];
	int fd = open(path, O_RDONLY);
	long n = fd < 0 ? -1 : read(fd, b, sizeof b);

	if (n < 0)
		say(name, -1);
	else
		printf("%s %s\n", name, n ? "readable" : "empty");
	fflush(stdout);
}

static void
calls(void)
{
	char buf[64];
	struct { unsigned n; int t; char h[8]; } handle = { 8, 1, "" };

	say("mount", syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL));
	say("umount2", syscall(SYS_umount2, "/proc", 2));
	say("fsopen", syscall(430, "tmpfs", 0));
	say("open_tree", syscall(428, AT_FDCWD, "/", 1));
	say("mount_setattr", syscall(442, AT_FDCWD, "/usr", 0, buf, 32));
	say("pivot_root", syscall(SYS_pivot_root, ".", "."));
	say("chroot", chroot("/tmp"));
	say("unshare_user", unshare(CLONE_NEWUSER));
	say("unshare_mnt", unshare(CLONE_NEWNS));
	say("clone_newuser", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
	say("clone_newnet", syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0));
	say("clone3", syscall(SYS_clone3, buf, 64));
	say("setns", syscall(SYS_setns, open("/proc/self/ns/net", O_RDONLY), 0));
	say("sethostname", sethostname("x", 1));
	say("ptrace", ptrace(PTRACE_TRACEME, 0, 0, 0));
	say("process_vm_readv", syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0));
	say("pidfd_getfd", syscall(438, 0, 0, 0));
	say("kcmp", syscall(SYS_kcmp, 1, 1, 0, 0, 0));
	say("bpf", syscall(SYS_bpf, 0, buf, 64));
	say("perf_event_open", syscall(SYS_perf_event_open, buf, 0, -1, -1, 0));
	say("userfaultfd", syscall(SYS_userfaultfd, 1));
	say("io_uring_setup", syscall(425, 8, buf));
	say("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
	say("keyctl", syscall(SYS_keyctl, 0, -3, 0));
	say("request_key", syscall(SYS_request_key, "user", "x", NULL, -3));
	say("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, &handle, O_RDONLY));
	say("init_module", syscall(SYS_init_module, buf, 1, ""));
	say("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
	say("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, NULL));
	say("swapon", syscall(SYS_swapon, "/tmp/x", 0));
	say("acct", syscall(SYS_acct, "/tmp/x"));
	say("settimeofday", syscall(SYS_settimeofday, NULL, NULL));
	say("syslog", syscall(SYS_syslog, 3, buf, sizeof buf));
	say("mknod", mknod("/tmp/n", S_IFBLK | 0600, 0xfe00));
	say("mkfifo", mkfifo("/tmp/probe-fifo", 0600));
	say("personality", syscall(SYS_personality, 0x0040000));
	say("iopl", syscall(SYS_iopl, 3));
	say("modify_ldt", syscall(SYS_modify_ldt, 0, buf, 8));
	say("fanotify_init", syscall(SYS_fanotify_init, 0, 0));
	say("unknown_call", syscall(9999));
	/* answered without being run: the second would say EBADF */
	say("sync", syscall(SYS_sync));
	say("syncfs_of_nothing", syscall(SYS_syncfs, -1));
	say_child("x32", x32);
	say_child("i386", i386);
	say("thread", thread());
}

static void
sockets(const char *abstract)
{
	say("inet", socket(AF_INET, SOCK_STREAM, 0));
	say("unix", socket(AF_UNIX, SOCK_STREAM, 0));
	say("netlink_route", socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	say("netlink_audit", socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT));
	say("inet_raw", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	say("vsock", socket(40, SOCK_STREAM, 0));
	say("vsock_high_bits", syscall(SYS_socket, 0x100000028UL, SOCK_STREAM, 0));
	say("packet", socket(AF_PACKET, SOCK_RAW, 0));
	say("alg", socket(38, SOCK_SEQPACKET, 0));
	say("bluetooth", socket(31, SOCK_RAW, 0));
	say("xdp", socket(44, SOCK_RAW, 0));
	say("can", socket(29, SOCK_RAW, 0));
	say("key", socket(15, SOCK_RAW, 2));
	say("connect_public", reach("1.1.1.1", 443));
	say("connect_metadata", reach("169.254.169.254", 80));
	say("connect_loopback", reach("127.0.0.1", 22));
	say("connect_abstract", reach_abstract(abstract));
}

static void
privileges(void)
{
	struct rlimit more = { 1 << 20, 1 << 20 };
	struct sched_param fifo = { .sched_priority = 1 };
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave = -1;
	char c = 'x';

	say("setuid", setuid(0));
	say("setgid", setgid(0));
	say("setgroups", syscall(SYS_setgroups, 0, NULL));
	errno = 0;
	say("nice", nice(-5) == -1 && errno ? -1 : 0);
	say("fifo", sched_setscheduler(0, SCHED_FIFO, &fifo));
	say("rlimit", setrlimit(RLIMIT_NOFILE, &more));
	say("kill_init", kill(1, SIGKILL));
	say("oom_score_adj", write_to("/proc/self/oom_score_adj", "0"));
	say("init_environ", open("/proc/1/environ", O_RDONLY));
	say("init_mem", open("/proc/1/mem", O_RDONLY));
	say("init_root", opendir("/proc/1/root") ? 0 : -1);
	say("init_fd", opendir("/proc/1/fd") ? 0 : -1);
	say("init_exe", open("/proc/1/exe", O_RDONLY));
	say("sysctl_write", write_to("/proc/sys/kernel/hostname", "x"));
	say("sysrq_write", write_to("/proc/sysrq-trigger", "b"));
	say("etc_write", open("/etc/passwd", O_WRONLY));
	say("usr_write", open("/usr/bin/x", O_WRONLY | O_CREAT, 0644));
	say("root_write", open("/x", O_WRONLY | O_CREAT, 0644));
	say("pty", master);
	if (master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0)
		slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	say("pty_slave", slave);
	say("tiocsti", ioctl(slave, TIOCSTI, &c));
	say("tiocsti_high_bits", syscall(SYS_ioctl, slave, 0x100000000UL | TIOCSTI, &c));
	say("tioclinux", ioctl(slave, TIOCLINUX, &c));
	say("tiocgwinsz", ioctl(slave, TIOCGWINSZ, (char[64]){ 0 }));
	say_bytes("kcore", "/proc/kcore");
	say_bytes("kmsg", "/proc/kmsg");
	say_bytes("keys", "/proc/keys");
	say_bytes("timer_list", "/proc/timer_list");
	say_bytes("cmdline", "/proc/cmdline");
	say_bytes("config", "/proc/config.gz");
	say_bytes("meminfo", "/proc/meminfo");
}

int
main(int argc, char **argv)
{
	calls();
	sockets(argc > 1 ? argv[1] : "none");
	privileges();
	return 0;
}
