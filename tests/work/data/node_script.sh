# node: JavaScript with worker threads, crypto, zlib, http, child processes, WebAssembly
# needs: node
# with:
# with: --lazy
# timeout: 90
cat >t.js <<'END'
const crypto = require('crypto'), zlib = require('zlib'), http = require('http'), cp = require('child_process'), { Worker, isMainThread, parentPort, workerData } = require('worker_threads'), fs = require('fs');
if (!isMainThread) { let s = 0; for (let i = 0; i < 1e6; i++) s += i % workerData; parentPort.postMessage(s); }
else (async () => {
  console.log(crypto.createHash('sha256').update('abc').digest('hex'), zlib.gunzipSync(zlib.gzipSync(Buffer.alloc(1e5, 'x'))).length);
  const r = await Promise.all([3, 5, 7].map(n => new Promise((ok, no) => new Worker(__filename, { workerData: n }).on('message', ok).on('error', no)))); console.log(r);
  const s = http.createServer((q, a) => a.end('served ' + q.url)); await new Promise(k => s.listen(0, '127.0.0.1', k));
  console.log(await new Promise(k => http.get({ port: s.address().port, host: '127.0.0.1', path: '/x' }, a => { let d = ''; a.on('data', c => d += c).on('end', () => k(d)); }))); s.close();
  console.log(cp.execSync('echo from a shell').toString().trim(), cp.spawnSync('sh', ['-c', 'exit 3']).status);
  const w = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from('0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b', 'hex'))); console.log(w.exports.add(40, 2));
  let a = []; for (let i = 0; i < 3e5; i++) a.push({ i, s: 'x' + i }); a = null; console.log([5, 1, 10].sort(), new Intl.NumberFormat('de').format(1234567.8), 2n ** 80n, /(?<y>\d{4})/u.exec('in 2024').groups.y);
  try { null.x } catch (e) { console.log(e.message) } console.log(fs.readdirSync('.').join()); await crypto.subtle?.digest('SHA-1', Buffer.from('a')).then(d => console.log(Buffer.from(d).toString('hex')));
  process.on('exit', c => console.log('exit', c)); process.exitCode = 7;
})();
END
#== run
$RUN node t.js; echo "status $?"; $RUN node -p '6*7'; $RUN node -e 'throw new Error("x")' 2>&1 | grep -c Error; echo "status ${PIPESTATUS[0]}"; $RUN node -e 'process.kill(process.pid, "SIGTERM"); setTimeout(()=>{}, 5000)'; echo "status $?"
