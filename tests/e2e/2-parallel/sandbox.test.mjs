// The sandbox as the agent sees it from inside, and what it cannot do to its own session or anybody else's
// (sandbox.md section 7; must show 6).
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { bench, client } from '../lib/client.mjs';
import { bash, call, interrupt, script } from '../lib/script.mjs';
import { Watch, calls, textOf, one } from '../lib/watch.mjs';

const c = client();
let b;

async function play(...commands) {
	const w = await Watch.begin(b);
	const turn = await w.turn(script(...commands.map((x) => (x.startsWith('bash ') ? x : bash(x)))), { ms: 120_000 });
	w.close();
	return calls(turn);
}
// Runs a bomb, then shows that the same session still works; returns the bomb's result.
async function survive(bomb) {
	const w = await Watch.begin(b);
	const turn = await w.turn(script(bomb.startsWith('bash ') ? bomb : bash(bomb), bash('echo still here')), { ms: 150_000 });
	const [boom, next] = calls(turn);
	assert.match(next.text, /^still here$/m);		// what the bomb left in the background may still be complaining
	assert.equal(next.error, false);
	const after = await w.turn('hello?');
	assert.match(textOf(one(after, 'agent.message')), /hello/);
	w.close();
	return boom;
}

describe('inside', { concurrency: 4 }, () => {
	before(async () => { b = await bench(c); });

	test('no capability, no way to get one', async () => {
		const [caps, nnp, seccomp, su] = await play('grep ^Cap /proc/self/status', 'grep NoNewPrivs /proc/self/status', 'grep ^Seccomp: /proc/self/status',
			'find / -xdev -perm -4000 2>/dev/null | head; su -c id 2>&1; sudo -n id 2>&1; true');
		for (const line of caps.text.trim().split('\n').filter((l) => !l.startsWith('CapBnd'))) assert.match(line, /:\s*0{16}$/, line);
		assert.match(caps.text, /CapBnd:\s*0{16}/);
		assert.match(nnp.text, /1/);
		assert.match(seccomp.text, /2/);
	});

	test('only its own processes', async () => {
		const [ps] = await play('for p in /proc/[0-9]*; do tr "\\0" " " < $p/cmdline; echo; done');
		const lines = ps.text.split('\n').filter((l) => l.trim() !== '');
		assert.ok(lines.length < 12, ps.text);
		assert.ok(!/postgres|redis|nginx|roost-(gateway|worker|stream|hands)|node/.test(ps.text), ps.text);
	});

	test('only lo, and nobody there', async () => {
		const [dev, route, tcp, dns] = await play("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '", 'cat /proc/net/route | tail -n +2',
			'exec 2>&1; (echo > /dev/tcp/127.0.0.1/8443) && echo open; (echo > /dev/tcp/1.1.1.1/53) && echo open; (echo > /dev/tcp/169.254.169.254/80) && echo open; echo checked',
			'getent hosts example.com || echo none');
		assert.equal(dev.text, 'lo\n');
		assert.equal(route.text.trim() === '' || /no output/.test(route.text), true, route.text);
		assert.ok(!/^open$/m.test(tcp.text), tcp.text);
		assert.match(dns.text, /none/);
	});

	test('loopback inside works and is its own', async () => {
		const [r] = await play('(exec 3<>/dev/tcp/127.0.0.1/1) 2>&1; ip -br addr 2>/dev/null || cat /proc/net/if_inet6; echo ok');
		assert.match(r.text, /refused|ok/i);
	});

	test('nothing of the host but a read-only /usr', async () => {
		const [root, w, sens, mounts] = await play('ls -A /', 'exec 2>&1; touch /usr/x /usr/bin/x /bin/x /lib/x /etc/passwd.x; mount -o remount,rw /usr; echo done',
			'exec 2>&1; cat /etc/shadow /root/.bashrc /root/.ssh/* /home/*/.bashrc /run/roost /var/lib/roost 2>&1; ls /run /var/lib /root /home /boot /sys /mnt 2>&1; true', 'cat /proc/self/mountinfo');
		for (const name of root.text.trim().split(/\s+/)) {
			// .overlay: the writable layer over /usr/local, of the sandbox's own disk and closed.
			assert.ok(['.overlay', 'bin', 'dev', 'etc', 'home', 'lib', 'lib32', 'lib64', 'libx32', 'mnt', 'opt', 'proc', 'root', 'run', 'sbin', 'tmp', 'usr', 'var', 'workspace', 'sys', 'srv', 'media', 'boot'].includes(name), name);
		}
		assert.ok(!/^done$/.test(w.text.trim()), 'each attempt complained');
		assert.equal((w.text.match(/read-only|denied|not permitted|cannot|must be superuser|not found/gi) ?? []).length >= 3, true, w.text);
		assert.ok(!/postgres|redis|roost-|authorized_keys|root:\$|root:\*/.test(sens.text), sens.text);
		assert.ok(!/\/run\/roost|checkout|\/var\/lib\/roost/.test(mounts.text), mounts.text);
	});

	test('private /tmp, /dev and /proc', async () => {
		const [dev, tmp, kcore, sysrq] = await play('ls /dev', 'ls -A /tmp', 'exec 2>&1; head -c 16 /proc/kcore | od -c | head -2; head -c 10 /proc/kmsg; true', 'exec 2>&1; echo b > /proc/sysrq-trigger; echo x > /proc/sys/kernel/hostname; echo done');
		for (const d of ['sda', 'vda', 'mem', 'kvm', 'fuse', 'loop0', 'nvme0n1']) assert.ok(!dev.text.split(/\s+/).includes(d), dev.text);
		for (const d of ['null', 'zero', 'full', 'random', 'urandom']) assert.ok(dev.text.split(/\s+/).includes(d), dev.text);
		assert.equal(tmp.error, false);
		assert.ok(!/ELF/.test(kcore.text));
		assert.match(sysrq.text, /denied|read-only|not permitted|no such/i);
	});

	test('no namespace, mount, ptrace, module, bpf, keyring or raw socket', async () => {
		const py = (code) => `command -v python3 >/dev/null || { echo blocked; exit 0; }; python3 - <<'P'\n${code}\nP`;
		const [unshare, mount, dmesg, raw, chroot, mknod] = await play('exec 2>&1; unshare -U true && echo OPEN; unshare -n true && echo OPEN; nsenter -t 1 -m true && echo OPEN; true',
			'exec 2>&1; mount -t tmpfs x /tmp && echo OPEN; mount --bind /usr /tmp && echo OPEN; umount /proc && echo OPEN; true', 'exec 2>&1; dmesg | head -1; true',
			py('import socket\nfor f,t in ((socket.AF_PACKET,socket.SOCK_RAW),(socket.AF_INET,socket.SOCK_RAW),(40,socket.SOCK_STREAM),(38,socket.SOCK_SEQPACKET)):\n  try:\n    socket.socket(f,t); print("OPEN",f)\n  except OSError as e: print("blocked")'),
			'exec 2>&1; chroot /usr true && echo OPEN; true', 'exec 2>&1; mknod /tmp/d b 8 0 && echo OPEN; mknod /tmp/c c 1 1 && echo OPEN; true');
		for (const r of [unshare, mount, raw, chroot, mknod]) assert.ok(!/OPEN/.test(r.text), r.text);
		assert.ok(!/\[\s*\d+\.\d+\]/.test(dmesg.text), 'no kernel log');
	});

	test('two sessions do not see each other', async () => {
		const [a, z] = [await Watch.begin(b), await Watch.begin(b)];
		await a.turn(script(bash('echo secret > /workspace/s; echo secret > /tmp/s; echo secret > /dev/shm/s; (sleep 30 >/dev/null 2>&1 &)')));
		const seen = calls(await z.turn(bash('ls -A /workspace /tmp /dev/shm; cat /proc/[0-9]*/comm | grep -cx sleep')))[0];
		assert.ok(!/^s$/m.test(seen.text), seen.text);
		assert.match(seen.text, /^0$/m, seen.text);
		a.close();
		z.close();
	});

	test('the work lasts over turns and idle times; an idle sandbox uses no CPU', async () => {
		const w = await Watch.begin(b);
		await w.turn(script(call('write', { file_path: '/workspace/project/main.txt', content: 'v1' }), bash('cd project; (while :; do :; done) >/dev/null 2>&1 & echo $! > /workspace/pid')));
		const cpu = async () => Number(calls(await w.turn(bash('cut -d" " -f14 /proc/$(cat /workspace/pid)/stat')))[0].text);
		const first = await cpu();
		const at = Date.now();
		await w.turn('nothing to run here');
		while (Date.now() < at + 5000) await w.turn('still nothing');		// five seconds of turns without a tool
		const second = await cpu();
		assert.ok(second - first < 300, `the loop got ${second - first} ticks while its session was idle or did not use it`);
		const turn = await w.turn(bash('kill $(cat /workspace/pid); cat /workspace/project/main.txt; pwd'));
		assert.equal(calls(turn)[0].text, 'v1/workspace/project\n');
		w.close();
	});
});

describe('bombs', { concurrency: 2 }, () => {
	test('fork bomb', async () => {
		await survive(call('bash', { command: ':(){ :|:& };: ; sleep 3; echo end', timeout_ms: 8000 }));
	});

	test('memory bomb', async () => {
		const r = await survive(call('bash', { command: 'x=$(head -c 3G /dev/zero | tr "\\0" x); echo ${#x}', timeout_ms: 60_000 }));
		assert.ok(r.error, r.text.slice(0, 200));
	});

	test('memory bomb in /dev/shm and /tmp', async () => {
		const r = await survive('head -c 3G /dev/zero > /dev/shm/x; head -c 3G /dev/zero > /tmp/x; echo $?; rm -f /dev/shm/x /tmp/x');
		assert.ok(r.error || /[1-9]|No space/i.test(r.text), r.text.slice(0, 300));
	});

	test('disk fill', async () => {
		const r = await survive('exec 2>&1; head -c 5G /dev/zero > /workspace/x; df /workspace | tail -1; rm -f /workspace/x');
		assert.match(r.text, /No space left|quota|File too large/i);
	});

	test('inode fill', async () => {
		await survive(call('bash', { command: 'exec 2>&1; mkdir i; cd i; for d in $(seq 400); do mkdir $d && (cd $d; touch $(seq 500)) || break; done; echo made; cd ..; rm -rf i', timeout_ms: 90_000 }));
	});

	test('output flood, endless and without a newline', async () => {
		const [r] = [await survive(call('bash', { command: 'yes', timeout_ms: 3000 }))];
		assert.ok(r.error);
		assert.ok(r.text.length <= 110_000, `${r.text.length}`);
		const one_ = await survive('head -c 200M /dev/zero | tr "\\0" x');
		assert.ok(one_.text.length <= 110_000);
	});

	test('a daemon that ignores signals dies with its session', async () => {
		const w = await Watch.begin(b);
		await w.turn(bash("trap '' TERM HUP INT; (setsid bash -c \"trap '' TERM HUP; while :; do sleep 1; done\" >/dev/null 2>&1 &); echo ok"));
		await c.beta.sessions.delete(w.id);
		await w.end();
	});

	test('killing everything inside', async () => {
		await survive('kill -9 -1');
		await survive('exec 2>&1; kill -9 1; echo tried');
	});

	test('cpu hogs leave the service usable', async () => {
		const w = await Watch.begin(b);
		let over = false;
		const hog = w.turn(call('bash', { command: 'for i in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; wait', timeout_ms: 25_000 }), { ms: 60_000 })
			.finally(() => { over = true; });
		const other = await Watch.begin(b);
		await other.turn('quick question');
		assert.ok(!over, 'others are served meanwhile');
		await w.send(interrupt());
		await hog;
		for (const x of [w, other]) x.close();
	});
});
