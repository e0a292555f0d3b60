# shellcheck shell=bash
# Sourced by up: a private Redis, reached through a unix socket only; one user per class of process with a random password.

# redis_password CLASS OWNER: make keys/redis.CLASS once (0400, 64 hex digits).
redis_password() {
	[ -s "$STATE/keys/redis.$1" ] || random_hex | put "$STATE/keys/redis.$1" 400 "$2"
	chown "$2" "$STATE/keys/redis.$1"
}

random_hex() {
	od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n'
	echo
}

setup_redis() {
	local class
	local -a hashes=()
	redis_password gw roost-gw
	redis_password stream roost-stream
	redis_password worker roost-worker
	redis_password ctl root
	for class in gw stream worker ctl; do
		hashes+=("${class^^}=$(tr -d '\n' <"$STATE/keys/redis.$class" | sha256sum | cut -d' ' -f1)")
	done
	folder "$STATE/redis" 700 roost-redis:roost-redis
	render "$ROOT/ops/conf/redis.conf" | put "$STATE/conf/redis.conf" 644 root:root
	render "$ROOT/ops/conf/redis.acl" "${hashes[@]}" | grep '^user ' | put "$STATE/conf/redis.acl" 400 roost-redis:roost-redis
}
