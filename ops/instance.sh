# shellcheck shell=bash
# Sourced by common.sh and ctl: which instance a checkout means.

# instance_id ROOT: ROOST_INSTANCE; else the one that the checkout's var/ belongs to, which is the last `up`'s, whatever it was called;
# else 8 hex digits of the checkout's real path. Empty when the name is none.
instance_id() {
	local id=${ROOST_INSTANCE:-} lib
	if [ -z "$id" ]; then
		lib=$(readlink "${ROOST_VAR:-$1/var}/lib" 2>/dev/null || true)
		id=$(printf '%s' "$1" | sha256sum | cut -c1-8)
		[[ $lib != /var/lib/roost/* ]] || id=${lib##*/}
	fi
	[[ ! $id =~ ^[a-z0-9]{1,16}$ ]] || printf '%s' "$id"
}
