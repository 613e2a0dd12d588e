# Keys for one control plane: an authority of its own, a server certificate for loopback, a key for service accounts.

# make_certificates FOLDER: ca.crt, server.crt, server.key, sa.key, sa.pub; does nothing when they are there.
make_certificates() {
  local folder=$1 new=$1.new
  [ ! -d "$folder" ] || return 0
  rm -rf -- "$new"
  mkdir -p "$new"
  (
    cd "$new"
    umask 077
    cat >openssl.cnf <<'CONFIG'
[req]
distinguished_name = name
prompt = no
[name]
CN = hostk8s-testbed
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost, DNS:kubernetes, DNS:kubernetes.default.svc, IP:127.0.0.1, IP:::1, IP:10.96.0.1
CONFIG
    for key in ca server sa; do openssl ecparam -name prime256v1 -genkey -noout -out "$key.key"; done
    openssl ec -in sa.key -pubout -out sa.pub
    openssl req -x509 -new -config openssl.cnf -extensions authority -key ca.key -days 3650 -out ca.crt
    openssl req -new -config openssl.cnf -key server.key -subj /CN=kube-apiserver -out server.csr
    openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile openssl.cnf -extensions server -days 3650 -out server.crt
  ) >"$new.log" 2>&1 || {
    say_log_end "$new.log"
    fail "openssl could not make certificates in $new"
  }
  rm -f "$new.log"
  mv "$new" "$folder"
}

# write_kubeconfig FILE URL CA_FILE CONTEXT USER TOKEN: replaced in one step, because tests read it while it changes.
write_kubeconfig() {
  local file=$1
  (
    umask 077
    cat >"$file.new" <<CONFIG
apiVersion: v1
kind: Config
clusters:
  - name: $4
    cluster:
      server: $2
      certificate-authority-data: $(base64 -w0 <"$3")
users:
  - name: $4-$5
    user:
      token: $6
contexts:
  - name: $4
    context:
      cluster: $4
      user: $4-$5
current-context: $4
CONFIG
  )
  mv "$file.new" "$file"
}
