# openssl: keys, certificates, signatures, ciphers, digests, s_server and s_client, providers (dlopen)
# needs: openssl
# with:
# with: --lazy
# with: --interp
# mask: (?m)^[0-9A-F]{16}(?=:error)
# mask: (?s)No client certificate.*
# ignore: log
openssl genrsa -out key.pem 2048 2>/dev/null; openssl req -x509 -key key.pem -out cert.pem -days 36500 -subj /CN=localhost -set_serial 1 -sha256; seq 10000 >data
#== run
$RUN openssl version; $RUN openssl dgst -sha256 data; $RUN openssl dgst -sha3-512 -hmac k data; $RUN openssl enc -aes-256-cbc -pbkdf2 -S 0011223344556677 -k pw -in data -out enc; $RUN openssl enc -d -aes-256-cbc -pbkdf2 -S 0011223344556677 -k pw -in enc | cmp - data
$RUN openssl dgst -sha256 -sign key.pem -out sig data; $RUN openssl dgst -sha256 -verify <(openssl rsa -in key.pem -pubout 2>/dev/null) -signature sig data; $RUN openssl x509 -in cert.pem -noout -subject -fingerprint; $RUN openssl verify -CAfile cert.pem cert.pem
$RUN openssl genpkey -algorithm ed25519 | $RUN openssl pkey -noout -check; $RUN openssl genrsa 1024 2>/dev/null | head -1; $RUN openssl rand -hex 16 | wc -c; $RUN openssl list -providers -provider legacy -provider default; echo -n abc | $RUN openssl dgst -provider legacy -md4; $RUN openssl base64 -in data | md5sum; $RUN openssl prime -generate -bits 64 >/dev/null; echo $?; $RUN openssl ciphers -s -tls1_3; $RUN openssl nosuch; echo "status $?"
$RUN openssl s_server -accept 127.0.0.1:0 -key key.pem -cert cert.pem -naccept 1 -www >log 2>&1 & server=$!
for i in $(seq 100); do p=$(sed -n 's/^ACCEPT .*:\([0-9]*\).*/\1/p' log); [ -n "$p" ] && break; sleep .05; done
printf 'GET / HTTP/1.0\r\n\r\n' | timeout 10 $RUN openssl s_client -connect 127.0.0.1:$p -CAfile cert.pem -quiet -verify_quiet 2>&1 | grep -a 'HTTP\|Cipher\|Protocol'; kill $server 2>/dev/null; wait $server 2>/dev/null; echo done
