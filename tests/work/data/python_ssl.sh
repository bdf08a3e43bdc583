# python3: ssl client and server over loopback, certificates, hashlib, hmac, secrets
# needs: python3 openssl
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 36500 -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
#== run
cat >t.py <<'END'
import hashlib, hmac, socket, ssl, threading
print(ssl.OPENSSL_VERSION, ssl.HAS_TLSv1_3)
ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); ctx.load_cert_chain("cert.pem", "key.pem")
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
def serve():
    for _ in range(3):
        c, _ = s.accept()
        with ctx.wrap_socket(c, server_side=True) as t:
            t.sendall(b"echo " + t.recv(100))
th = threading.Thread(target=serve); th.start()
cc = ssl.create_default_context(cafile="cert.pem")
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    cc.minimum_version = cc.maximum_version = version
    with socket.create_connection(s.getsockname()) as c, cc.wrap_socket(c, server_hostname="localhost") as t:
        t.sendall(b"hello"); print(t.recv(100), t.version(), t.cipher()); print(t.getpeercert()["subject"])
import http.client
try:
    cc = ssl.create_default_context()
    with socket.create_connection(s.getsockname()) as c: cc.wrap_socket(c, server_hostname="localhost")
except ssl.SSLError as e: print(e.reason, getattr(e, "verify_message", None))
for name in sorted(hashlib.algorithms_guaranteed):
    if "shake" not in name: print(name, hashlib.new(name, b"abc" * 1000).hexdigest()[:24])
print(hmac.new(b"k", b"m", "sha3_256").hexdigest(), hashlib.scrypt(b"p", salt=b"s", n=1024, r=8, p=1).hex()[:20], hashlib.pbkdf2_hmac("sha1", b"p", b"s", 1000).hex())
END
$RUN /usr/bin/python3 t.py 2>&1 | grep -v 'Thread-1\|Traceback\|File\|^  \|ssl.SSLError\|^$\|alert' ; echo "status ${PIPESTATUS[0]}"
