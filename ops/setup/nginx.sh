# shellcheck shell=bash
# Sourced by up: makes nginx's configuration from the templates of nginx/. Nothing of the distribution's /etc/nginx is read or changed.

# errors.inc: error_page lines and a location per row of nginx/errors.def. Words with $ are nginx variables. A named location keeps the
# request as it is, but nginx refuses it for requests that have no path yet.
nginx_errors() {
	local status when codes type message code name
	while read -r status when codes type message; do
		case $status in '' | '#'*) continue ;; esac
		name=@error$status
		[ "$when" = late ] || name=/.error/$status
		for code in ${codes//,/ }; do
			if [ "$status" = 500 ]; then
				echo "error_page $code = $name;"	# its location decides
			else
				echo "error_page $code =$status $name;"
			fi
		done
		[ "$when" = late ] || name="= $name"
		echo "location $name {"
		[ "$when" = late ] || echo "    internal;"
		# shellcheck disable=SC2016 # nginx' variable
		[ "$status" != 500 ] || echo '    if ($head_large) { rewrite ^ /.error/431 last; }'
		echo "    add_header request-id req_\$request_id always;"
		case $status in 502 | 503) echo "    add_header retry-after 1 always;" ;; esac
		printf "    return %s '{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"%s\"},\"request_id\":\"req_\$request_id\"}';\n}\n" \
			"$status" "$type" "$message"
	done <"$ROOT/nginx/errors.def"
}

# A hub reads everything that is published, so a second one is of use only when the first has much to send.
HUB_STREAMS=4096
# Messages that meet in one gateway share a statement, a commit and a backend that is warm; spread over two, each turn costs a fifth more. One
# that is busy soon has so many in hand, and one that hangs keeps no more. Tests spread them (then for all commands of this instance).
GATEWAY_REQUESTS=${ROOST_GATEWAY_REQUESTS:-32}

# nginx_upstream PROGRAM FOLDER: a server line per process of that program.
nginx_upstream() {
	ROOST_SERVICES='' services | awk -v program="$1" -v path="$RUN/$2/$2" \
		'$5 == program { print "        server unix:" path "-" $2 ".sock max_fails=0;" }'
}

# nginx_first ZONE MOST: of these server lines all goes to the first; beyond MOST at a time, or without it, to the others; to the first again when
# these are away.
nginx_first() {
	awk -v zone="$1" -v most="$2" '
		{ sub(/;$/, "") }
		NR == 1 { print "        zone " zone " 64k;"; print $0 " max_conns=" most ";"; print $0 " backup;" }
		NR > 1 { print $0 " backup weight=1000;" }'
}

# Where it listens. ROOST_LISTEN: all for every interface; default: this machine only.
nginx_addresses() {
	local v4=127.0.0.1 v6='[::1]'
	if [ "${ROOST_LISTEN:-}" = all ]; then
		v4=0.0.0.0 v6='[::]'
	fi
	echo "$v4:$PORT"
	if grep -q '^00000000000000000000000000000001 ' /proc/net/if_inet6 2>/dev/null; then
		echo "$v6:$PORT"
	fi
}

# A client that acknowledges nothing for so long is gone (ops/roostctl/listen.c): three pings of a stream.
NGINX_SILENCE_MS=15000

# The command in front of nginx's own that opens its sockets.
nginx_sockets() {
	echo "$STATE/bin/roostctl listen $NGINX_SILENCE_MS $(nginx_addresses | paste -sd' ') --"
}

nginx_listen() {
	local address
	nginx_addresses | while read -r address; do
		case $address in
		'['*) echo "        listen $address ssl http2 backlog=4096 sndbuf=64k ipv6only=on;" ;;
		*) echo "        listen $address ssl http2 backlog=4096 sndbuf=64k;" ;;
		esac
	done
}

# nginx_render DIR: nginx.conf and its includes into DIR/nginx.conf and DIR/nginx/.
nginx_render() {
	local dir=$1 user=$2 file nofile connections
	nofile=$(ulimit -Hn)
	[ "$nofile" != unlimited ] && [ "$nofile" -le 65536 ] || nofile=65536
	connections=$((nofile - 256))
	[ "$connections" -le 20000 ] || connections=20000
	mkdir -p "$dir/nginx"
	for file in "$ROOT"/nginx/*.inc; do
		render "$file" | put "$dir/nginx/${file##*/}" 644 "$user"
	done
	mkdir -p "$dir/nginx/docs"
	for file in "$ROOT"/nginx/docs/*; do
		put "$dir/nginx/docs/${file##*/}" 644 "$user" <"$file"
	done
	# written at each start (service_prelude); an nginx that runs from before there was such a file reads it at a reload
	# shellcheck disable=SC2016 # nginx' variables
	[ -s "$dir/nginx/start" ] || printf 'fastcgi_param CLIENT_CONNECTION %s-$pid.$connection.$connection_requests;\n' \
		"$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')" | put "$dir/nginx/start" 644 "$user"
	nginx_errors | put "$dir/nginx/errors.inc" 644 "$user"
	render "$ROOT/nginx/nginx.conf.in" NOFILE="$nofile" CONNECTIONS="$connections" |
		nginx_insert GATEWAYS "$(nginx_upstream roost-gateway gateway | nginx_first roost_api "$GATEWAY_REQUESTS")" |
		nginx_insert STREAMS "$(nginx_upstream roost-stream stream | nginx_first roost_sse "$HUB_STREAMS")" |
		nginx_insert LISTEN "$(nginx_listen)" | put "$dir/nginx.conf" 644 "$user"
}

# nginx_insert WORD LINES: a filter that replaces the line @WORD@ by several lines.
nginx_insert() {
	local line
	while IFS= read -r line; do
		if [ "$line" = "@$1@" ]; then
			printf '%s\n' "$2"
		else
			printf '%s\n' "$line"
		fi
	done
}

# The port: ROOST_PORT, else the one this instance has, else 8443; 0 or free: one that nobody listens on, kept from then on.
nginx_port() {
	local kept='' want
	[ ! -f "$STATE/port" ] || read -r kept <"$STATE/port"
	want=${ROOST_PORT:-${kept:-8443}}
	case $want in
	0 | free) PORT=${kept:-$(free_port)} ;;
	*[!0-9]* | ??????*) die "ROOST_PORT must be a port number, 0 or free, not '$want'" ;;
	*) PORT=$want ;;
	esac
	if [ "$PORT" -lt 1024 ] || [ "$PORT" -gt 65535 ]; then
		die "ROOST_PORT must be between 1024 and 65535, not $PORT"
	fi
	if [ "$PORT" != "$kept" ] || [ -z "$(home_pids "$STATE/nginx")" ]; then
		if port_taken "$PORT"; then
			die "port $PORT is in use by another program: set ROOST_PORT to another port, or to 0 for a free one"
		fi
	fi
	echo "$PORT" | put "$STATE/port" 644 root:root
}

# Does anybody listen on this TCP port?
port_taken() {
	local hex
	hex=$(printf ':%04X' "$1")
	awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }' \
		/proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# Below the range from which the kernel takes ports for outgoing connections, and not promised to another instance.
free_port() {
	local port
	for _ in $(seq 200); do
		port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
		if ! port_taken "$port" && ! grep -qsx "$port" /var/lib/roost/*/port; then
			echo "$port"
			return
		fi
	done
	die "found no free port"
}

# Large bodies are spooled before anybody asks for a key. They get a file system in memory of their own, so that a flood of them fills
# that and not the disk that Postgres writes to: 1 GB, or an eighth of a small machine's memory.
nginx_body() {
	local mb
	if mountpoint -q "$STATE/body"; then
		return 0
	fi
	mb=$(awk '/^MemTotal:/ { mb = int($2 / 8192); print mb < 1024 ? mb : 1024 }' /proc/meminfo)
	folder "$STATE/body" 700 roost-nginx:roost-nginx
	mount -t tmpfs -o "size=${mb}m,mode=700,uid=$(id -u roost-nginx),gid=$(id -g roost-nginx),nosuid,nodev,noexec" roost-body "$STATE/body" ||
		warn "cannot mount a file system for request bodies: they will use the disk of $STATE"
}

setup_nginx() {
	nginx_body
	nginx_render "$STATE/conf" root:root
	folder "$STATE/nginx" 700 roost-nginx:roost-nginx	# nginx makes its own in it: a folder of a service is no place for root
	folder "$RUN/nginx" 755 roost-nginx:roost-nginx
	# Before anything is restarted with it. As root, nginx would give its folders to another user.
	setpriv --reuid=roost-nginx --regid=roost-nginx --clear-groups nginx -t -q -e stderr -p "$STATE/nginx/" -c "$STATE/conf/nginx.conf" \
		>/dev/null || die "nginx refuses its configuration"
}
