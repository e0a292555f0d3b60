#!/bin/bash
#
# instance: ops/up, ops/down, nginx' own answers and roostctl, on a throw-away instance that runs Postgres, Redis and nginx. TAP.
# OUT (default build/release) has the programs. Needs root.
set -uo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd -P)
cd "$root" || exit 1
OUT=${OUT:-build/release}
dir=$(mktemp -d)
export ROOST_SERVICES="postgres redis nginx" ROOST_RUN
n=0

ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); echo "not ok $n - $1"; [ -z "${2:-}" ] || echo "# ${2//$'\n'/$'\n'# }"; }
# check NAME COMMAND...: passes when the command succeeds; its output explains a failure.
check() {
	local out
	if out=$("${@:2}" 2>&1); then ok "$1"; else not_ok "$1" "$out"; fi
}
# fails NAME PATTERN COMMAND...: passes when the command fails and says PATTERN.
fails() {
	local out
	if out=$("${@:3}" 2>&1); then not_ok "$1" "succeeded: $out"; elif grep -q "$2" <<<"$out"; then ok "$1"; else not_ok "$1" "$out"; fi
}
within() {
	local end=$((SECONDS + $1))
	until "${@:2}" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}

cleanup() {
	[ -z "${holder:-}" ] || kill "$holder" 2>/dev/null
	tests/env/instance down "$dir/a" >/dev/null 2>&1
	tests/env/instance down "$dir/b" >/dev/null 2>&1
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 143' HUP INT TERM

check "up makes an instance" tests/env/instance up "$dir/a" "$OUT"
# shellcheck disable=SC1091
. "$dir/a" || { echo "1..$n"; exit 1; }
export ROOST_OUT=$root/$OUT/bin ROOST_PORT=free ROOST_DEMO=0 ROOST_QUIET=1 ROOST_VAR ROOST_INSTANCE
case $OUT in /*) ROOST_OUT=$OUT/bin ;; esac
ctl() { "$ROOST_STATE/bin/roostctl" -c "$ROOST_STATE/conf/roostctl.conf" "$@"; }
pids() { cat "$ROOST_RUN"/supervise/*/pid; }
client() { curl --silent --noproxy '*' --cacert "$ROOST_CA_FILE" --max-time 20 "$@"; }

# --- again ---------------------------------------------------------------------------------------------------------------------
before=$(pids)
check "up again" ops/up
same() { [ "$before" = "$(pids)" ]; }
check "restarts nothing" same
mode() { [ "$(stat -c %a "$ROOST_VAR/dev.env")" = 600 ] && [ "$(grep -c '^export ' "$ROOST_VAR/dev.env")" = 7 ]; }
check "dev.env is private and complete" mode
own_body() { [ "$(stat -c %U:%a "$ROOST_STATE/body")" = roost-nginx:700 ] && [ "$(df --output=fstype,size -m "$ROOST_STATE/body" | awk 'NR == 2 { print $1, ($2 <= 1024) }')" = 'tmpfs 1' ]; }
check "request bodies have a small file system of their own" own_body

# --- who runs as whom ------------------------------------------------------------------------------------------------------------
runs_as() {
	local status
	status=/proc/$(cat "$ROOST_RUN/supervise/$1/pid")/status
	grep -q "^Uid:[[:space:]]$(id -u "$2")[[:space:]]" "$status" && grep -q '^CapBnd:[[:space:]]0*$' "$status" &&
		grep -q '^NoNewPrivs:[[:space:]]1$' "$status"
}
check "postgres is roost-pg without privileges" runs_as postgres roost-pg
check "redis is roost-redis without privileges" runs_as redis roost-redis
check "nginx is roost-nginx without privileges" runs_as nginx roost-nginx
no_tcp() { ! ss -H -ltnp 2>/dev/null | grep -v ":$(cat "$ROOST_STATE/port") " | grep -q "\"\(postgres\|redis-server\|nginx\)\",pid=\($(pids | paste -sd'|' | sed 's/|/\\|/g')\),"; }
command -v ss >/dev/null && check "nothing but nginx's one port listens" no_tcp

# --- killed ----------------------------------------------------------------------------------------------------------------------
answers() {
	case $1 in
	postgres) ctl org list ;;
	redis) redis-cli -s "$ROOST_RUN/redis/redis.sock" ping | grep -q NOAUTH ;;
	# Until they are swept, the workers of the dead master answer too.
	nginx) cmp -s "$ROOST_RUN/nginx/nginx.pid" "$ROOST_RUN/supervise/nginx/pid" && client -o "$dir/x" "$ROOST_BASE_URL/" ;;
	esac
}
comes_back() {
	local old
	old=$(cat "$ROOST_RUN/supervise/$1/pid")
	kill -KILL "$old"
	within 30 another_pid "$1" "$old" && within 30 answers "$1"
}
another_pid() { local now; now=$(cat "$ROOST_RUN/supervise/$1/pid") && [ -n "$now" ] && [ "$now" != "$2" ]; }
start_name() { sed -n 's/^fastcgi_param CLIENT_CONNECTION \([0-9a-f]\{16\}\)-\$pid\.\$connection\.\$connection_requests;$/\1/p' "$ROOST_STATE/conf/nginx/start"; }
inherits() { grep -q 'using inherited sockets from "[0-9;]*"' "$ROOST_STATE/log/nginx/current"; }
check "nginx has its sockets from roostctl listen" within 10 inherits
named=$(start_name)
for service in postgres redis nginx; do
	check "$service comes back after kill -9" comes_back "$service"
done

renamed() { [ -n "$named" ] && [ -n "$(start_name)" ] && [ "$(start_name)" != "$named" ]; }
check "nginx' names for connections are not those of its last start" renamed

# --- nginx' own answers ----------------------------------------------------------------------------------------------------------
# envelope NAME STATUS TYPE CURL-ARGUMENT...
envelope() {
	local status body id
	status=$(client -D "$dir/head" -o "$dir/body" -w '%{http_code}' "${@:4}")
	body=$(jq -r '[.type, .error.type, .request_id] | join(" ")' "$dir/body" 2>&1)
	id=$(tr -d '\r' <"$dir/head" | sed -n 's/^request-id: //Ip')
	if [ "$status" = "$2" ] && [ "$body" = "error $3 $id" ] && [[ $id = req_* ]]; then ok "$1"; else not_ok "$1" "$status $body, header $id"; fi
}
# Longer than what nginx leaves to the gateway, which is not there.
head -c 40000 /dev/zero | tr '\0' a >"$dir/long"
truncate -s 36M "$dir/large"
envelope "unknown path" 404 not_found_error "$ROOST_BASE_URL/nothing?x=secretword"
envelope "internal location from outside" 404 not_found_error "$ROOST_BASE_URL/.error/500"
envelope "gateway not there" 502 api_error "$ROOST_BASE_URL/v1/agents"
envelope "stream not there" 502 api_error "$ROOST_BASE_URL/v1/sessions/x/events/stream"
envelope "body too large, HTTP/2" 413 request_too_large --http2 --data-binary "@$dir/large" "$ROOST_BASE_URL/v1/agents"
envelope "body too large, HTTP/1.1" 413 request_too_large --http1.1 --data-binary "@$dir/large" "$ROOST_BASE_URL/v1/agents"
envelope "request line too long" 414 invalid_request_error --http1.1 "$ROOST_BASE_URL/v1/$(cat "$dir/long")"
envelope "header too large" 431 invalid_request_error --http1.1 -H "x-long: $(cat "$dir/long")" "$ROOST_BASE_URL/v1/agents"
envelope "TRACE" 405 invalid_request_error -X TRACE "$ROOST_BASE_URL/v1/agents"
envelope "plain HTTP on the TLS port" 400 invalid_request_error "http${ROOST_BASE_URL#https}/v1/agents"
envelope "broken request line" 400 invalid_request_error --http1.1 -X 'B@D' "$ROOST_BASE_URL/v1/agents"
logged() { within 30 grep -q '"path":"/nothing"' "$ROOST_STATE/log/nginx/current"; }
check "requests are logged" logged
unlogged() { ! grep -q secretword "$ROOST_STATE/log/nginx/current"; }
check "query strings are not" unlogged
old_tls() { client --tls-max 1.1 --tlsv1.1 --ciphers DEFAULT@SECLEVEL=0 "$ROOST_BASE_URL/"; }
fails "TLS 1.1 is refused" '' old_tls

# --- roostctl --------------------------------------------------------------------------------------------------------------------
org=$(ctl -q org create "Second organization")
workspace=$(ctl -q workspace create "$org" Work)
key=$(ctl -q key create "$workspace" "a key" --days 3)
made() { [[ $org =~ ^[0-9a-f-]{36}$ && $workspace =~ ^wrkspc_01.{22}$ && $key =~ ^rst_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}$ ]]; }
check "organization, workspace and key are made" made
state() { ctl key list | grep -q "$workspace	$1	"; }
check "the key is active" state active
check "it is revoked by its public id" ctl key revoke "${key:4:12}"
check "and then listed so" state revoked
fails "a key nobody has" 'no such key' ctl key revoke nobody
fails "a workspace nobody has" 'no such organization' ctl workspace create nobody X
fails "a name with a line break" 'a name has' ctl org create $'a\nb'
check "the workspace is archived" ctl workspace archive "$workspace"
fails "and gets no more keys" 'archived' ctl key create "$workspace" x
fails "the doctor tells that hands is not there" 'FAIL  sockets' ctl doctor
fails "status too" 'sandboxes  unknown' ctl status
fails "usage" '^usage: ' ctl key

# --- the bell ------------------------------------------------------------------------------------------------------------------------
# No worker runs here: one of its user's stands for it, with a socket as lib/bus/bell.c makes it (tests/unit/test_bell.c).
as() { (cd / && setpriv --reuid="$1" --regid="$1" --clear-groups sh -c "$2"); }
bell=$ROOST_RUN/bell
python() { echo "import os, socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); $1"; }
exec {worker}> >(as roost-worker "exec python3 -c '$(python "os.umask(0o157); s.bind(\"$bell/worker_test\"); sys.stdin.read()")'")
ring() { as "$1" "exec python3 -c '$(python "s.sendto(b\"x\", \"$bell/worker_test\")")'"; }
check "a worker makes its socket" within 20 test -S "$bell/worker_test"
check "a gateway may ring it" ring roost-gw
for user in roost-stream roost-nginx roost-egress roost-vault roost-redis roost-pg daemon; do
	fails "$user may not" 'PermissionError' ring "$user"
done
fails "a gateway may not replace it" 'Permission denied' as roost-gw "rm -f $bell/worker_test"
fails "nor look who is there" 'Permission denied' as roost-gw "ls $bell"
heard() { grep '^ok *bell *1 workers listen' <(ctl doctor); }
check "the doctor hears it" heard
chmod 2711 "$bell"
fails "and sees a folder that others may pass" 'FAIL *bell' ctl doctor
check "which up mends" ops/up
check "so that the doctor is content" heard
as roost-worker "ln -s /dev/log $bell/worker_planted"
fails "and sees a link that a worker's user put there" 'FAIL *bell *.*worker_planted is not a socket' ctl doctor
rm -f "$bell/worker_planted"
exec {worker}>&-
rm -f "$bell/worker_test"

# --- certificate and keys ----------------------------------------------------------------------------------------------------------
# What the doctor says of the disk, what nginx does with what it has read, and that make up mends it.
tls=$ROOST_STATE/tls
says() { fails "$1" "$2" ctl doctor; }
serves() { client -o "$dir/x" "$ROOST_BASE_URL/"; }
fine() { grep '^ok *certificate' <(ctl doctor); }
# another DAYS: a certificate for nginx' key that ends then
another() {
	openssl req -new -key "$tls/server.key" -subj /CN=localhost 2>/dev/null | openssl x509 -req -days "$1" -CA "$tls/ca.crt" -CAkey "$tls/ca.key" \
		-set_serial 7 -extfile <(echo subjectAltName=DNS:localhost,IP:127.0.0.1) -out "$tls/server.crt" 2>/dev/null
}
back() { rm -rf "$tls" && cp -a "$dir/tls" "$tls" && fine; }
logs() { grep -q "$1" "$ROOST_STATE/log/nginx/current"; }
check "the doctor likes the certificate" fine
cp -a "$tls" "$dir/tls"
rm "$tls/server.key"
says "it tells of a missing key" 'FAIL *certificate.*server.key: No such file'
check "without which nginx goes on" serves
cp -a "$dir/tls/server.key" "$tls/server.key"
chown root "$tls/server.key"
says "of a key that nginx' user cannot read" 'FAIL *certificate.*has mode 400 and belongs to uid 0'
rm "$tls/server.crt"
says "of a missing certificate" 'FAIL *certificate.*server.crt: No such file'
echo x >"$tls/server.crt"
says "of what is none" 'FAIL *certificate.*is no certificate'
check "all there again" back
another 7
says "of one that ends soon" 'warn *certificate *ends within 14 days'
another -1
says "of one that has expired" 'FAIL *certificate *expired'
check "nginx goes on with the one that it has read" serves
kill -KILL "$(cat "$ROOST_RUN/supervise/nginx/pid")"
expired() { ! client -S "$ROOST_BASE_URL/" >"$dir/x" 2>&1 && grep -q 'certificate has expired' "$dir/x"; }
check "started again it shows what clients refuse" within 20 expired
says "which the doctor sees with a client's eyes" 'FAIL *health.*certificate has expired'
# What make up does about it, without the rest of it.
renews() {
	(
		# shellcheck disable=SC2317 # called by what is sourced
		say() { echo "$*"; }
		export STATE=$ROOST_STATE ID=$ROOST_INSTANCE
		# shellcheck source=/dev/null
		. ops/setup/tls.sh
		setup_tls
	) | grep 'new server certificate' && fine && { ! kill -KILL "$(cat "$ROOST_RUN/supervise/nginx/pid")"; within 20 serves; }
}
check "make up renews it" renews
cp "$dir/tls/server.key" "$tls/server.key"
says "a key of another certificate is told" 'FAIL *certificate.*is not the key of'
kill -KILL "$(cat "$ROOST_RUN/supervise/nginx/pid")"
check "nginx does not start with it, and says so" within 20 logs 'key values mismatch'
check "make up makes a pair" renews
mv "$ROOST_STATE/keys/instance.key" "$dir/instance.key"
says "a lost key of the instance is told" 'FAIL *secrets.*instance.key: No such file'
mv "$dir/instance.key" "$ROOST_STATE/keys/instance.key"

# --- migrations --------------------------------------------------------------------------------------------------------------------
cp -r sql "$dir/sql"
query() { psql -XAtq -h "$ROOST_RUN/pg" -U roost_admin roost -c "$1"; }
# Somebody reads the table until told: the migration waits without holding up the others, and gets its turn.
printf 'ALTER TABLE held ADD COLUMN y int;\n' >"$dir/sql/migrations/9001_held.sql"
query "CREATE TABLE held (x int); CREATE TABLE told (x int)"
# shellcheck disable=SC2016
query 'BEGIN; SELECT count(*) FROM held; DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM told) LOOP PERFORM pg_sleep(0.02); END LOOP; END $$; COMMIT' >/dev/null &
holder=$!
reads() { [ "$(query "SELECT count(*) FROM pg_locks WHERE relation = to_regclass('held') AND granted")" -gt 0 ]; }
check "somebody holds a table" within 30 reads
ctl migrate "$dir/sql" >"$dir/migrated" 2>&1 &
migrating=$!
waits() { [ "$(query "SELECT count(*) FROM pg_locks WHERE relation = to_regclass('held') AND NOT granted")" -gt 0 ]; }
check "a migration waits for it" within 30 waits
check "others are held up for a moment only" psql -XAtq -h "$ROOST_RUN/pg" -U roost_admin roost -c "SET statement_timeout = 5000; SELECT count(*) FROM held"
query "INSERT INTO told VALUES (1)"
if wait "$migrating"; then ok "it gets its turn"; else not_ok "it gets its turn" "$(cat "$dir/migrated")"; fi
wait "$holder"
holder=
query "DELETE FROM schema_migration WHERE version = 9001; DROP TABLE held, told" >/dev/null
rm "$dir/sql/migrations/9001_held.sql"
printf 'CREATE TABLE good (x int);\n' >"$dir/sql/migrations/9001_good.sql"
printf 'CREATE TABLE half (x int);\n\nSELECT nonsense;\n' >"$dir/sql/migrations/9002_bad.sql"
fails "a bad migration is named with its line" '9002_bad.sql: line 3: .*nonsense' ctl migrate "$dir/sql"
left() { [ "$(query "SELECT (to_regclass('good') IS NOT NULL) || ' ' || (to_regclass('half') IS NULL)")" = "true true" ]; }
check "what came before it is there, of itself nothing" left
fails "a database newer than the folder" 'newer than this folder' ctl migrate sql
printf -- '-- edited\n' >>"$dir/sql/migrations/9001_good.sql"
rm "$dir/sql/migrations/9002_bad.sql"
fails "an edited migration" '9001_good.sql was edited' ctl migrate "$dir/sql"
query "DROP TABLE good; DELETE FROM schema_migration WHERE version = 9001" >/dev/null
rm "$dir/sql/migrations/9001_good.sql"
# What a migration has dropped comes back, and the schema is the same by way of upgrades.
schema() { pg_dump -s -h "$ROOST_RUN/pg" -U roost_admin roost | grep -v '^\\\(un\)\?restrict '; }
query "DROP FUNCTION dead_retry(text)" >/dev/null
count() { find sql/functions -name '*.sql' | wc -l; }
all() { [ "$(ctl migrate "$dir/sql" | grep -c '^applied')" = "$(count)" ]; }
check "after a migration all functions are applied" all
schema >"$dir/schema"
fresh() { diff <(grep -c 'CREATE FUNCTION public.dead_retry' "$dir/schema") <(echo 1); }
check "and what it dropped is back" fresh
idle() { [ -z "$(ctl migrate "$dir/sql")" ] && diff "$dir/schema" <(schema); }
check "a second run does nothing" idle
printf 'CREATE OR REPLACE FUNCTION aa() RETURNS int LANGUAGE sql RETURN 1;\n' >"$dir/sql/functions/aa.sql"
added() { [ "$(ctl migrate "$dir/sql")" = "applied	aa.sql" ] && [ "$(query 'SELECT aa()')" = 1 ]; }
check "a new function is applied, and nothing else" added
sed -i 's/RETURN 1/RETURN 2/' "$dir/sql/functions/aa.sql"
printf 'CREATE OR REPLACE FUNCTION bb() RETURNS int LANGUAGE sql\n  RETURN nonsense;\n' >"$dir/sql/functions/bb.sql"
fails "a bad function is named with its line" 'bb.sql: line 2: .*nonsense' ctl migrate "$dir/sql"
unmoved() { [ "$(query 'SELECT aa()')" = 1 ]; }
check "and takes those before it along" unmoved
rm "$dir/sql/functions/bb.sql"
changed() { [ "$(ctl migrate "$dir/sql")" = "applied	aa.sql" ] && [ "$(query 'SELECT aa()')" = 2 ]; }
check "a changed function is applied" changed
query "DROP FUNCTION aa(); DELETE FROM schema_function WHERE name = 'aa.sql'" >/dev/null
check "the folder as it is" ctl migrate sql
same_schema() { diff "$dir/schema" <(schema); }
check "leaves the schema as it was" same_schema

# --- two instances, and down -------------------------------------------------------------------------------------------------------
first=$ROOST_INSTANCE
second() { env -u ROOST_VAR -u ROOST_INSTANCE tests/env/instance up "$dir/b" "$OUT"; }
check "a second instance beside it" second
fails "its port is refused to others" 'in use by another program' env ROOST_PORT="$(sed -n 's/.*ROOST_BASE_URL=.*://p' "$dir/b")" ops/up
check "down" ops/down
nothing_left() { ! pgrep -af "/(run|var/lib)/roost/$first/" && ! find /proc/[0-9]*/cwd -maxdepth 0 -lname "/var/lib/roost/$first*" 2>/dev/null | grep .; }
check "leaves no process" nothing_left
fails "nor anything that listens" '' client "$ROOST_BASE_URL/"
# shellcheck disable=SC1091
other_alive() { (. "$dir/b" && client "$ROOST_BASE_URL/") | grep -q not_found_error; }
check "the other instance does not notice" other_alive
check "down again does nothing" ops/down
# A service that was broken into puts links into the folders it may write; root must not follow them.
plant() {
	local name
	mkdir "$dir/victim"
	echo precious >"$dir/victim/file"
	for name in body fastcgi proxy uwsgi scgi; do
		as roost-nginx "rm -rf $ROOST_STATE/nginx/$name && ln -s $dir/victim $ROOST_STATE/nginx/$name"
	done
	as roost-log "ln -sf $dir/victim/file $ROOST_STATE/log/redis/config"
	! as roost-log "mv $ROOST_STATE/log/nginx $ROOST_STATE/log/old"
}
check "services can put links into their own folders only" plant
check "up after down" ops/up
unmoved() { [ "$(stat -c %U:%a "$dir/victim" "$dir/victim/file" | paste -sd' ')" = "root:755 root:644" ] && [ "$(cat "$dir/victim/file")" = precious ]; }
check "follows no link of a service" unmoved
as roost-nginx "rm -f $ROOST_STATE/nginx/*"
kept() { grep -q "$ROOST_API_KEY" "$ROOST_VAR/dev.env" && ctl org list | grep -q "$org"; }
check "has kept data and keys" kept
check "purge" tests/env/instance down "$dir/a"
gone() { [ ! -e "/var/lib/roost/$first" ] && [ ! -e "/run/roost/$first" ]; }
check "leaves nothing" gone

echo "1..$n"
