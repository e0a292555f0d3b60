# shellcheck shell=bash
# Sourced by up: the first organization, workspace and keys; dev.env; providers named in the environment.

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

# ROOST_PROVIDER_ANTHROPIC_KEY, ROOST_PROVIDER_OPENAI_KEY, ROOST_PROVIDER_OPENAI_URL: a catalogue made on the spot. Keys go through
# the environment of jq and a 0600 file, never through an argument.
setup_providers() {
	local file
	if [ -z "${ROOST_PROVIDER_ANTHROPIC_KEY:-}${ROOST_PROVIDER_OPENAI_KEY:-}${ROOST_PROVIDER_OPENAI_URL:-}" ]; then
		return 0
	fi
	file=$(mktemp)
	# shellcheck disable=SC2064 # the name of now
	trap "rm -f '$file'" EXIT
	provider_catalogue >"$file"
	ctl models apply "$file" || die "could not apply the providers named in the environment"
	rm -f "$file"
	trap - EXIT
	say models "$(ctl -q models list | tr '\n' ' ')"
}

provider_catalogue() {
	local models=[]
	if [ -n "${ROOST_PROVIDER_OPENAI_KEY:-}${ROOST_PROVIDER_OPENAI_URL:-}" ]; then
		models=$(openai_models)
	fi
	OPENAI_MODELS=$models jq -n --slurpfile known "$ROOT/ops/conf/models.json" -f "$ROOT/ops/setup/providers.jq"
}

# The ids that an OpenAI-compatible server offers, as a JSON array; ROOST_PROVIDER_MODELS (comma separated) names them instead.
openai_models() {
	local base=${ROOST_PROVIDER_OPENAI_URL:-https://api.openai.com/v1}
	if [ -n "${ROOST_PROVIDER_MODELS:-}" ]; then
		jq -n 'env.ROOST_PROVIDER_MODELS | split(",")'
		return
	fi
	{
		printf 'url = "%s/models"\n' "${base%/}"
		[ -z "${ROOST_PROVIDER_OPENAI_KEY:-}" ] || printf 'header = "Authorization: Bearer %s"\n' "$ROOST_PROVIDER_OPENAI_KEY"
	} | curl --silent --show-error --fail --max-time 20 --config - | jq '[.data[].id]' ||
		die "could not list the models of $base: check the key, or name them in ROOST_PROVIDER_MODELS"
}
