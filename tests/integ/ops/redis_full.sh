#!/bin/bash
#
# redis_full: Redis with the settings of an instance and little memory. What fills its memory must not stop doorbells and fan-out for
# good, whoever sends it; and what the streams may hold is below the limit that is set. TAP. Needs redis-server and root.
set -uo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd -P)
dir=$(mktemp -d)
n=0

ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); echo "not ok $n - $1"; [ -z "${2:-}" ] || echo "# ${2//$'\n'/$'\n'# }"; }
check() {
	local out
	if out=$("${@:2}" 2>&1); then ok "$1"; else not_ok "$1" "$out"; fi
}
cleanup() {
	[ -z "${pid:-}" ] || kill "$pid" 2>/dev/null
	wait 2>/dev/null
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 143' HUP INT TERM

mkdir "$dir/run" "$dir/run/redis" "$dir/state" "$dir/state/redis" "$dir/state/conf"
hash=$(printf secret | sha256sum | cut -d' ' -f1)
sed -e "s|@GW@|$hash|; s|@STREAM@|$hash|; s|@WORKER@|$hash|; s|@CTL@|$hash|" "$root/ops/conf/redis.acl" | grep '^user ' >"$dir/state/conf/redis.acl"
sed -e "s|@RUN@|$dir/run|; s|@STATE@|$dir/state|" "$root/ops/conf/redis.conf" >"$dir/redis.conf"
limit_mb=$(sed -n 's/^maxmemory \([0-9]*\)mb$/\1/p' "$dir/redis.conf")
redis-server "$dir/redis.conf" --maxmemory 8mb >"$dir/log" 2>&1 &
pid=$!

ask() { redis-cli -s "$dir/run/redis/redis.sock" --no-auth-warning --user "$1" --pass secret "${@:2}"; }
for _ in $(seq 600); do
	[ ! -S "$dir/run/redis/redis.sock" ] || break
	sleep 0.05
done
body=$(head -c 16000 /dev/zero | tr '\0' x)
# more than fits, with the trimming of lib/bus/entry.c
fill() {
	local refused
	refused=$(for _ in $(seq 1500); do echo "XADD sse:0 MAXLEN ~ 20000 * s sesn_1 t user.message q 1 p $body"; done | ask gw | grep -c OOM)
	[ "$refused" -eq 0 ] || { echo "$refused additions were refused"; return 1; }
}
added() { ask gw XADD "$@" | grep -qx '[0-9]*-[0-9]*'; }
check "events go on when memory is full" fill
check "so do doorbells" added jobs MAXLEN '~' 10000 '*' s sesn_2
check "and previews" added sse:0 MAXLEN '~' 20000 '*' s sesn_2 t event_delta q '' p '{}'

# an entry's memory is rounded up by the allocator, by a quarter at most
bytes() { sed -n "s/^#define $1 \"\{0,1\}\([0-9]*\).*/\1/p" "$root/lib/bus/bus.h"; }
fits() {
	local most=$(($(bytes BUS_SSE_MAX) * $(bytes BUS_BODY_MAX) * 5 / 4 / 1048576))
	grep -q '^#define BUS_PREVIEW_MAX BUS_BODY_MAX' "$root/lib/bus/bus.h" || return 1
	echo "$most MB of entries, $limit_mb MB of memory"
	[ "$most" -gt 0 ] && [ "$most" -lt "$limit_mb" ]
}
check "full streams fit into memory" fits
echo "1..$n"
