# curl: file:// URLs, HTTP and HTTPS on loopback, several transfers, errors
# needs: curl python3 openssl
# with:
# with: --lazy
# mask: [Pp]ort [0-9]+|127\.0\.0\.1:[0-9]+|localhost:[0-9]+|Date: .*|Last-Modified: .*|after [0-9]+ ms
# ignore: port
seq 50000 >f; mkdir d; cp f d/g
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 36500 -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
cat >serve.py <<'END'
import http.server, ssl, sys, threading
class H(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *a): pass
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])); self.send_response(200); self.end_headers(); self.wfile.write(b"posted " + body)
a = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H); b = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain("cert.pem", "key.pem"); b.socket = c.wrap_socket(b.socket, server_side=True)
threading.Thread(target=b.serve_forever, daemon=True).start()
print(a.server_port, b.server_port, flush=True); a.serve_forever()
END
#== run
$RUN curl -sS file://$PWD/f | md5sum; $RUN curl -sS file://$PWD/nosuch; echo "status $?"; $RUN curl -sSo o -r 10-20 file://$PWD/f; $RUN curl -sS nosuch://x; echo "status $?"
python3 serve.py >port 2>/dev/null & server=$!
while [ ! -s port ]; do sleep .05; done; read h s <port
$RUN curl -sS http://127.0.0.1:$h/f | md5sum; $RUN curl -sS --cacert cert.pem https://localhost:$s/d/g | md5sum; $RUN curl -sS https://localhost:$s/ ; echo "status $?"
$RUN curl -sS -d a=b http://localhost:$h/; echo; $RUN curl -sSf http://127.0.0.1:$h/none; echo "status $?"; $RUN curl -sSI http://127.0.0.1:$h/f; $RUN curl -sS --no-progress-meter --parallel -o a.o http://127.0.0.1:$h/f -o e/b.o --create-dirs http://127.0.0.1:$h/d/g; ls . e
$RUN curl -sS http://nosuch.invalid/; echo "status $?"; kill $server; wait $server 2>/dev/null; $RUN curl -sS http://127.0.0.1:$h/; echo "status $?"
