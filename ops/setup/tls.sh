# shellcheck shell=bash
# Sourced by up: a certificate authority of this instance and nginx's certificate for this machine's loopback names.

tls_names=DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1

# ROOST_NAMES: further host names or addresses for the certificate, comma separated.
tls_wanted_names() {
	local name names=$tls_names extra=${ROOST_NAMES:-}
	for name in ${extra//,/ }; do
		case $name in
		*:*:* | *[0-9].*[0-9].*[0-9].*[0-9]) names=$names,IP:$name ;;
		*) names=$names,DNS:$name ;;
		esac
	done
	echo "$names"
}

tls_authority() {
	[ ! -s "$STATE/tls/ca.crt" ] || return 0
	say tls "new certificate authority"
	(umask 077 && openssl ecparam -genkey -name prime256v1 -noout -out "$STATE/tls/ca.key.new")
	openssl req -new -x509 -sha256 -days 3650 -key "$STATE/tls/ca.key.new" -subj "/O=Roost $ID/CN=Roost local authority" \
		-addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
		-out "$STATE/tls/ca.crt.new" 2>/dev/null || die "openssl could not make the certificate authority"
	chmod 400 "$STATE/tls/ca.key.new"
	mv "$STATE/tls/ca.key.new" "$STATE/tls/ca.key"
	mv "$STATE/tls/ca.crt.new" "$STATE/tls/ca.crt"
}

# The key is there and is this certificate's.
tls_pair() {
	[ -s "$1/server.key" ] &&
		[ "$(openssl x509 -in "$1/server.crt" -noout -pubkey)" = "$(openssl pkey -in "$1/server.key" -pubout 2>/dev/null)" ]
}

# Renewed when it ends within 30 days, when its key is gone or another's, when other names are wanted, or when the authority is another one.
tls_certificate() {
	local names=$1 dir=$STATE/tls
	if [ -s "$dir/server.crt" ] && [ "$(cat "$dir/names" 2>/dev/null)" = "$names" ] &&
		openssl x509 -in "$dir/server.crt" -noout -checkend 2592000 >/dev/null &&
		openssl verify -CAfile "$dir/ca.crt" "$dir/server.crt" >/dev/null 2>&1 && tls_pair "$dir"; then
		chown roost-nginx:roost-nginx "$dir/server.key"
		chmod 400 "$dir/server.key"
		return 0
	fi
	say tls "new server certificate for $names"
	(umask 077 && openssl ecparam -genkey -name prime256v1 -noout -out "$dir/server.key.new")
	printf 'subjectAltName=%s\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n' \
		"$names" >"$dir/server.ext"
	openssl req -new -sha256 -key "$dir/server.key.new" -subj "/O=Roost $ID/CN=localhost" 2>/dev/null |
		openssl x509 -req -sha256 -days 397 -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -set_serial "0x$(openssl rand -hex 16)" \
			-extfile "$dir/server.ext" -out "$dir/server.crt.new" 2>/dev/null || die "openssl could not sign the server certificate"
	chown roost-nginx:roost-nginx "$dir/server.key.new"
	chmod 400 "$dir/server.key.new"
	mv "$dir/server.key.new" "$dir/server.key"
	mv "$dir/server.crt.new" "$dir/server.crt"
	rm -f "$dir/server.ext"
	echo "$names" >"$dir/names"
}

setup_tls() {
	tls_authority
	tls_certificate "$(tls_wanted_names)"
}
