# shellcheck shell=bash
# Sourced by up: secrets of the instance, each in a 0400 file per process that needs it, and the configuration files that name them.

# The secret that keys API key hashes: one original, one copy per process that checks keys.
keys_pepper() {
	local owner
	[ -s "$STATE/keys/pepper" ] || random_hex | put "$STATE/keys/pepper" 400 root:root
	for owner in gw stream; do
		put "$STATE/keys/pepper.$owner" 400 "roost-$owner" <"$STATE/keys/pepper"
	done
}

# The instance key opens sealed provider keys: only the worker may read it.
keys_instance() {
	[ -x "$STATE/bin/roostctl" ] || return 0
	"$STATE/bin/roostctl" -q keygen "$STATE/keys/instance.key" "$STATE/keys/instance.pub" >/dev/null
	chown roost-worker:roost-worker "$STATE/keys/instance.key"
	chmod 400 "$STATE/keys/instance.key"
	chmod 444 "$STATE/keys/instance.pub"
}

# The vault's keys (lib/store/credopen.h): made at the first start, never replaced; `roostctl vault rotate` adds one.
keys_vault() {
	[ -x "$STATE/bin/roostctl" ] || return 0
	"$STATE/bin/roostctl" -q -c "$STATE/conf/roostctl.conf" vault init >/dev/null || die "the vault has no usable key"
}

setup_keys() {
	keys_pepper
	keys_instance
	keys_vault
}

# STATE/conf/<service>.conf from ops/conf/<program>.conf, and one for roostctl.
setup_conf() {
	local name index program
	while read -r name index _ _ program _; do
		[ -f "$ROOT/ops/conf/$program.conf" ] || continue
		case $program in postgres | redis | nginx) continue ;; esac
		render "$ROOT/ops/conf/$program.conf" N="$index" PORT="$PORT" EGRESS_ALLOW="${ROOST_EGRESS_ALLOW:-}" \
			EGRESS_HTTP="${ROOST_EGRESS_HTTP:-0}" EGRESS_CA="${ROOST_EGRESS_CA:-}" | put "$STATE/conf/$name.conf" 644 root:root
	done < <(services)
	render "$ROOT/ops/conf/roostctl.conf" PORT="$PORT" ARCHIVE="$ARCHIVE" | put "$STATE/conf/roostctl.conf" 644 root:root
}
