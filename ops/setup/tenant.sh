# shellcheck shell=bash
# Sourced by up: the first organization, workspace and keys, and dev.env.

ctl() { "$STATE/bin/roostctl" -c "$STATE/conf/roostctl.conf" "$@"; }

# Once per instance. The keys' texts stay in 0400 files of root, so that dev.env can be written again.
setup_tenant() {
	local org workspace keys=$STATE/keys
	if [ ! -s "$keys/first.key" ] || [ ! -s "$keys/first.admin" ]; then
		org=$(ctl -q org list | head -n 1)
		[ -n "$org" ] || org=$(ctl -q org create "My organization")
		workspace=$(ctl -q workspace list --org "$org" | head -n 1)
		[ -n "$workspace" ] || workspace=$(ctl -q workspace create "$org" Default)
		ctl -q key create "$workspace" "made by make up" | put "$keys/first.key" 400 root:root
		ctl -q key create --admin "$org" "made by make up" | put "$keys/first.admin" 400 root:root
		say tenant "organization $org, workspace $workspace"
	fi
}

# What a shell or a program needs to talk to this instance, readable by who called only.
write_dev_env() {
	local key admin url=https://localhost:$PORT
	key=$(cat "$STATE/keys/first.key")
	admin=$(cat "$STATE/keys/first.admin")
	put "$VAR/dev.env" 600 "$OWNER_UID:$OWNER_GID" <<END
# Written by ops/up. Use:  . $VAR/dev.env
export ROOST_BASE_URL=$url
export ROOST_API_KEY=$key
export ROOST_ADMIN_KEY=$admin
export ROOST_CA_FILE=$STATE/tls/ca.crt
# The same for the official SDKs.
export ANTHROPIC_BASE_URL=$url
export ANTHROPIC_API_KEY=$key
export NODE_EXTRA_CA_CERTS=$STATE/tls/ca.crt
END
}
