# shellcheck shell=bash
# Sourced by up: model providers that are named in the environment become a catalogue, applied by roostctl.
#
# The provider is asked which models it offers. Keys go through the environment of jq, curl's standard input and a 0600 file that is
# removed afterwards: never through an argument, which everyone on the machine can read. ANTHROPIC_* is never looked at: dev.env
# points it at ourselves.

setup_providers() {
	local dir
	if [ -z "${ROOST_PROVIDER_ANTHROPIC_KEY:-}${ROOST_PROVIDER_OPENAI_KEY:-}${ROOST_PROVIDER_OPENAI_URL:-}" ]; then
		return 0
	fi
	dir=$(mktemp -d)
	# shellcheck disable=SC2064 # the name of now
	trap "rm -rf '$dir'" EXIT
	provider_anthropic >"$dir/anthropic"
	provider_openai >"$dir/openai"
	(umask 077 && jq -s '{providers: map(.provider | select(.)), models: (map(.models // []) | add)}' "$dir/anthropic" "$dir/openai" >"$dir/catalogue")
	ctl -q models apply "$dir/catalogue" >/dev/null || die "could not apply the providers named in the environment"
	say models "$(ctl -q models list | tr '\n' ' ')"
	rm -rf "$dir"
	trap - EXIT
}

# provider_get URL HEADER: a GET with one secret header.
provider_get() {
	{
		printf 'url = "%s"\n' "$1"
		[ -z "$2" ] || printf 'header = "%s"\n' "$2"
		printf 'header = "anthropic-version: 2023-06-01"\n'
	} | curl --silent --show-error --fail --max-time 20 --config - ||
		die "could not ask $1 for its models: check the key and the network, or leave the provider out for now"
}

# The Messages API tells each model's limits.
provider_anthropic() {
	local url=${ROOST_PROVIDER_ANTHROPIC_URL:-https://api.anthropic.com}
	[ -n "${ROOST_PROVIDER_ANTHROPIC_KEY:-}" ] || { echo '{}'; return; }
	provider_get "${url%/}/v1/models?limit=1000" "x-api-key: $ROOST_PROVIDER_ANTHROPIC_KEY" | url=$url jq '{
		provider: {name: "anthropic", dialect: "anthropic", base_url: env.url, api_key: env.ROOST_PROVIDER_ANTHROPIC_KEY},
		models: [.data[] | {id, display_name: (.display_name // .id), routes: [{provider: "anthropic", upstream: .id}],
			context_window: (.max_input_tokens // 200000), max_output_tokens: ([.max_tokens // 8192, .max_input_tokens // 200000] | min)}]}'
}

# Any OpenAI-compatible server; those that need no key only have a URL. ROOST_PROVIDER_MODELS names ids that the server does not list.
provider_openai() {
	local url=${ROOST_PROVIDER_OPENAI_URL:-https://api.openai.com/v1} list
	[ -n "${ROOST_PROVIDER_OPENAI_KEY:-}${ROOST_PROVIDER_OPENAI_URL:-}" ] || { echo '{}'; return; }
	[[ $url =~ ^https?://[^/]+/.+ ]] || url=${url%/}/v1
	if [ -n "${ROOST_PROVIDER_MODELS:-}" ]; then
		list=$(jq -n '{data: [env.ROOST_PROVIDER_MODELS | split(",")[] | {id: .}]}')
	else
		list=$(provider_get "${url%/}/models" "${ROOST_PROVIDER_OPENAI_KEY:+Authorization: Bearer $ROOST_PROVIDER_OPENAI_KEY}")
	fi
	url=$url jq '{
		provider: ({name: "openai", dialect: "openai", base_url: env.url} + (env.ROOST_PROVIDER_OPENAI_KEY // "" | if . == "" then {} else {api_key: .} end)),
		models: [.data[] | {id, display_name: .id, routes: [{provider: "openai", upstream: .id}],
			context_window: (.context_window // .max_model_len // 128000), max_output_tokens: ([8192, .context_window // .max_model_len // 128000] | min)}]}' <<<"$list"
}
