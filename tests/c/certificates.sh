#!/bin/sh
# Makes the certificates of tls.c in the directory $1, with openssl.
set -eu

mkdir -p "$1"
cd "$1"

# issue <name of the files> <name of the key> <subject> <extension>: a certificate of the authority for 30 days.
issue() {
    openssl req -new -key "$2" -subj "$3" -out request
    printf '%s\n' "$4" >extensions
    openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile extensions -out "$1.pem" 2>/dev/null
}

for key in ca server device; do
    openssl ecparam -name prime256v1 -genkey -noout -out $key.key
done
openssl req -x509 -new -key ca.key -subj "/CN=Test CA" -days 30 -out ca.pem
issue server server.key "/CN=localhost" "subjectAltName = DNS:localhost, IP:127.0.0.1"
issue renewed server.key "/O=Renewed/CN=localhost" "subjectAltName = DNS:localhost, IP:127.0.0.1"
issue device device.key "/O=Example/CN=device-1" "subjectAltName = DNS:device.example"
openssl x509 -in device.pem -outform der | openssl dgst -sha256 -r | cut -d ' ' -f 1 >device.fingerprint
